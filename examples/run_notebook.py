"""Runs train.ipynb beside it, and writes its outputs into it; about a minute.

python examples/run_notebook.py
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    path = Path(__file__).with_name("train.ipynb")
    notebook = nbformat.read(path, as_version=4)
    metadata = dict(notebook.metadata)
    resources = {"metadata": {"path": str(path.parent)}}
    # Without the times and the versions of the run, so that only what it prints changes.
    NotebookClient(notebook, record_timing=False, resources=resources).execute()
    notebook.metadata = metadata
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main()

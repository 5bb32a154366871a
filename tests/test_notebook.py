"""The notebook: committed with outputs, and running as it stands in a kernel of this Python."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from facemask.files import PROJECT

NOTEBOOK = PROJECT / "examples" / "train.ipynb"
PLOTS = {
    "images-sheet", "split-plot", "views", "curves", "confusion", "mistakes", "pipeline", "shipped",
}  # fmt: skip

# Takes changes to the source, the folder to start in and the last cell; returns the cells by id.
Run = Callable[..., dict[str, nbformat.NotebookNode]]


@pytest.fixture(scope="module")
def run_notebook(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the notebook in a copy of what it needs, so that nothing is written into the project."""
    folder = tmp_path_factory.mktemp("notebook")
    copy = folder / "project"
    shutil.copytree(PROJECT / "facemask", copy / "facemask", ignore=lambda *_: ["__pycache__"])
    shutil.copytree(PROJECT / "examples", copy / "examples")
    (copy / "dataset").mkdir()
    (copy / "dataset" / "README.md").touch()
    (copy / "face_detector").mkdir()
    (copy / "pretrained").mkdir()
    names = "mask_detector.tflite", "mask_detector.keras"
    for name in ("face_detector/builtin.tflite", *(f"pretrained/{name}" for name in names)):
        shutil.copyfile(PROJECT / name, copy / name)
    # An installed kernel named python3 may belong to another Python.
    spec = folder / "kernels" / "this" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "this", "language": "python"}))

    def run(
        changes: dict[str, str] | None = None,
        start: str = "examples",
        until: str | None = None,
        env: dict[str, str] | None = None,
    ) -> dict[str, nbformat.NotebookNode]:
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        for old, new in (changes or {}).items():
            changed = [cell for cell in notebook.cells if old in cell.source]
            assert len(changed) == 1, old
            changed[0].source = changed[0].source.replace(old, new)
        if until:
            ids = [cell.id for cell in notebook.cells]
            notebook.cells = notebook.cells[: ids.index(until) + 1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(folder))
            for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
                patch.setenv(name, str(folder / name))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.delenv("PYTHONPATH", raising=False)  # the notebook finds the package by itself
            patch.delenv("MPLBACKEND", raising=False)
            client = NotebookClient(
                notebook,
                timeout=400,
                kernel_name="this",
                resources={"metadata": {"path": str(copy / start)}},
            )
            client.execute()
        return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}

    return run


@pytest.fixture(scope="module")
def ran(run_notebook: Run) -> dict[str, nbformat.NotebookNode]:
    return run_notebook()


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(
        output.text
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def labels(cell: nbformat.NotebookNode) -> list[str]:
    return re.findall(r"model: (\w[\w ]*): \d+\.\d+%", printed(cell))


def plots(cells: dict[str, nbformat.NotebookNode]) -> set[str]:
    """The ids of the cells that show a picture."""
    return {
        name
        for name, cell in cells.items()
        if any("image/jpeg" in output.get("data", {}) for output in cell.outputs)
    }


@pytest.fixture(scope="module")
def committed() -> dict[str, nbformat.NotebookNode]:
    """The cells of code as they are in the repository, by id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def test_the_notebook_says_nothing_of_the_machine_that_ran_it() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert NOTEBOOK.stat().st_size < 1_000_000
    texts = [str(getattr(cell, "outputs", "")) for cell in notebook.cells]
    pictures = r"'image/jpeg': '[^']*'"  # base64 has slashes
    found = [re.findall(r"/\w+/|\w:\\|\b0x\w+", re.sub(pictures, "", text)) for text in texts]
    assert found == [[]] * len(texts)


def test_outputs_of_a_whole_run_are_committed(
    committed: dict[str, nbformat.NotebookNode],
) -> None:
    assert [cell.execution_count for cell in committed.values()] == list(range(1, 18))
    outputs = [output for cell in committed.values() for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert plots(committed) == PLOTS


def test_the_committed_outputs_are_of_the_notebook_as_it_stands(
    committed: dict[str, nbformat.NotebookNode], ran: dict[str, nbformat.NotebookNode]
) -> None:
    """What any machine prints alike: `python examples/run_notebook.py` after a change."""
    for name in ("images", "faces", "network"):
        assert printed(committed[name]) == printed(ran[name])
    # One version of OpenCV finds a copy more than another.
    one, other = (re.sub(r"\d+ groups", "", printed(each["split"])) for each in (committed, ran))
    assert one == other
    assert {name for name, cell in committed.items() if printed(cell)} == {
        name for name, cell in ran.items() if printed(cell)
    }


def test_it_runs_as_it_stands(ran: dict[str, nbformat.NotebookNode]) -> None:
    assert printed(ran["images"]) == "80 images of with_mask, without_mask; skipped: 0\n"
    counts = [int(count) for count in re.findall(r"(\d+) with", printed(ran["split"]))]
    assert len(counts) == 6
    assert sum(counts) == 80
    (curve,) = re.findall(r"^val_loss: (.*)$", printed(ran["training"]), re.M)
    losses = [float(value) for value in curve.split(", ")]
    assert min(losses) < losses[0]
    accuracy = re.search(r"^test accuracy ([\d.]+) \(95 % interval", printed(ran["test"]), re.M)
    assert accuracy
    assert float(accuracy[1]) >= 0.8
    wrong = re.match(r"(\d+) of (\d+) predictions are wrong", printed(ran["mistakes"]))
    assert wrong
    assert float(accuracy[1]) == pytest.approx(1 - int(wrong[1]) / int(wrong[2]), abs=1e-4)
    assert len(labels(ran["pipeline"])) == 2
    assert set(labels(ran["pipeline"])) <= {"Mask", "No Mask"}
    assert sorted(labels(ran["shipped"])) == ["Mask", "No Mask"]


def test_each_plot_is_shown(ran: dict[str, nbformat.NotebookNode]) -> None:
    assert plots(ran) == PLOTS


def test_a_missing_dataset_is_one_line(run_notebook: Run) -> None:
    change = {"DATASET = None": 'DATASET = "nowhere"'}
    line, images = printed(run_notebook(change, ".", "images")["images"]).splitlines()
    assert "nowhere: no such folder; " in line
    assert line.endswith("; the drawn sample is used instead")
    assert images.startswith("80 images ")


@pytest.mark.assets
def test_real_photographs_and_imagenet_weights(
    run_notebook: Run, photographs: Path, keras_home: Path
) -> None:
    changes = {
        "DATASET = None": f"DATASET = {str(photographs)!r}",
        'WEIGHTS = str(ROOT / "pretrained" / "mask_detector.keras")': 'WEIGHTS = "imagenet"',
        "EPOCHS, INPUT_SIZE = 20": "EPOCHS, INPUT_SIZE = 6",
    }
    cells = run_notebook(changes, env={"KERAS_HOME": str(keras_home)})
    accuracy = re.search(r"^test accuracy ([\d.]+) ", printed(cells["test"]), re.M)
    assert accuracy
    assert float(accuracy[1]) >= 0.9
    labelled = re.findall(r"this model: (.*): ", printed(cells["pipeline"]))
    assert sorted(labelled) == ["Mask", "No Mask"]

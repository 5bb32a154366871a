"""The wings of the package import one another in one direction, and detection stays light.

Imports are read with `ast`, also those inside functions: an arrow is an arrow wherever it stands.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from facemask.files import PROJECT

GROUND = "ground"  # the modules directly in facemask/
# For each wing the wings that it may import, beside itself.
ARROWS = {
    GROUND: set[str](),
    "downloads": {GROUND},
    "sample_dataset": {GROUND},
    "detect": {GROUND, "downloads"},
    "output": {GROUND, "detect"},
    "batch": {GROUND, "downloads", "detect", "output"},
    "video": {GROUND, "downloads", "detect", "output"},
    "web": {GROUND, "detect", "output", "video"},
    "data": {GROUND, "downloads", "sample_dataset", "detect"},
    "evaluate": {GROUND, "downloads", "detect", "data"},
    "train": {GROUND, "downloads", "sample_dataset", "detect", "data", "evaluate"},
    "export": {GROUND, "downloads", "detect", "data", "train"},
    "train_face_detector": {
        *(GROUND, "downloads", "sample_dataset", "detect", "data", "evaluate", "train"),
    },
}
SCRIPTS = ("train_mask_detector", "detect_mask_image", "detect_mask_video")
# What detection is installed without, and what it may not load.
HEAVY = {"tensorflow", "keras", "matplotlib", "scipy", "sklearn"}
# A .keras or HDF5 model needs Keras: these modules load it inside functions.
KERAS_DOORS = {"facemask.keras_backend", "facemask.detect.classifier"}
# What talks to people: arguments and printed lines belong to commands, not to the library.
COMMANDS = ("options", "__main__", "console")


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {name_of(path): path for path in sorted(Path(PROJECT, "facemask").rglob("*.py"))}


def name_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def wing_of(module: str) -> str:
    second = module.split(".")[1] if "." in module else ""
    return second if second in ARROWS else GROUND


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path, at_import: bool = False) -> Iterator[str]:
    """What a file imports, as dotted names; at_import: only what importing it loads."""
    for node in nodes(tree_of(path), at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: expected absolute imports"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module


def nodes(tree: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    """The nodes of a tree; at_import: without bodies of functions and blocks for type checkers."""
    for child in ast.iter_child_nodes(tree):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        later |= isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not (at_import and later):
            yield child
            yield from nodes(child, at_import)


def reached(start: Path, at_import: bool) -> set[str]:
    """All modules, ours and others', that a file imports directly or through modules of ours."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in imports_of(waiting.pop(), at_import):
            if name not in found:
                found.add(name)
                waiting += [modules()[name]] if name in modules() else []
    return found


def test_every_wing_is_drawn() -> None:
    wings = {path.name for path in Path(PROJECT, "facemask").iterdir() if path.is_dir()}
    assert wings - {"__pycache__"} == set(ARROWS) - {GROUND}


@pytest.mark.parametrize("wing", ARROWS)
def test_imports_run_along_the_arrows(wing: str) -> None:
    members = {name: path for name, path in modules().items() if wing_of(name) == wing}
    assert members
    wrong = [
        f"{name} imports {other}"
        for name, path in members.items()
        for other in imports_of(path)
        if other.startswith("facemask.") and wing_of(other) not in {wing, *ARROWS[wing]}
    ]
    assert wrong == []


@pytest.mark.parametrize("wing", [wing for wing in ARROWS if wing != GROUND])
def test_each_wing_has_a_sign(wing: str) -> None:
    sign = ast.get_docstring(tree_of(PROJECT / "facemask" / wing / "__init__.py"))
    assert sign
    assert 2 <= len(sign.splitlines()) <= 12


@pytest.mark.parametrize("script", ["detect_mask_image", "detect_mask_video"])
def test_detection_imports_no_training_library(script: str) -> None:
    """Neither the script nor anything that it may come to, but for the door to Keras."""
    path = PROJECT / f"{script}.py"
    names = {name.split(".")[0]: name for name in reached(path, at_import=True)}
    assert not HEAVY & set(names)
    wings = {wing_of(name) for name in reached(path, at_import=False) if name in modules()}
    assert wings <= {GROUND, "downloads", "detect", "output", "batch", "video", "web"}
    for wing in wings:
        for name in (name for name in modules() if wing_of(name) == wing):
            heavy = {each.split(".")[0] for each in imports_of(modules()[name])} & HEAVY
            assert not heavy or name in KERAS_DOORS, (name, heavy)


def test_only_commands_know_argparse_and_the_console() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if name.rpartition(".")[2] not in COMMANDS
        for other in imports_of(path)
        if other in ("argparse", "facemask.console", "facemask.options")
    ]
    assert wrong == []


def test_the_library_does_not_print() -> None:
    prints = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        if name.rpartition(".")[2] not in COMMANDS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


def test_modules_functions_and_scripts_stay_short() -> None:
    """A module of at most 350 lines, a function of 70, a script of 125."""
    long = [
        f"{path.name} has {count} lines"
        for path in (*modules().values(), *(PROJECT / f"{name}.py" for name in SCRIPTS))
        for count in [len(path.read_text(encoding="utf-8").splitlines())]
        if count > (125 if path.stem in SCRIPTS else 350)
    ]
    long += [
        f"{name}.{node.name} has {count} lines"
        for name, path in modules().items()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for count in [(node.end_lineno or 0) - node.lineno + 1]
        if count > 70
    ]
    assert long == []

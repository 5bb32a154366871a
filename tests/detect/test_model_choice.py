"""Which model is used without --model, and what is said of it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from facemask import files
from facemask.class_names import WITHOUT_MASK
from facemask.detect import metadata
from facemask.detect.model_choice import (
    SHIPPED,
    TRAINED,
    class_names,
    describe_model,
    describe_training,
    find_model,
)
from facemask.errors import UsageError

RECORD = {"images": {"train": 4910, "test": 7}, "sources": ["dataset", "real_crops"]}


def write_model(path: Path, **entries: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(metadata.ENTRY, json.dumps(entries))
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a shipped model; the working folder is another one."""
    monkeypatch.setattr(files, "PROJECT", tmp_path / "project")
    write_model(tmp_path / "project" / SHIPPED, training=RECORD)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def test_without_an_own_model_the_shipped_one_is_used(project: Path) -> None:
    path = find_model(None)
    assert path == project / SHIPPED
    assert describe_model(path) == (
        "face mask detector: pretrained/mask_detector.keras, which comes with the project,"
        " trained on 4,910 images of dataset, real_crops"
    )


@pytest.mark.parametrize("beside_the_scripts", [True, False])
def test_an_own_model_comes_first(project: Path, beside_the_scripts: bool) -> None:
    own = (project if beside_the_scripts else Path()) / TRAINED
    write_model(own, training=RECORD | {"sources": ["mine"], "date": "2026-01-31"})
    assert find_model(None) == own
    assert describe_model(own) == (
        f"face mask detector: {own}, trained on 4,910 images of mine on 2026-01-31"
    )


def test_a_given_model_decides(project: Path) -> None:
    write_model(Path(TRAINED))
    assert find_model(SHIPPED) == project / SHIPPED
    assert find_model("missing.keras") == Path("missing.keras")


def test_without_any_model_the_own_one_is_named(project: Path) -> None:
    (project / SHIPPED).unlink()
    assert find_model(None) == Path(TRAINED)


@pytest.mark.parametrize(
    "training", [{}, [], "text", {"images": 5, "sources": []}, {"images": {"train": "many"}}]
)
def test_a_record_that_is_missing_or_odd(training: Any, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.keras", training=training)
    assert describe_training(path) == "without a record of what it was trained on"


def test_a_file_without_metadata_has_the_classic_classes(tmp_path: Path) -> None:
    (tmp_path / "m.h5").touch()
    assert class_names(tmp_path / "m.h5") == ("with_mask", "without_mask")
    assert describe_training(tmp_path / "m.h5") == "without a record of what it was trained on"


def test_the_classes_are_known_before_the_model_is_loaded(tmp_path: Path) -> None:
    three = write_model(tmp_path / "3.keras", class_names=["incorrect", "Mask", "no_mask"])
    assert class_names(three) == ("incorrect", "Mask", "no_mask")
    assert class_names(three, WITHOUT_MASK) == ("Mask", "no_mask")
    two = write_model(tmp_path / "2.keras")
    with pytest.raises(UsageError, match="found with_mask, without_mask"):
        class_names(two, WITHOUT_MASK)

import json
import zipfile
from pathlib import Path

import pytest

from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError


def archive(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
        for name, content in entries.items():
            file.writestr(f"{name}.json", content)
    return path


def test_metadata_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = ModelMetadata(("a", "b", "c"), (96, 128), margin=0.2, training={"seed": 7})
    path = archive(tmp_path / "m.keras")
    metadata.write(path, written)
    assert metadata.read(path) == written


def test_metadata_is_appended_to_a_tflite_file(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"....TFL3 and more")
    metadata.write(path, ModelMetadata(("a", "b"), twin_of="0" * 64))
    assert path.read_bytes().startswith(b"....TFL3 and more")
    assert metadata.read(path) == ModelMetadata(("a", "b"), twin_of="0" * 64)


def test_a_model_that_is_no_export_has_no_key_for_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    metadata.write(path, ModelMetadata())
    with zipfile.ZipFile(path) as file:
        assert b"twin_of" not in file.read(metadata.ENTRY)


def test_the_digest_is_of_the_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", "abc")
    # The sha256 of "abc", from FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert metadata.weights_digest(path) == digest
    metadata.write(path, ModelMetadata())
    assert metadata.weights_digest(path) == digest


def test_files_without_weights_have_no_digest(tmp_path: Path) -> None:
    assert metadata.weights_digest(archive(tmp_path / "m.keras")) is None
    (tmp_path / "m.model").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert metadata.weights_digest(tmp_path / "m.model") is None
    assert metadata.weights_digest(tmp_path / "missing.keras") is None


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    assert metadata.read(archive(tmp_path / "m.keras")) is None
    (tmp_path / "m.model").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert metadata.read(tmp_path / "m.model") is None


def test_keys_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    content = json.dumps({"class_names": ["a", "b"], "temperature": 1.5})
    assert metadata.read(archive(tmp_path / "m.keras", facemask=content)) == ModelMetadata(
        ("a", "b")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "no attribute|list"),
        ('{"class_names": ["one"]}', "class_names: expected two or more"),
        ('{"class_names": [1, 2]}', "class_names"),
        ('{"class_names": null}', "NoneType"),
        ('{"class_names": "abc"}', "class_names: expected two or more names, found 'abc'"),
        ('{"class_names": ["a", "a", "b"]}', "class_names: expected each class once, found a, a"),
        ('{"class_names": ["With_Mask", "with mask", "b"]}', "expected each class once"),
        ('{"input_size": [224]}', "input_size: expected"),
        ('{"input_size": [0, 224]}', "input_size: expected"),
        ('{"preprocessing": "caffe"}', "preprocessing: expected"),
        ('{"margin": -1}', "margin: expected"),
        ('{"twin_of": 7}', "twin_of: expected"),
        ('{"margin": "wide"}', "margin|not supported"),
    ],
)
def test_invalid_metadata_is_one_line(tmp_path: Path, content: str, reason: str) -> None:
    path = archive(tmp_path / "m.keras", facemask=content)
    with pytest.raises(FacemaskError, match=reason) as problem:
        metadata.read(path)
    assert str(problem.value).startswith(f"{path}: its facemask.json can't be used")

"""The drawn data set: what is written, what is refused, and what the drawings show."""

import json
import subprocess
import sys

import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image
from facemask.sample_dataset.__main__ import main
from facemask.sample_dataset.portrait import draw_portrait
from facemask.sample_dataset.writer import MARKER, is_sample_dataset, write_sample_dataset

SIZE = 48


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- the set ---


def test_writes_the_given_number_of_readable_images(tmp_path):
    paths = write_sample_dataset(tmp_path / "new" / "set", count=3, size=SIZE, seed=0)
    names = [path.relative_to(tmp_path / "new" / "set").as_posix() for path in paths]
    assert names == [
        f"{name}/drawn_000{i}.jpg" for name in ("with_mask", "without_mask") for i in range(3)
    ]
    assert [read_image(path).shape for path in paths] == [(SIZE, SIZE, 3)] * 6


def test_same_seed_same_files_and_another_seed_others(tmp_path):
    sets = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_sample_dataset(tmp_path / name, count=2, size=SIZE, seed=seed)
        sets.append(contents(tmp_path / name))
    assert sets[0] == sets[1]
    assert sets[0].keys() == sets[2].keys()
    assert [name for name in sets[0] if sets[0][name] == sets[2][name]] == []


def test_all_images_of_a_set_differ_and_a_longer_set_begins_alike(tmp_path):
    write_sample_dataset(tmp_path / "short", count=2, size=SIZE, seed=0)
    write_sample_dataset(tmp_path / "long", count=4, size=SIZE, seed=0)
    short, long = contents(tmp_path / "short"), contents(tmp_path / "long")
    del short[MARKER], long[MARKER]
    assert len(set(long.values())) == 8
    assert short.items() <= long.items()


@pytest.mark.parametrize(("index", "with_mask"), [(0, True), (1, False)])
def test_seed_class_and_number_choose_the_person(tmp_path, index, with_mask):
    """Without the class in the seed, one person could be in the training and in the test images."""
    paths = write_sample_dataset(tmp_path, count=2, size=SIZE, seed=4)
    written = read_image(paths[2 * index + 1]).astype(int)
    expected = draw_portrait(np.random.default_rng([4, index, 1]), with_mask, SIZE)
    assert np.abs(written - expected).mean() < 6  # what JPEG changes


def test_marker_says_how_the_set_was_drawn(tmp_path):
    write_sample_dataset(tmp_path, count=1, size=SIZE, seed=5)
    assert is_sample_dataset(tmp_path)
    settings = json.loads((tmp_path / MARKER).read_text(encoding="utf-8"))
    assert settings == {"command": "facemask.sample_dataset", "seed": 5, "count": 1, "size": SIZE}


@pytest.mark.parametrize("text", [None, "", "[1]", "{}", '{"command": "another"}', b"\xff\xfe"])
def test_other_folders_are_not_taken_for_a_drawn_set(tmp_path, text):
    if text is not None:
        (tmp_path / MARKER).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not is_sample_dataset(tmp_path)
    assert not is_sample_dataset(tmp_path / "missing")


def test_drawing_again_replaces_the_drawings_and_nothing_else(tmp_path):
    write_sample_dataset(tmp_path, count=3, size=SIZE, seed=0)
    (tmp_path / "with_mask" / "holiday.jpg").write_bytes(b"a photograph")
    (tmp_path / "with_mask" / "drawn_by_me.jpg").write_bytes(b"a drawing")
    write_sample_dataset(tmp_path, count=1, size=SIZE, seed=0)
    assert sorted(contents(tmp_path)) == [
        MARKER, "with_mask/drawn_0000.jpg", "with_mask/drawn_by_me.jpg", "with_mask/holiday.jpg",
        "without_mask/drawn_0000.jpg",
    ]  # fmt: skip
    assert (tmp_path / "with_mask" / "holiday.jpg").read_bytes() == b"a photograph"


@pytest.mark.parametrize("name", ["with_mask/drawn_0000.jpg", "notes.txt", MARKER])
def test_a_folder_of_other_files_is_refused_and_untouched(tmp_path, name):
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(FacemaskError, match="expected a new or empty folder") as refusal:
        write_sample_dataset(tmp_path, count=1, size=SIZE, seed=0)
    assert str(refusal.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(refusal.value)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "set").write_bytes(b"mine")
    with pytest.raises(FacemaskError, match="found a file"):
        write_sample_dataset(tmp_path / "set", count=1, size=SIZE, seed=0)
    with pytest.raises(FacemaskError, match="can't be written"):
        write_sample_dataset(tmp_path / "set" / "below", count=1, size=SIZE, seed=0)
    assert contents(tmp_path) == {"set": b"mine"}


# --- the command ---


def test_command_draws_and_says_so(tmp_path, capsys):
    assert main([str(tmp_path), "--count", "1", "--size", "32", "--seed", "3"]) == 0
    assert len(contents(tmp_path)) == 3
    assert capsys.readouterr().out.splitlines() == [
        "[INFO] drawing 1 portraits for each of with_mask and without_mask...",
        f"[INFO] 2 images in {tmp_path}",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--count", "0"], ["--count", "-1"], ["--count", "x"],
        ["--size", "31"], ["--size", "4097"], ["--seed", "-1"], [],
    ],
)  # fmt: skip
def test_wrong_arguments_end_with_status_2_before_any_work(tmp_path, capsys, wrong):
    target = tmp_path / "set"
    with pytest.raises(SystemExit) as ending:
        main([str(target), *wrong] if wrong else [])
    assert ending.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("[ERROR] ")
    assert message.count("\n") == 1
    assert not target.exists()


def test_run_as_a_module_a_refusal_is_one_line_and_status_1(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    command = [sys.executable, "-m", "facemask.sample_dataset", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"[ERROR] {tmp_path}: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_recognising_a_drawn_set_loads_no_drawing_library():
    program = "import sys, facemask.sample_dataset.writer; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, timeout=60).returncode == 0


# --- the drawing ---


@pytest.mark.parametrize("size", [32, 160, 200])
def test_a_portrait_has_the_given_size(size):
    portrait = draw_portrait(np.random.default_rng(0), True, size)
    assert portrait.shape == (size, size, 3)
    assert portrait.dtype == np.uint8
    assert portrait.std() > 10


def test_the_classes_differ_about_the_mouth_and_not_in_the_background():
    """On average over portraits, only the middle of the picture differs between the classes."""
    means = [
        np.mean([draw_portrait(np.random.default_rng([c, i]), bool(c), 64) for i in range(60)], 0)
        for c in (0, 1)
    ]
    difference = np.abs(means[1] - means[0])
    # Masks are often blue and skin never is, so the blue channel rises below the eyes.
    mouth = means[1][36:46, 24:40, 0].mean() - means[0][36:46, 24:40, 0].mean()
    assert mouth > 30
    assert difference[:12].mean() < mouth / 2

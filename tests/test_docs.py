"""The README and the pages in docs say what is so: options, commands, links, code, errors."""

import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import pytest
from PIL import Image

import detect_mask_image
import detect_mask_video
import train_mask_detector
from facemask import options
from facemask.detect.builtin import BuiltinFaceDetector
from facemask.detect.classifier import MaskClassifier
from facemask.detect.pipeline import detect_masks
from facemask.downloads import __main__ as downloads
from facemask.evaluate import options as evaluate_options
from facemask.export import options as export_options
from facemask.files import PROJECT
from facemask.options import ArgumentParser
from facemask.sample_dataset import __main__ as sample_dataset
from facemask.train_face_detector import options as train_face_detector_options

from .sweep.harness import run_command

PAGES = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        *PROJECT.glob("*.md"),
        *(PROJECT / "docs").glob("*.md"),
        *PROJECT.glob("*/README.md"),
        PROJECT / "face_detector" / "builtin.md",
    )
}
README = PAGES["README.md"]
# Only the first half of these two commands parses arguments, so it is called instead.
PARSERS: dict[str, Callable[[list[str]], Any]] = {
    "train_mask_detector.py": train_mask_detector.parse_arguments,
    "detect_mask_image.py": detect_mask_image.parse_arguments,
    "detect_mask_video.py": detect_mask_video.parse_arguments,
    "-m facemask.evaluate": evaluate_options.parse_arguments,
    "-m facemask.export": export_options.parse_arguments,
    "-m facemask.train_face_detector": train_face_detector_options.parse_arguments,
    "-m facemask.downloads": downloads.main,
    "-m facemask.sample_dataset": sample_dataset.main,
}
NAME = r"(?:\w+\.py|-m facemask\.\w+)"


class Parsed(Exception):
    """The arguments of a command were parsed without an error."""


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a page, of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def commands() -> Iterator[tuple[str, str]]:
    """The page and the command of each line in a fenced block that runs a script or a module."""
    for page in PAGES:
        for block in (*blocks(page), *blocks(page, "ini")):
            pattern = rf"^(?:.* && |ExecStart=\S*/)?python ({NAME}(?: .*)?)$"
            yield from ((page, command) for command in re.findall(pattern, block, re.MULTILINE))


COMMANDS = list(commands())


def test_there_are_commands_to_check() -> None:
    assert len([page for page, _ in COMMANDS if page == "README.md"]) > 8
    assert len(COMMANDS) > 30
    assert {name for _, text in COMMANDS for name in re.findall(rf"^{NAME}", text)} >= set(PARSERS)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_has_arguments_that_it_takes(
    page: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = re.findall(rf"^{NAME}", command)[0]
    arguments = shlex.split(command.removeprefix(name), comments=True)
    # The reader's files are not here, so patterns stay as they are.
    monkeypatch.setattr(options, "_matches", lambda text: [text])
    if name in ("-m facemask.downloads", "-m facemask.sample_dataset"):
        parse = ArgumentParser.parse_args

        def parse_only(self: ArgumentParser, *values: Any) -> None:
            parse(self, *values)
            raise Parsed

        monkeypatch.setattr(ArgumentParser, "parse_args", parse_only)
        with pytest.raises(Parsed):
            PARSERS[name](arguments)
    else:
        assert PARSERS[name](arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_benchmark_and_script_that_is_named_exists(page: str) -> None:
    names = re.findall(r"\bpython\s+((?:\w+/)?\w+\.py)\b", PAGES[page])
    assert [name for name in names if not (PROJECT / name).is_file()] == [
        name
        for name in names
        if name == "notify.py"  # stands for a program of the reader's
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: str) -> None:
    folder = (PROJECT / page).parent
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[page]):
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else PROJECT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short_and_names_every_page() -> None:
    assert len(README.splitlines()) <= 250
    assert [page for page in PAGES if page.startswith("docs/") and f"({page})" not in README] == []


def test_the_contents_of_the_readme_are_its_sections() -> None:
    contents = re.findall(r"^- \[(.*)\]\(#.*\)$", README, re.MULTILINE)
    assert contents == re.findall(r"^## (.*)$", README, re.MULTILINE)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays out help texts differently")
def test_the_options_are_those_of_the_commands() -> None:
    make_options = runpy.run_path(str(PROJECT / "docs" / "make_options.py"))
    assert PAGES["docs/options.md"] == make_options["page"](), "run python docs/make_options.py"


def test_the_picture_of_the_readme_moves_and_is_small() -> None:
    path = PROJECT / "docs" / "moving.webp"
    assert "(docs/moving.webp)" in README
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as picture:
        assert picture.n_frames > 20  # type: ignore[attr-defined]


def test_a_mask_comes_onto_the_face_of_that_picture_and_goes_again() -> None:
    script = runpy.run_path(str(PROJECT / "docs" / "make_moving_picture.py"))
    frames = list(islice(script["scene"](), 0, None, 40))
    model = MaskClassifier.load(PROJECT / "pretrained" / "mask_detector.tflite")
    detector = BuiltinFaceDetector.load()
    labels = [
        [detection.label for detection in sorted(found, key=lambda each: each.face.x1)]
        for found in (detect_masks(frame, detector, model) for frame in frames)
    ]
    bare, masked = ["without_mask", "with_mask"], ["with_mask", "with_mask"]
    assert labels == [bare, masked, masked, masked]


def test_both_set_up_commands_stand_there() -> None:
    lines = README.splitlines()
    assert (
        "pip install -r requirements.txt && "
        "python detect_mask_image.py --image examples/example_02.png --output out.png"
    ) in lines
    assert "pip install -r requirements-dev.txt && python -m pytest" in lines


def test_ci_runs_the_readmes_test_command() -> None:
    script = PROJECT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    pattern = re.search(r"grep --max-count=1 '(.*)' README\.md", script.read_text())
    assert pattern
    found = [line for line in README.splitlines() if re.search(pattern[1], line)]
    assert found[:1] == ["pip install -r requirements-dev.txt && python -m pytest"]


def test_the_python_code_prints_what_the_page_says(run_script) -> None:
    (code,) = blocks("docs/python_api.md", "python")
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 5
    done = run_script("-c", code)
    assert done.stdout in blocks("docs/python_api.md"), done.stderr


# What the page on errors shows, by the command that ends with it.
ERRORS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "the camera": (detect_mask_video.main, "--no-display"),
    "a stream": (
        detect_mask_video.main,
        "--source rtsp://me:secret@127.0.0.1:9/stream --no-display",
    ),
    "a photograph": (detect_mask_image.main, "--image photo.heic --no-display"),
    "a data set": (train_mask_detector.main, "--dataset empty --weights none --dry-run"),
    "a model": (
        detect_mask_image.main,
        "--image example_01.png --model damaged.keras --no-display",
    ),
    "weights": (
        detect_mask_image.main,
        "--image example_01.png --detector yunet --face empty --no-display",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_shown_as_it_is(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Path("damaged.keras").write_text("not found")
    shutil.copy(PROJECT / "examples" / "example_01.png", tmp_path)
    unopened = cv2.VideoCapture()  # whoever runs the tests may have a camera
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: unopened)
    main, arguments = ERRORS[case]
    done = run_command(main, *arguments.split())
    assert done.status == 1
    assert done.err in blocks("docs/troubleshooting.md")


def test_a_warning_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = PROJECT / "examples" / "example_01.png"
    done = run_command(detect_mask_image.main, "--image", example, "--detector", "builtin")
    assert (done.status, done.err in blocks("docs/troubleshooting.md")) == (0, True)

"""The README says what is so: its usage texts, its commands, its links."""

import os
import re
import shlex

import pytest

import detect_mask_image
import detect_mask_video
import train_mask_detector
from facemask.files import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
MODULES = {
    "train_mask_detector.py": train_mask_detector,
    "detect_mask_image.py": detect_mask_image,
    "detect_mask_video.py": detect_mask_video,
}
COMMANDS = re.findall(r"^(?:.* && )?python (\w+\.py .*)$", README, re.MULTILINE)


@pytest.mark.parametrize("script", MODULES)
def test_the_usage_text_is_the_help(script: str, run_script) -> None:
    done = run_script(script, "--help", env={"COLUMNS": "100"})
    assert f"```\n{done.stdout.rstrip()}\n```" in README


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 8
    assert {command.split()[0] for command in COMMANDS} == set(MODULES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_arguments_that_the_script_takes(command: str) -> None:
    script, *arguments = shlex.split(command, comments=True)
    assert MODULES[script].parse_arguments(arguments)


def test_both_set_up_commands_stand_there() -> None:
    lines = README.splitlines()
    assert (
        "pip install -r requirements.txt && "
        "python detect_mask_image.py --image examples/example_01.png --output out.png"
    ) in lines
    assert "pip install -r requirements-dev.txt && python -m pytest" in lines


def test_every_link_to_a_file_leads_to_one() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", README)
    assert len(links) > 4
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_ci_runs_the_readmes_test_command() -> None:
    script = PROJECT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    pattern = re.search(r"grep --max-count=1 '(.*)' README\.md", script.read_text())
    assert pattern
    found = [line for line in README.splitlines() if re.search(pattern[1], line)]
    assert found[:1] == ["pip install -r requirements-dev.txt && python -m pytest"]

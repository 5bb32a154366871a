"""detect_mask_video.py --serve: what is served, and how the page begins and ends with the run."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import requests

import detect_mask_video
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image, write_image
from facemask.web import pictures
from facemask.web.access import Access
from facemask.web.page import Page

from ..conftest import FakeDetector, in_order, obey_ctrl_c, refusal
from ..video.test_sources import write_video

LIMIT_S = 20.0
INSIDE = slice(14, 26), slice(14, 26)  # of the face, without its box


@pytest.fixture
def port() -> str:
    """A port that is free."""
    with Access("127.0.0.1", 0) as access:
        return str(access.port)


@pytest.fixture
def look(port: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[requests.Response]]:
    """Ask for a path of the page after each frame of a run; returns the answers, as they come."""

    def look_at(path: str) -> list[requests.Response]:
        answers: list[requests.Response] = []
        show = Page.show

        def show_and_look(self: Page, *arguments, **options) -> None:
            show(self, *arguments, **options)
            answers.append(requests.get(f"http://127.0.0.1:{port}/{path}", timeout=LIMIT_S))

        monkeypatch.setattr(Page, "show", show_and_look)
        monkeypatch.setattr(pictures, "MAX_RATE", 1e9)
        return answers

    return look_at


@pytest.fixture
def boards(fake_networks: FakeDetector) -> None:
    """A folder of six chessboards; the fake networks find a face in each."""
    board = np.repeat(np.indices((48, 64)).sum(axis=0)[..., None] // 2 % 2 * 255, 3, axis=2)
    Path("boards").mkdir()
    for number in range(6):
        write_image(Path("boards", f"{number}.png"), board.astype(np.uint8))


def test_a_run_shows_its_frames_and_counts(
    boards: None, look: Callable, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    states = look("state.json")
    arguments = ["-s", "boards", "--track", "--no-display", "--serve", port, "--alert-after", "0"]
    assert detect_mask_video.main(arguments) == 0
    assert [state.json()["frame"] for state in states] == [1, 2, 3, 4, 5, 6]
    last = states[-1].json()
    assert (last["source"], last["status"]) == ("boards", "running")
    assert [(row["label"], row["count"]) for row in last["in_view"]] == [
        ("with_mask", 1),
        ("without_mask", 0),
        ("mask_weared_incorrect", 0),
    ]
    assert in_order(
        capsys.readouterr().out,
        f"[INFO] watch it at http://127.0.0.1:{port}/\n",
        "[INFO] loading face detector model...",
        "[INFO] starting video stream...",
    )


def test_alerts_are_shown_though_no_program_runs(
    fake_networks: FakeDetector, look: Callable, port: str
) -> None:
    write_video(Path("clip.avi"), 4)  # dark: without a mask
    states = look("state.json")
    arguments = ["-s", "clip.avi", "--no-display", "--serve", port, "--alert-after", "0"]
    assert detect_mask_video.main(arguments) == 0
    (alert,) = states[-1].json()["alerts"]
    assert (alert["word"], alert["track"]) == ("No Mask", 1)
    assert not list(Path().glob("*.jpg"))


@pytest.mark.parametrize("writes", [["-o", "out.mp4"], []], ids=["and written", "alone"])
@pytest.mark.parametrize("blur", [["--blur"], []], ids=["blurred", "plain"])
def test_the_picture_is_the_one_that_people_may_see(
    boards: None, look: Callable, port: str, blur: list[str], writes: list[str]
) -> None:
    answers = look("picture.jpg")
    arguments = ["-s", "boards", "--track", "--no-display", "--serve", port]
    assert detect_mask_video.main([*arguments, *blur, *writes]) == 0
    shown = [read_image(answer.content) for answer in answers]
    assert [answer.headers["Frame-Number"] for answer in answers] == list("123456")
    ranges = [np.ptp(picture[INSIDE]) for picture in shown]
    assert max(ranges) < 60 if blur else min(ranges) > 150
    assert min(np.ptp(picture[30:, 45:]) for picture in shown) > 150
    # The box is drawn: nothing else is green.
    assert all(
        picture[10:30, 10, 1].mean() > picture[10:30, 10, 2].mean() + 50 for picture in shown
    )


def test_a_used_port_is_an_error_before_the_camera_is_opened(fake_networks: FakeDetector) -> None:
    with Access("127.0.0.1", 0) as access, pytest.raises(FacemaskError, match=str(access.port)):
        detect_mask_video.main(["-s", "missing.mp4", "--serve", str(access.port)])


def test_the_port_is_free_again_after_an_error(fake_networks: FakeDetector, port: str) -> None:
    with pytest.raises(FacemaskError, match=r"missing\.mp4: no such file"):
        detect_mask_video.main(["-s", "missing.mp4", "--serve", port])
    with Access("127.0.0.1", int(port)):
        pass


def test_a_token_of_the_environment_counts_and_is_not_shown(
    boards: None,
    look: Callable,
    port: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FACEMASK_TOKEN", "a-token_of_16_ok")
    answers = look("state.json?token=a-token_of_16_o")
    assert detect_mask_video.main(["-s", "boards", "--no-display", "--serve", port]) == 0
    assert {answer.status_code for answer in answers} == {401}
    output = capsys.readouterr().out
    assert "a-token" not in output
    assert f"watch it at http://127.0.0.1:{port}/; it asks for the token that you gave" in output


@pytest.mark.parametrize("token", ["", "short", "with spaces, long enough", "é" * 20])
def test_a_token_of_the_environment_must_be_safe(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEMASK_TOKEN", token)
    error = refusal(detect_mask_video.main, ["--serve", "8000"], capsys)
    assert f"found {len(token)} characters" in error
    assert not token or token not in error


def test_ctrl_c_ends_the_page_with_the_run(tmp_path: Path, port: str) -> None:
    """With the networks that the project ships, and a viewer who is waiting for a picture."""
    (tmp_path / "pictures").mkdir()
    picture = read_image(PROJECT / "examples" / "example_02.png")
    write_image(tmp_path / "pictures" / "a.png", picture)
    running = subprocess.Popen(
        [
            sys.executable, PROJECT / "detect_mask_video.py", "--source", "pictures", "--loop",
            "--detector", "builtin", "--no-display", "--serve", f"0.0.0.0:{port}",
        ],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=obey_ctrl_c,
    )  # fmt: skip
    assert running.stdout
    tokens = (re.search(r"\?token=(\S+)", line) for line in running.stdout)
    token = next(match[1] for match in tokens if match)
    url, headers = f"http://127.0.0.1:{port}/", {"Authorization": f"Bearer {token}"}
    assert requests.get(url, timeout=LIMIT_S).status_code == 401
    answers = (requests.get(f"{url}picture.jpg", headers=headers, timeout=LIMIT_S) for _ in count())
    answer = next(answer for answer in answers if answer.status_code != 204)  # the networks load
    assert read_image(answer.content).shape == picture.shape
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (0, "")
    assert "faces" in output
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=LIMIT_S)

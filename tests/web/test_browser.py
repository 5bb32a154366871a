"""The page in a real Chromium: the picture moves, and what it says is what the JSON says."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import requests

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.alerts import Alerts
from facemask.video.frame_errors import FrameErrors
from facemask.video.sources import Source
from facemask.video.track_log import TrackLog
from facemask.web import access
from facemask.web.page import open_page

pytestmark = pytest.mark.browser

TOKEN = "a-token_of_16_ok"
CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")
FACES = [
    MaskDetection(FaceBox(40 + 150 * place, 100, 140 + 150 * place, 220, 0.9), label, 0.99)
    for place, label in enumerate(("with_mask", "with_mask", "without_mask"))
]


class Run:
    """A camera that sees three faces, 20 times a second."""

    def __init__(self) -> None:
        self.source = Source("camera 0")
        self.stops = threading.Event()
        self.url = self.plain_url = ""

    def show_frames(self, page: Any) -> None:
        track_log, errors = TrackLog(), FrameErrors(print)
        alerts = Alerts([], ["without_mask"], 1.0, 60.0, None, print)
        page.follow(CLASSES, self.source, track_log, alerts, errors)
        while not self.stops.wait(0.05):
            if self.source.reconnecting:
                continue
            now_s = time.monotonic()
            frame = np.full((360, 640, 3), 60 + round(50 * now_s) % 120, np.uint8)
            found = track_log.update(FACES, frame, now_s)
            alerts.update(found, frame, now_s)
            page.show(frame, found)


@contextmanager
def running() -> Iterator[Run]:
    """A run with a page that needs the token."""
    said: list[str] = []
    run = Run()
    with open_page(("127.0.0.1", 0), TOKEN, said.append, said.append) as page:
        run.plain_url = said[0].split()[3].rstrip(";")
        run.url = f"{run.plain_url}?token={TOKEN}"
        frames = threading.Thread(target=run.show_frames, args=(page,))
        frames.start()
        try:
            yield run
        finally:
            run.stops.set()
            frames.join()


@pytest.fixture
def run() -> Iterator[Run]:
    with running() as run:
        yield run


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    driver = shutil.which("chromedriver")
    if not driver:
        pytest.skip("needs Chromium and chromedriver (apt-get install chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    if binary := shutil.which("chromium"):
        options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def resize(chromium: Any, width: int, height: int) -> None:
    """Set the size of the page in pixels; a window has a least width."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def until(chromium: Any, script: str, wanted: Callable[[Any], bool]) -> Any:
    """What a script returns, once it is as wanted; null, as on a page that loads, never is."""
    end = time.monotonic() + 30.0
    while (value := chromium.execute_script(f"return {script}")) is None or not wanted(value):
        assert time.monotonic() < end, (script, value)
        time.sleep(0.05)
    return value


def text_of(chromium: Any, name: str, wanted: str) -> str:
    """The text of an element, once it has the wanted part."""
    return until(
        chromium, f"document.getElementById('{name}')?.innerText", lambda text: wanted in text
    )


# The grey level of the middle of the picture as it is shown.
LEVEL = """(() => {
    const picture = document.getElementById("picture"), canvas = document.createElement("canvas");
    if (picture.hidden) return null;
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    return context.getImageData(canvas.width / 2, canvas.height - 20, 1, 1).data[0];
})()"""


def test_the_picture_moves(run: Run, chromium: Any) -> None:
    chromium.get(run.url)
    levels = set()
    until(chromium, LEVEL, lambda level: bool(levels.add(level)) or len(levels - {None}) >= 4)
    assert text_of(chromium, "status", "running") == "running"
    assert "frames a second" in text_of(chromium, "rate", "frames a second")
    assert text_of(chromium, "source", "camera") == "camera 0"


def test_the_counts_are_those_of_the_json(run: Run, chromium: Any) -> None:
    chromium.get(run.url)
    text_of(chromium, "last_hour", "67 % (2)")
    text_of(chromium, "alerts", "No Mask, track 3")
    answer = requests.get(
        f"{run.plain_url}state.json", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20
    )
    state = answer.json()
    for name, shown in {
        "in_view": lambda row: [row["word"], str(row["count"])],
        "last_hour": lambda row: [row["word"], f"{100 * row['share']:.0f} % ({row['count']})"],
    }.items():
        lines = chromium.execute_script(
            f"return [...document.querySelectorAll('#{name} li')].map(line => line.innerText)"
        )
        assert [line.split("\n") for line in lines] == [shown(row) for row in state[name]]
    assert [row["count"] for row in state["in_view"]] == [2, 1, 0]


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits(run: Run, chromium: Any, width: int) -> None:
    """Nothing is cut off at the side; the picture has its shape, and stands above or beside."""
    resize(chromium, width, 760)
    chromium.get(run.url)
    text_of(chromium, "alerts", "No Mask")
    until(chromium, "document.getElementById('picture')?.hidden", lambda hidden: not hidden)
    assert chromium.execute_script("return document.documentElement.scrollWidth") == width
    picture, facts = chromium.execute_script(
        "return ['figure', '.facts'].map(name => {"
        " const box = document.querySelector(name).getBoundingClientRect();"
        " return [box.left, box.top, box.right, box.bottom]; })"
    )
    shown = chromium.execute_script(
        "const box = document.getElementById('picture').getBoundingClientRect();"
        " return box.width / box.height"
    )
    assert shown == pytest.approx(640 / 360, rel=0.01)
    if width == 360:
        assert facts[1] >= picture[3]
        assert picture[2] - picture[0] > 320
    else:
        assert facts[0] >= picture[2]
        assert facts[1] == picture[1]
        assert picture[2] - picture[0] > 850


def test_a_wrong_token_is_asked_for_again_and_the_right_one_opens(run: Run, chromium: Any) -> None:
    chromium.delete_all_cookies()
    chromium.get(run.plain_url)
    assert "needs its token" in chromium.find_element("tag name", "h1").text
    chromium.get_log("browser")
    for token in ("wrong", TOKEN):
        chromium.find_element("id", "token").send_keys(token)
        chromium.find_element("tag name", "button").click()
        if token == "wrong":
            until(chromium, "document.body?.innerText", lambda text: "token is wrong" in text)
    text_of(chromium, "status", "running")
    assert chromium.current_url == run.plain_url
    (refused,) = [
        line["message"] for line in chromium.get_log("browser") if "401" in line["message"]
    ]
    assert "?token=wrong" in refused


def test_the_state_of_the_camera_is_told(run: Run, chromium: Any) -> None:
    chromium.get(run.url)
    text_of(chromium, "status", "running")
    run.source.reconnecting = True
    text_of(chromium, "status", "reconnecting")
    text_of(chromium, "message", "is being opened again")
    text_of(chromium, "in_view", "Mask\n0")
    run.source.reconnecting = False
    text_of(chromium, "status", "running")


def test_one_viewer_too_many_is_told_and_let_in_later(
    run: Run, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chromium.get(run.plain_url)  # so that the last page is closed
    monkeypatch.setattr(access, "MAX_VIEWERS", 0)
    chromium.get(run.url)
    text_of(chromium, "message", "Enough others are watching")
    assert chromium.execute_script("return document.getElementById('picture').hidden")
    text_of(chromium, "in_view", "Mask")
    monkeypatch.setattr(access, "MAX_VIEWERS", 1)
    until(chromium, "document.getElementById('picture')?.hidden", lambda hidden: not hidden)


def test_the_end_of_the_program_is_told(chromium: Any) -> None:
    with running() as run:
        chromium.get(run.url)
        text_of(chromium, "status", "running")
    text_of(chromium, "message", "has ended, or can't be reached")
    assert "not connected" in text_of(chromium, "status", "not connected")


def test_nothing_comes_from_elsewhere_and_nothing_is_reported(run: Run, chromium: Any) -> None:
    chromium.get_log("browser")
    chromium.get(run.url)
    text_of(chromium, "status", "running")
    until(chromium, LEVEL, lambda level: level is not None)
    addresses = chromium.execute_script(
        "return performance.getEntriesByType('resource').map(each => each.name)"
    )
    assert addresses
    assert [each for each in addresses if not each.startswith((run.plain_url, "blob:"))] == []
    assert chromium.get_log("browser") == []

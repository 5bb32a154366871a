"""Windows: whether one can be opened, showing pictures in it, and the keys pressed."""

import os
import subprocess
import sys

import cv2
import numpy as np

# Larger pictures are shrunk: a window that is larger than the screen hides some faces.
LARGEST_WINDOW = (1600, 900)  # width, height, pixels
POLL_MS = 50  # between two checks whether a key was pressed or the window closed


def can_show_windows() -> bool:
    """Whether OpenCV can open a window here.

    Tried in a child process, because OpenCV ends the whole process when it can't connect to a
    screen, and raises when it was built without windows. Takes half a second.
    """
    has_screen = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if sys.platform.startswith("linux") and not has_screen:
        return False
    attempt = "import cv2; cv2.namedWindow('facemask'); cv2.destroyAllWindows()"
    try:
        return not subprocess.run(
            [sys.executable, "-c", attempt], capture_output=True, timeout=30
        ).returncode
    except subprocess.TimeoutExpired:
        return False


def show(title: str, image: np.ndarray) -> None:
    """Show an image (H, W, 3) uint8, BGR, in the window of that title, shrunk to fit a screen."""
    height, width = image.shape[:2]
    scale = min(1.0, LARGEST_WINDOW[0] / width, LARGEST_WINDOW[1] / height)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    # The package of OpenCV 5.0 names a folder of fonts that is not in it, and Qt prints lines about
    # that. Any folder will do: these windows have no text.
    if not os.path.isdir(os.environ.get("QT_QPA_FONTDIR", os.curdir)):
        os.environ["QT_QPA_FONTDIR"] = os.path.dirname(cv2.__file__)
    cv2.imshow(title, image)


def pressed_key(wait_ms: int = 1) -> str:
    """The key pressed within wait_ms milliseconds, or an empty string."""
    code = cv2.waitKey(wait_ms)
    return chr(code & 0xFF) if code >= 0 else ""


def is_open(title: str) -> bool:
    """Whether the window is still open: a person may have closed it."""
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # OpenCV's Qt windows raise it when the last one is closed
        return False


def show_frame(title: str, frame: np.ndarray) -> str:
    """Show one frame of a video; returns the key pressed, "q" if the window was closed."""
    show(title, frame)
    key = pressed_key(1)
    return key if is_open(title) else "q"


def asks_to_quit(title: str) -> bool:
    """Whether q was pressed or the window closed, while there is no new frame to show."""
    return pressed_key(1) == "q" or not is_open(title)


def wait_for_key(title: str, seconds: float) -> str:
    """Wait for a key, for that long or POLL_MS, whatever is shorter.

    Returns the key, an empty string without one, "q" if the window was closed.
    """
    key = pressed_key(max(1, min(POLL_MS, int(1000 * seconds))))
    return key if is_open(title) else "q"


def pause(title: str) -> str:
    """Wait until p, s or q is pressed; returns that key, "q" if the window was closed."""
    key = ""
    while key not in ("p", "q", "s"):
        key = pressed_key(POLL_MS) if is_open(title) else "q"
    return key


def show_until_key(title: str, image: np.ndarray) -> str:
    """Show an image until a key is pressed or the window closed.

    Returns the key, or an empty string for a closed window.
    """
    show(title, image)
    key = ""
    while not key and is_open(title):
        key = pressed_key(POLL_MS)
    cv2.destroyAllWindows()
    return key

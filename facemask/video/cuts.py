"""Cuts: where a video goes on with another scene, so that a face there is another person's."""

import cv2
import numpy as np

# Two frames are compared as thumbnails of SIDE x SIDE points. The later one shows another scene
# when both hold:
# - Its normalised cross-correlation with the middle of the earlier one stays below
#   MIN_CORRELATION, wherever the middle is laid (cv2.TM_CCOEFF_NORMED). So neither a camera that
#   shakes or turns by MARGIN / SIDE of the frame is a cut, nor light that changes.
# - Fewer than MIN_UNCHANGED of the points keep their colour, within COLOUR_NOISE in each channel.
#   So somebody who walks past close to the camera is no cut.
# tests/video/test_cuts.py has the clips and photographs that these numbers were chosen with. The
# mean difference of hue, saturation and brightness, by which PySceneDetect's ContentDetector finds
# cuts, is above its threshold of 27 in one of them where the camera turns.
SIDE = 32
MARGIN = 4
MIN_CORRELATION = 0.7
MIN_UNCHANGED = 0.2
COLOUR_NOISE = 16


class CutDetector:
    """Tells in which frames of a video another scene begins, within 0.2 ms for each."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None  # thumbnail of the last frame

    def is_cut(self, frame: np.ndarray) -> bool:
        """Whether a frame (H, W, 3) uint8, BGR, shows another scene than the one given before.

        The frames come in order. There may be any time between them, and their size may change.
        """
        last, self._last = self._last, _thumbnail(frame)
        if last is None:
            return False
        unchanged = (cv2.absdiff(last, self._last).max(axis=2) < COLOUR_NOISE).mean()
        if unchanged >= MIN_UNCHANGED:  # as in most frames: the correlation takes twice as long
            return False
        middle = last[MARGIN:-MARGIN, MARGIN:-MARGIN]
        correlation = cv2.matchTemplate(self._last, middle, cv2.TM_CCOEFF_NORMED).max()
        return bool(correlation < MIN_CORRELATION)


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """The frame as (SIDE, SIDE, 3) uint8, from 16 of its pixels for each point.

    All pixels would take ten times as long.
    """
    sample = cv2.resize(frame, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(sample, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

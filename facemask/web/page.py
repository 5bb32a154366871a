"""The page of a run, as the script uses it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.web.access import Access
from facemask.web.pictures import Pictures
from facemask.web.state import RunState

Log = Callable[[str], None]


class Page:
    """Takes the frames of a run and their faces, and never waits for a viewer."""

    def __init__(self, state: RunState, pictures: Pictures):
        self._state, self._pictures = state, pictures
        self.follow = state.follow

    def show(
        self, frame: np.ndarray, detections: Sequence[MaskDetection], is_drawn: bool = False
    ) -> None:
        """Show a frame (H, W, 3) uint8, BGR, that viewers may see; it must not change afterwards.

        detections: its faces. is_drawn: whether they are drawn on it already.
        """
        number = self._state.update(detections)
        self._pictures.show(number, frame, () if is_drawn else detections)


@contextmanager
def open_page(
    address: tuple[str, int],
    token: str | None,
    announce: Log,
    warn: Log,
) -> Iterator[Page]:
    """A page at an address, (host, port), which is announced; it is closed with the block.

    token: what viewers need, letters and digits; without one it is made, and announced, unless the
    address is that of this machine alone. warn: takes a line for a defect.
    Raises FacemaskError for an address that can't be listened on, and without the packages of
    requirements-web.txt.
    """
    try:
        from facemask.web.app import make_app
        from facemask.web.server import Server
    except ModuleNotFoundError as error:
        raise FacemaskError(
            f"--serve: {error}; expected what `pip install -r requirements-web.txt` installs"
        ) from error
    with Access(*address, token) as access:
        state, pictures = RunState(), Pictures()
        server = Server(make_app(access, state, pictures, warn), access)
        secret = f"?token={access.token}" if access.token != token else ""
        hint = "; it asks for the token that you gave" if token else ""
        announce(f"watch it at {access.url}{secret}{hint}")
        try:
            yield Page(state, pictures)
        finally:
            pictures.close()
            server.close()

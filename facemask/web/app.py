"""The routes of the page. Only GET and HEAD are answered; what a viewer sends is not kept."""

import asyncio
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h11
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemask.defects import describe
from facemask.web.access import MAX_VIEWERS, VIEWER_S, Access
from facemask.web.pictures import Pictures
from facemask.web.state import RunState

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PUBLIC = ("/page.css", "/icon.svg")  # what the page that asks for the token needs

HEADERS = {
    # Scripts and styles are these files alone; pictures come as blobs, which the script makes.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_app(
    access: Access, state: RunState, pictures: Pictures, warn: Callable[[str], None]
) -> ASGIApp:
    """The application. warn: takes a line for the first defect in it; the run goes on."""

    async def picture(request: Request) -> Response:
        """The newest frame, once there is another than that of ?after=NUMBER; else 204."""
        client = request.client.host if request.client else ""
        if not access.admits(request.query_params.get("viewer", client), time.monotonic()):
            return PlainTextResponse(
                f"{MAX_VIEWERS} viewers are looking already; try again later",
                503,
                {"Retry-After": str(round(VIEWER_S))},
            )
        newest = await pictures.after(request.query_params.get("after", ""))
        if newest is None:
            return Response(status_code=204)
        number = {"Frame-Number": str(newest.number)}
        return Response(newest.jpeg, headers=number, media_type="image/jpeg")

    async def as_json(_: Request) -> Response:
        return JSONResponse(state.describe())

    routes = [
        Route("/picture.jpg", picture),
        Route("/state.json", as_json),
        *(Route(path, _file(*file)) for path, file in FILES.items()),
    ]
    return Guard(Starlette(routes=routes), access, warn)


class Guard:
    """Answers those who may look by an application, and adds HEADERS to all answers.

    An ASGI application, because Starlette's middleware of requests and responses takes as much time
    as a picture.
    """

    def __init__(self, app: ASGIApp, access: Access, warn: Callable[[str], None]):
        self._app, self._access, self._warn = app, access, warn
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            answer = _refusal(self._access, Request(scope)) or self._app
            await answer(scope, receive, send_with_headers)
        except h11.ProtocolError:  # a viewer who does not speak HTTP, which is no defect
            pass
        except Exception as problem:  # Starlette has sent status 500
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"web page: {await asyncio.to_thread(describe, problem)}")


def _file(name: str, media_type: str) -> Callable[[Request], Response]:
    content = (STATIC / name).read_bytes()
    return lambda _: Response(content, media_type=media_type)


def _refusal(access: Access, request: Request) -> Response | None:
    """The answer to somebody who may not look, or who has just shown the token; else None.

    The token is in the address once, is then in a cookie that scripts can't read, and leaves the
    address, so that it is not in bookmarks. Programs send it in a header.
    """
    # Not request.url, which has the server's own name where the header's is not one.
    if not access.allows_host(request.headers.get("Host", "")):
        return PlainTextResponse(f"expected this page at {access.url}", 421)
    if access.token is None:
        return None
    given = request.query_params.get("token")
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    known = request.cookies.get(access.cookie), bearer if scheme.lower() == "bearer" else None
    if given and access.allows(given):
        answer = RedirectResponse("/", 303)
        # "lax": a link in a message opens the page, and no other site gets the picture.
        answer.set_cookie(access.cookie, given, httponly=True, samesite="lax")
        return answer
    if not given and (access.allows(*known) or request.url.path in PUBLIC):
        return None
    hint = "This token is wrong." if given or any(known) else ""
    text = _token_page().replace("{hint}", hint)
    return HTMLResponse(text, 401, {"WWW-Authenticate": "Bearer"})


@cache
def _token_page() -> str:
    return (STATIC / "token.html").read_text(encoding="utf-8")

"""The page and its answers, as a Starlette app: nothing is stored, and nothing is asked of another machine.

gradio would draw such a page too, but needs Pillow < 13, so it cannot be installed beside the version that runs are
tested with.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from headstart.serve.answer import Answerer, RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from headstart.serve.examples import Example

MOST_BYTES = 20_000_000
LOCAL = ("127.0.0.1", "localhost", "::1")
HOSTS = [*LOCAL, "[::1]"]  # as browsers name them
HEADERS = {  # the browser itself refuses whatever would leave this machine
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
TYPES = {"page.js": "text/javascript", "page.css": "text/css"}


def make_app(answerer: Answerer, examples: Sequence[Example], notes: Sequence[str], *, local: bool = True) -> Starlette:
    """Make the app.

    Args:
        notes: sentences at the foot of the page, such as why it gives no warnings.
        local: whether it answers under this machine's own names only.
    """
    busy = threading.Lock()  # one image at a time
    page = _render(answerer, examples, notes)

    def compute(content: bytes) -> dict[str, Any]:
        with busy:
            return answerer.answer(content)

    async def show(request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def show_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in TYPES:
            raise HTTPException(404)
        return Response(_read(name), media_type=TYPES[name], headers=HEADERS)

    async def show_example(request: Request) -> Response:
        at = request.path_params["at"]
        if at >= len(examples):
            raise HTTPException(404)
        return Response(examples[at].content, media_type="image/png", headers=HEADERS)

    async def answer(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            raise HTTPException(403)  # a page from elsewhere, open in the same browser
        try:
            found = await run_in_threadpool(compute, await request.body())
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, 422, headers=HEADERS)
        return JSONResponse(found, headers=HEADERS)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/page/{name}", show_file),
            Route("/examples/{at:int}", show_example),
            Route("/answer", answer, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS if local else ["*"], www_redirect=False)],
        max_body_size=MOST_BYTES,
    )


def _read(name: str) -> str:
    return (files("headstart.serve") / name).read_text("utf-8")


def _render(answerer: Answerer, examples: Sequence[Example], notes: Sequence[str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("headstart.serve", "."), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    network = answerer.network
    return environment.get_template("page.html").render(
        title=network.folder.resolve().name if network.folder else network.name,
        network=network,
        examples=examples,
        notes=notes,
        most=MOST_BYTES,
    )

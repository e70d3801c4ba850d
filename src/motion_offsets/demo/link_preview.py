"""What a link to the page shows where it is posted: title, description and a picture of the first example."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from concurrent.futures import Future
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import text

PICTURE_PATH = "/preview.jpg"
SIZE = (1200, 630)
_META = re.compile(rb"<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>")


def preview_picture(photo: np.ndarray, sharp: np.ndarray) -> bytes:
    """A JPEG: the left half of the blurred photo beside the right half of the sharp picture, uint8 ``(H, W, 3)``."""
    whole = ImageOps.fit(Image.fromarray(photo), SIZE)
    middle, height = SIZE[0] // 2, SIZE[1]
    whole.paste(ImageOps.fit(Image.fromarray(sharp), SIZE).crop((middle, 0, *SIZE)), (middle, 0))
    whole.paste("white", (middle - 3, 0, middle + 3, height))
    buffer = BytesIO()
    whole.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


class LinkPreview:
    """Serves the picture, and replaces the tags that Gradio writes into the page for itself by ours.

    Args:
        app: the application.
        picture: gives the future of the picture, a JPEG.
    """

    def __init__(self, app: ASGIApp, picture: Callable[[], Future[bytes]]) -> None:
        self._app, self._picture = app, picture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
        elif scope["path"] == PICTURE_PATH:
            content = await asyncio.wrap_future(self._picture())
            await Response(content, media_type="image/jpeg")(scope, receive, send)
        elif scope["path"] == "/":
            # Compressed, the page could not be changed.
            plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            await self._app({**scope, "headers": plain}, receive, _Changed(send, _tags(Request(scope))))
        else:
            await self._app(scope, receive, send)


def _tags(request: Request) -> bytes:
    """The tags of the page for a request to it. Sites that show previews need whole addresses."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0]
    host = request.headers.get("x-forwarded-host", request.url.netloc).split(",")[0]
    address = f"{scheme}://{host}"
    tags = {
        "og:type": "website",
        "og:url": f"{address}/",
        "og:title": text.TITLE,
        "og:description": text.INTRO,
        "og:image": address + PICTURE_PATH,
        "og:image:width": str(SIZE[0]),
        "og:image:height": str(SIZE[1]),
        "og:image:alt": text.PREVIEW_ALT,
    }
    lines = [f'<meta property="{name}" content="{html.escape(value)}">' for name, value in tags.items()]
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image">']).encode()


class _Changed:
    """Sends an HTML answer with other tags; anything else as it is."""

    def __init__(self, send: Send, tags: bytes) -> None:
        self._send, self._tags = send, tags
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)
            return
        await self._send(message)

    async def _finish(self, start: Message) -> None:
        # A HEAD answer has no body, and its length stays as Gradio says.
        if self._body:
            body = _META.sub(b"", self._body).replace(b"<head>", b"<head>" + self._tags, 1)
            MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
        else:
            body = b""
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

"""The page as a web application: its networks loaded, its settings, what it refuses to fetch."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .limits import Limits
from .link_preview import LinkPreview
from .page import build
from .service import Service
from .style import CSS, HEAD, theme


class NoForeignAddresses:
    """Refuses to fetch web addresses for a visitor, which Gradio's file routes otherwise do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).lower()
        _, found, address = path.partition("/file=")
        if scope["type"] == "http" and ("/proxy=" in path or (found and "://" in address.replace(":/", "://"))):
            await PlainTextResponse("Web addresses are not opened here", status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def create(limits: Limits) -> tuple[gr.Blocks, Service]:
    """The page with its networks loaded; the examples are being computed."""
    service = Service(limits)
    page = build(service)
    service.start()
    return page, service


def launch_settings(service: Service, mcp: bool = False) -> dict[str, Any]:
    """Arguments of ``Blocks.launch`` besides the address."""
    middleware = [Middleware(NoForeignAddresses), Middleware(LinkPreview, picture=lambda: service.preview)]
    return {
        "theme": theme(),
        "css": CSS,
        "head": HEAD,
        "max_file_size": service.limits.upload_bytes,
        "show_error": False,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "mcp_server": mcp,
        "state_session_capacity": 1000,
        "app_kwargs": {"middleware": middleware},
    }

"""Addresses that a caller gives for a photo: those of uploads to this server are paths, all others are refused."""

from __future__ import annotations

from collections.abc import Collection
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio import utils

FILE_ROUTE = "/gradio_api/file="
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_hosts: ContextVar[frozenset[str]] = ContextVar("_hosts", default=frozenset())  # of the call that is worked on


class _KnowsItsHosts:
    """Remembers, while a call is worked on, the names by which its caller knows this server."""

    async def process_api(self, *args: Any, request: Any = None, **kwargs: Any) -> dict[str, Any]:
        """As in Gradio."""
        _hosts.set(own_hosts(getattr(request, "headers", None) or {}, getattr(self, "local_url", None)))
        return await super().process_api(*args, request=request, **kwargs)  # type: ignore[misc]


# Gradio's page, with that in front; as for PhotoInput, a class statement would have Gradio write a stub file.
Page: Any = type.__new__(type(gr.Blocks), "Page", (_KnowsItsHosts, gr.Blocks), {"__module__": __name__})


def own_hosts(headers: Any, local_url: str | None) -> frozenset[str]:
    """The ``host:port`` of this server: as in the caller's request, and as it listens on this machine."""
    named = [headers.get("host", ""), headers.get("x-forwarded-host", "").partition(",")[0]]
    if local_url:
        local = urlsplit(local_url)
        named += [f"{name}:{local.port}" for name in _LOOPBACK if local.hostname in ("127.0.0.1", "localhost", "::1")]
    return frozenset(name.strip().lower() for name in named) - {""}


def uploaded_file(address: str, hosts: Collection[str] | None = None) -> str | None:
    """The path of an upload, given the address that Gradio's upload tool returned for it; nothing is fetched.

    Args:
        address: ``http(s)://HOST/gradio_api/file=PATH``.
        hosts: of this server, ``host:port``; by default those of the current call.

    Returns:
        The path, free of links; ``None`` for an address elsewhere or a file outside the folder of uploads.
    """
    try:
        parts = urlsplit(address)
        _, found, quoted = parts.path.partition(FILE_ROUTE)
        path = Path(unquote(quoted)).resolve()
    except ValueError:  # a broken address, or a null byte in the path
        return None
    own = parts.netloc.lower() in (_hosts.get() if hosts is None else hosts)
    if not own or not found or not utils.is_in_or_equal(path, utils.get_upload_folder()):
        return None
    return str(path)

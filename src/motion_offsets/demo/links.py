"""Addresses that the page links to. Only a Space knows where its code and models are on the Hub."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, metadata

HUB = "https://huggingface.co"
PAPER = "https://ieeexplore.ieee.org/document/9551756"
PIPELINE = "blur-to-video"
_CODE_LABELS = ("code", "source", "repository")


def links() -> list[tuple[str, str]]:
    """Labels and addresses of the paper, the code and the models, as far as they are known.

    On a Space (``SPACE_ID`` is set) the code is the Space's own files, and the models are those of the same owner.
    Elsewhere, the code is where the installed package's metadata says.
    """
    found = [("Paper", PAPER)]
    space = os.environ.get("SPACE_ID", "")
    owner, _, name = space.partition("/")
    if owner and name:
        return [*found, ("Code", f"{HUB}/spaces/{space}/tree/main"), ("Models", f"{HUB}/{owner}/{PIPELINE}")]
    return found + [("Code", address) for label, address in _project_urls() if label.lower() in _CODE_LABELS]


def _project_urls() -> list[tuple[str, str]]:
    try:
        entries = metadata("motion-offsets").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a copy of the sources
        return []
    return [(label.strip(), address.strip()) for label, _, address in (entry.partition(",") for entry in entries)]

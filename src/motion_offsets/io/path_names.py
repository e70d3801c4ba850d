"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadInputError


def as_path(name: str | os.PathLike[str]) -> Path:
    """The path that a name stands for: ``~`` and ``~user`` are home folders, unless a file is really called so.

    Raises:
        BadInputError: the name is empty, which would otherwise stand for the current folder.
    """
    text = os.fspath(name)
    if not text:
        raise BadInputError("'' is an empty name; give a file or a folder ('.' is the current one)")
    if os.path.lexists(text):
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)

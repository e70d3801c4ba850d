"""Paths as people type them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import BadInputError


def as_path(name: str | os.PathLike[str]) -> Path:
    """The path that a name stands for: ``~`` and ``~user`` are home folders, unless a file is really called so.

    Raises:
        BadInputError: the name is empty, which would otherwise stand for the current folder, or one that no file can
            have.
    """
    text = os.fspath(name)
    if not text:
        raise BadInputError("'' is an empty name; give a file or a folder ('.' is the current one)")
    if _exists(text):
        return Path(text)
    check_no_address(text)
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # the user is unknown
        return Path(text)
    _exists(os.fspath(path))
    return path


def check_no_address(text: str) -> None:
    """Refuse a web address; as a path it would lose one of its slashes.

    Raises:
        BadInputError: ``text`` begins as a web address does.
    """
    if text.startswith(("http://", "https://")):
        raise BadInputError(f"{text}: is a web address, which is not opened; download it and give the file")


def _exists(text: str) -> bool:
    """Whether there is a file or a link of this name; to ``os.path.lexists`` an impossible name is a missing file."""
    try:
        os.lstat(text)
    except ValueError:
        raise BadInputError(f"{text!r}: contains a null character, which no file name may; check the name") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadInputError(f"{text}: the name is too long for a file here; give a shorter one") from None
        return False
    return True

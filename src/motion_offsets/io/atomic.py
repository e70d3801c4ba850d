"""Folders of results that appear whole or not at all, and never take the place of anything else."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadInputError

RESULT_NAMES = frozenset(
    ("sharp.png", "frames", "video.mp4", "video.gif", "video.webp", "trajectories.png", "flow.png")
    + ("motion_offsets.npz", "report.json")
)


@contextmanager
def whole_folder(target: Path, names: frozenset[str] = RESULT_NAMES) -> Iterator[Path]:
    """Yield a hidden folder beside ``target``; on success it takes its place, on any error nothing is left of it.

    An earlier result at ``target`` is replaced only once the new one is complete.

    Args:
        target: the folder that is to appear.
        names: what an earlier result may hold; a folder with anything else in it is not replaced.

    Raises:
        BadInputError: ``target`` is something else than an earlier result, or the disk refuses to be written to.
    """
    check_replaceable(target, names)
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    finished = False
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        _replace_folder(target, unfinished)
        finished = True
    except OSError as error:
        raise BadInputError(f"{target}: cannot be written ({error.strerror or error}); give another output") from error
    finally:
        if not finished:
            shutil.rmtree(unfinished, ignore_errors=True)
            _remove_empty(made)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders, innermost first, that were made for nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def check_replaceable(target: Path, names: frozenset[str] = RESULT_NAMES) -> None:
    """Raise :class:`BadInputError` where a result cannot be put at ``target``, an earlier one's place apart."""
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise BadInputError(f"{target}: exists and is no result folder; give another output")
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise BadInputError(f"{target}: is write-protected; give another output, or permission to write it")
    found = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
    foreign = sorted(found - names - {"Thumbs.db"})  # that one and hidden files are the file manager's
    if foreign:
        raise BadInputError(f"{target}: holds {foreign[0]!r}, which is no result of ours; give another output")


def _replace_folder(target: Path, finished: Path) -> None:
    if not target.exists():
        finished.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    target.rename(old)
    try:
        finished.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_output_folder(folder: Path) -> None:
    """Refuse, before anything is computed, a folder that can neither be written to nor be made."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise BadInputError(f"{existing}: is a file, so {folder} cannot be a folder; give another output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInputError(f"{folder}: {existing} is write-protected; give an output that you may write to")


@contextmanager
def whole_file(path: str | os.PathLike[str], suffixes: tuple[str, ...] | None = None) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on success it is renamed to ``path``, on any error it is removed.

    Args:
        path: the file that is to appear, whole or not at all.
        suffixes: the suffixes allowed for it, lower case.

    Raises:
        BadInputError: wrong suffix, missing or write-protected folder, or ``path`` is a folder.
    """
    target = Path(path)
    _check_target(target, suffixes)
    partial = target.with_name(f".{uuid.uuid4().hex[:12]}{target.suffix}")
    _create(partial, target)
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInputError(f"{target}: no space left to write it; free some or choose another folder") from None
        if error.errno is None:  # not the system's: a library's own complaint
            raise
        raise BadInputError(f"{target}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        partial.unlink(missing_ok=True)


def _check_target(target: Path, suffixes: tuple[str, ...] | None) -> None:
    if suffixes and target.suffix.lower() not in suffixes:
        raise BadInputError(f"{target}: cannot be written in this format; end its name in {' or '.join(suffixes)}")
    if os.path.isdir(target):
        raise BadInputError(f"{target}: is a folder; give the name of a file")
    if not os.path.isdir(target.parent):
        raise BadInputError(f"{target}: the folder {target.parent} does not exist; create it or choose another")
    # os.path, unlike pathlib, answers False where it may not look; creating the file then says why.
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise BadInputError(f"{target}: is write-protected; choose another name or grant write permission")
    if len(os.fsencode(target.name)) > 255:
        raise BadInputError(f"{target}: has a name of more than 255 bytes; choose a shorter one")


def _create(partial: Path, target: Path) -> None:
    try:
        partial.touch()
    except OSError as error:
        raise BadInputError(
            f"{target}: cannot be written ({error.strerror}); choose a folder that you may write to"
        ) from None

"""Folders of results that appear whole or not at all, and never take the place of anything else."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import BadInputError

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

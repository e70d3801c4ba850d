"""All writing that is whole or not at all: files, result folders, checkpoints."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInputError

if TYPE_CHECKING:
    import numpy as np

RESULT_NAMES = frozenset(
    ("sharp.png", "frames", "video.mp4", "video.gif", "video.webp", "trajectories.png", "flow.png", "camera.png")
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
        raise BadInputError(f"{target}: exists and is not a result folder; give another output")
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise BadInputError(f"{target}: is write-protected; give another output, or permission to write it")
    found = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
    foreign = sorted(found - names - {"Thumbs.db"})  # that one and hidden files are the file manager's
    if foreign:
        raise BadInputError(f"{target}: holds {foreign[0]!r}, which is not our result; give another output")


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
        raise BadInputError(
            f"{target}: cannot be written in this format; use a name that ends in {' or '.join(suffixes)}"
        )
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


def bytes_of(folders: Iterable[Path]) -> int:
    """Bytes of all files in the folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def put_in_place(partial: Path, final: Path) -> None:
    """Rename a folder once all of it is on the disk, so that a power cut leaves the whole of it or nothing."""
    if os.name == "posix":  # elsewhere a folder cannot be synchronized
        for path in (*partial.rglob("*"), partial):
            _synchronize(path)
    os.replace(partial, final)
    if os.name == "posix":
        _synchronize(final.parent)


def _synchronize(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def write_errors(partial: Path) -> Iterator[None]:
    """What a disk refuses as one line; nothing is left of the folder that was being written."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if type(error) is RuntimeError and "PytorchStreamWriter" not in str(error):  # how torch.save tells it
            raise
        shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split())[:160]
        raise BadInputError(
            f"{partial.parent}: cannot be written ({reason}); make room, then go on from the last whole checkpoint "
            "with `resume` true"
        ) from error


@contextmanager
def whole_checkpoint(final: Path) -> Iterator[Path]:
    """A folder beside ``final`` that takes its place once everything is written into it."""
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    earlier = final.with_name(f".earlier-{final.name}")
    with write_errors(partial):
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(earlier, ignore_errors=True)
        if final.exists():
            os.replace(final, earlier)
        put_in_place(partial, final)
        shutil.rmtree(earlier, ignore_errors=True)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    from PIL import Image

    Image.fromarray(pixels).save(partial)
    os.replace(partial, path)

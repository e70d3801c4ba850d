"""Folders and files that are whole as soon as they bear their name: written beside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError

from ..errors import BadInputError


def size_of(folders: Iterable[Path]) -> int:
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
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if type(error) is RuntimeError and "PytorchStreamWriter" not in str(error):  # how torch.save tells it
            raise
        shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split())[:160]
        raise BadInputError(
            f"{partial.parent}: cannot be written ({reason}); make room, then go on from the last whole checkpoint "
            "with --resume true"
        ) from error


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
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
    Image.fromarray(pixels).save(partial)
    os.replace(partial, path)

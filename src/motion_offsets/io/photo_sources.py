"""What a photo comes as, and opening it: a file or its bytes become a picture whose head has been read, no more.

Whatever cannot be opened raises :class:`BadInputError` with one line that names it.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..errors import BadInputError
from ..runtime.extras import pip_install
from .main_picture import DEVELOP, RAW_SUFFIXES
from .path_names import check_no_address


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo as the bytes of its file, a row of a data set say, and what errors call it."""

    name: str
    content: bytes = field(repr=False)


ImageSource: TypeAlias = str | os.PathLike[str] | EncodedPhoto | Image.Image | np.ndarray | torch.Tensor

MIN_SIDE = 16
"""Shortest side, in pixels, that the networks can see anything in."""

MAX_PIXELS = 2 * 89_478_485
"""Largest picture, in pixels (179 megapixels): where Pillow itself calls a file a decompression bomb."""

# What Pillow's decoders raise on damaged files; each is a fault of the file, none of ours.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def describe(source: Any) -> str:
    """Name an image source in an error message: the path of a file, the kind and size of anything else."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, EncodedPhoto):
        return source.name
    if isinstance(source, Image.Image):
        filename = getattr(source, "filename", "")
        return str(filename) if filename else f"PIL image ({source.mode}, {source.width}x{source.height})"
    if isinstance(source, (np.ndarray, torch.Tensor)):
        kind = "array" if isinstance(source, np.ndarray) else "tensor"
        return f"{kind} of shape {tuple(source.shape)}"
    return f"{type(source).__name__} object"


def open_photo(source: str | os.PathLike[str] | EncodedPhoto, max_pixels: int) -> Image.Image:
    """Open a photo with Pillow, which reads its head; :class:`BadInputError` says why it cannot be."""
    if isinstance(source, str) and not os.path.lexists(source):
        check_no_address(source)
    path = Path(describe(source))
    file: Path | io.BytesIO = path
    if isinstance(source, EncodedPhoto):
        if not source.content:
            raise BadInputError(f"{path}: is empty (0 bytes); give an intact picture")
        file = io.BytesIO(source.content)
    else:
        _check_file(path)
    _let_pillow_read_heif()
    try:
        with without_warnings():
            image = Image.open(file)
    except Image.DecompressionBombError:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)) / 1e6
        raise BadInputError(
            f"{path}: claims an enormous size, like a decompression bomb; "
            f"give a picture of at most {limit:.0f} megapixels"
        ) from None
    except UnidentifiedImageError:
        raise BadInputError(
            f"{path}: not a picture that can be read; give a JPEG, PNG, WebP or TIFF photo{_format_hint(path)}"
        ) from None
    except DECODER_ERRORS as error:
        raise BadInputError(f"{path}: damaged picture ({_one_line(error)}); give an intact file") from None
    return image


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Pillow: its warning at half the limit on pixels, and its remarks on odd metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _check_file(path: Path) -> None:
    """Refuse what is not a readable, non-empty, regular file (a pipe, say, would block for ever)."""
    try:
        if not path.exists():
            raise BadInputError(f"{path}: no such file; check the path")
        if path.is_dir():
            raise BadInputError(f"{path}: is a folder; give the path of a picture")
        if not path.is_file():
            raise BadInputError(f"{path}: is not a regular file; give the path of a picture")
        if path.stat().st_size == 0:
            raise BadInputError(f"{path}: is empty (0 bytes); give an intact picture")
        with path.open("rb"):
            pass
    except PermissionError:
        raise BadInputError(f"{path}: may not be read; grant read permission (chmod +r)") from None
    except BadInputError:  # a ValueError too
        raise
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be opened ({_one_line(error)}); check the path") from None


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Whatever a decoder raises within the block, as a :class:`BadInputError` that names the photo."""
    try:
        with without_warnings():
            yield
    except BadInputError:  # a ValueError, too
        raise
    except (*DECODER_ERRORS, RuntimeError) as error:
        raise BadInputError(f"{name}: damaged or cut short ({_one_line(error)}); give an intact file") from None


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Raise :class:`BadInputError` for a picture that is too large or too small, in pixels."""
    if min(width, height) < MIN_SIDE:
        raise BadInputError(f"{name}: is {width}x{height} pixels; both sides must be at least {MIN_SIDE}")
    if width * height > max_pixels:
        raise BadInputError(
            f"{name}: is {width}x{height}, {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:.0f}, so scale it down first"
        )


@functools.cache
def _let_pillow_read_heif() -> bool:
    """Whether HEIC can be read, as the extra "heic" lets it."""
    try:
        from pillow_heif import register_heif_opener
    except (ImportError, OSError):  # not there, or without the library that it needs
        return False
    register_heif_opener()
    return True


def _format_hint(path: Path) -> str:
    """Photos that phones and cameras make and that Pillow alone does not read."""
    suffix = path.suffix.lower()
    if suffix in (".heic", ".heif", ".hif") and not _let_pillow_read_heif():
        return f" ({pip_install('pillow_heif')} lets HEIC be read, or export the photo as JPEG)"
    if suffix == ".jxl":
        return " (export the JPEG XL photo as JPEG or PNG)"
    if suffix in RAW_SUFFIXES:
        return f" ({DEVELOP})"
    return ""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__

"""Pictures with more than 8 bits per channel, which Pillow reads at 8 bits or, some of them, as negatives.

PNG and TIFF are decoded by imagecodecs and tifffile, PPM here. Other formats come at the 8 bits that Pillow gives.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

try:
    import imagecodecs
    import tifffile
except ImportError:  # remote code of the Hub: what Pillow gives has to do
    imagecodecs = tifffile = None  # type: ignore[assignment]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 0x0112
_ASSOCIATED, _UNASSOCIATED = 1, 2


@dataclass(frozen=True)
class DeepPicture:
    """Values ``(H, W, 1)`` or ``(H, W, 3)`` as the file holds them, the largest possible one (0 where the file does
    not tell), and alpha ``(H, W, 1)`` in [0, 1] or ``None``."""

    values: np.ndarray
    top: int
    alpha: np.ndarray | None = None
    negative: bool = False
    associated: bool = False


def read_deep(image: Image.Image) -> DeepPicture | None:
    """A picture that Pillow has opened and not yet decoded, upright and as deep as its file is.

    Returns:
        ``None`` for a picture of 8 bits, a format that only Pillow reads, and a picture that has been decoded.

    Raises:
        ValueError, RuntimeError: the file is damaged.
    """
    file = getattr(image, "fp", None)
    if imagecodecs is None or file is None or getattr(file, "closed", False):
        return None
    readers = {"PNG": _read_png, "TIFF": _read_tiff, "PPM": _read_ppm}
    reader = readers.get(image.format or "")
    return None if reader is None else reader(image, file)


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``(H, W, C)`` as EXIF's orientation says, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _content(file: Any) -> bytes:
    file.seek(0)
    return file.read()


def _read_png(image: Image.Image, file: Any) -> DeepPicture | None:
    position = file.tell()
    file.seek(24)
    bits = file.read(1)
    file.seek(position)
    if bits != b"\x10":
        return None
    values = imagecodecs.png_decode(_content(file))
    values = values.reshape(image.height, image.width, -1)
    alpha = None
    if values.shape[2] in (2, 4):
        alpha, values = values[:, :, -1:] / np.float32(65535), values[:, :, :-1]
    elif "transparency" in image.info:
        alpha = np.any(values != np.asarray(image.info["transparency"]), axis=2, keepdims=True).astype(np.float32)
    return _turned(image, DeepPicture(values, 65535, alpha))


def _read_tiff(image: Image.Image, file: Any) -> DeepPicture | None:
    tags: Any = getattr(image, "tag_v2", {})
    photometric = tags.get(_PHOTOMETRIC)
    bits = tags.get(_BITS, (1,))
    bits = max(bits) if isinstance(bits, tuple) else bits
    if bits <= 8 or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return None
    content = _content(file)
    with _silent(), tifffile.TiffFile(io.BytesIO(content)) as opened:
        page: Any = opened.pages[image.tell()]
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if not pieces or any(count == 0 or start + count > len(content) for start, count in pieces):
            raise ValueError("its data end too soon")
        values = page.asarray()
    wanted = 3 if photometric == _RGB else 1
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(page.imagelength, page.imagewidth, -1)
    whole = values.dtype.kind == "u" and bits <= 16
    top = 2**bits - 1 if whole else 0
    kinds = [int(kind) for kind in page.extrasamples]
    alpha = None
    if kinds and kinds[0] in (_ASSOCIATED, _UNASSOCIATED) and values.shape[2] > wanted:
        alpha = values[:, :, wanted : wanted + 1] / np.float32(top or 1)
    associated = alpha is not None and kinds[0] == _ASSOCIATED
    picture = DeepPicture(values[:, :, :wanted], top, alpha, photometric == _WHITE_IS_ZERO, associated)
    return _turned(image, picture)


def _read_ppm(image: Image.Image, file: Any) -> DeepPicture | None:
    """Binary PPM (P6); Pillow keeps the precision of the grey ones itself."""
    tiles: Any = getattr(image, "tile", None)
    tile = tiles[0] if tiles else None
    if image.mode != "RGB" or tile is None or tile[0] != "ppm":
        return None
    _, _, offset, (_, top) = tile
    if top <= 255:
        return None
    content = _content(file)[offset:]
    size = image.height * image.width * 3
    if len(content) < 2 * size:
        raise ValueError("its data end too soon")
    values = np.frombuffer(content, dtype=">u2", count=size).reshape(image.height, image.width, 3)
    return DeepPicture(values.astype(np.uint16), top)


@contextmanager
def _silent() -> Iterator[None]:
    """No remarks of tifffile on standard error: what matters of them is raised."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _turned(image: Image.Image, picture: DeepPicture) -> DeepPicture:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError):
        return picture  # unreadable metadata says nothing of the orientation
    alpha = None if picture.alpha is None else upright(picture.alpha, orientation)
    values = upright(picture.values, orientation)
    return DeepPicture(values, picture.top, alpha, picture.negative, picture.associated)

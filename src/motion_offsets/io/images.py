"""One way in for photos: paths, PIL images, NumPy arrays and torch tensors become upright RGB in ``[0, 1]``.

What a file may hold and what becomes of it:

========================  ==============================================================================
grey, palette, bilevel    the same colours as RGB
16-bit PNG, TIFF, PPM     at full precision in :func:`load_array`; other formats at 8 bits per channel
alpha                     laid over white, as a viewer shows it
any colours but sRGB      converted to sRGB as the file tells them, see :mod:`motion_offsets.io.colour_profiles`
HDR (PQ, HLG)             refused
EXIF orientation          applied, also to PIL images
several pictures          the main one, or refused; see :mod:`motion_offsets.io.main_picture`
========================  ==============================================================================

Whatever cannot be used raises :class:`BadInputError` with one line that names it.
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
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import BadInputError
from ..runtime.extras import pip_install
from .colour_profiles import SRGB, Colours, array_to_srgb, code_points, colours_of, picture_to_srgb
from .deep_pictures import DeepPicture, read_deep
from .main_picture import DEVELOP, RAW_SUFFIXES, select_main_picture
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

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # of TIFF


def load_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Load a photo as an upright 8-bit RGB picture.

    Args:
        source: path, encoded bytes, PIL image, NumPy array ``(H, W)`` or ``(H, W, C)``, or torch tensor ``(H, W)``
            or ``(C, H, W)``; arrays and tensors are uint8, uint16 or float in ``[0, 1]`` with 1 to 4 channels.
        max_pixels: refuse larger pictures. It is checked on the file's header, before anything is decoded.
            Above the default, ``PIL.Image.MAX_IMAGE_PIXELS`` must be raised as well.

    Returns:
        RGB picture, sides at least 16 pixels.

    Raises:
        BadInputError: the source is missing, unreadable, damaged, not one still picture, too large or too small.
    """
    decoded = _read(source, max_pixels)
    if isinstance(decoded.picture, Image.Image) and not _is_deep(decoded.picture):
        return _to_rgb8(decoded.picture, decoded.colours)
    return Image.fromarray(np.rint(_to_float(decoded, source) * 255).astype(np.uint8), "RGB")


def load_array(source: ImageSource, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Load a photo as float32 ``(H, W, 3)``, RGB in ``[0, 1]``, keeping the precision of 16-bit and float sources.

    Arguments and errors are those of :func:`load_image`.
    """
    return _to_float(_read(source, max_pixels), source)


def size_of(source: str | os.PathLike[str] | EncodedPhoto, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) that a photo's header gives, before it is turned upright; nothing is decoded.

    Raises:
        BadInputError: the photo is missing, no picture, too large or too small.
    """
    with open_photo(source, max_pixels) as image:
        _select(image, describe(source))
        _check_size(image.width, image.height, max_pixels, describe(source))
        return image.size


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


@dataclass(frozen=True)
class _Decoded:
    """An upright PIL image in its own mode, ``(H, W, C)`` array in its own dtype or deep picture, and its colours."""

    picture: Image.Image | np.ndarray | DeepPicture
    colours: Colours = field(default_factory=Colours)


def _read(source: ImageSource, max_pixels: int) -> _Decoded:
    if isinstance(source, (np.ndarray, torch.Tensor)):
        array = _channels_last(source)
        _check_size(array.shape[1], array.shape[0], max_pixels, describe(source))
        return _Decoded(array)
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, describe(source))
    if isinstance(source, (str, os.PathLike, EncodedPhoto)):
        with open_photo(source, max_pixels) as image:
            return _decode(image, max_pixels, describe(source))
    raise BadInputError(
        f"{describe(source)}: not a picture; give a path, a PIL image, a NumPy array or a torch tensor"
    )


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
            f"{path}: claims to be enormous, as a decompression bomb does; "
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


def _decode(image: Image.Image, max_pixels: int, name: str) -> _Decoded:
    _select(image, name)
    _check_size(image.width, image.height, max_pixels, name)
    with _damage_named(name):
        codes = code_points(image)
        deep = read_deep(image)
        colours = colours_of(image, codes, name)
        if deep is not None:
            return _Decoded(deep, colours)
        image.load()
        negative = _is_deep(image) and _is_white_zero(image)
        picture = _upright(image)
        if negative:
            return _Decoded(DeepPicture(np.asarray(picture)[:, :, None], 0, negative=True), colours)
        return _Decoded(picture, colours)


def _select(image: Image.Image, name: str) -> None:
    with _damage_named(name):
        select_main_picture(image, name)


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        with without_warnings():
            yield
    except BadInputError:  # a ValueError, too
        raise
    except (*DECODER_ERRORS, RuntimeError) as error:
        raise BadInputError(f"{name}: damaged or cut short ({_one_line(error)}); give an intact file") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DECODER_ERRORS:
        # Unreadable metadata says nothing of the orientation; the picture itself is intact.
        return image.copy()


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise BadInputError(f"{name}: is {width}x{height} pixels; both sides must be at least {MIN_SIDE}")
    if width * height > max_pixels:
        raise BadInputError(
            f"{name}: is {width}x{height}, {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:.0f}, so scale it down first"
        )


def _channels_last(source: np.ndarray | torch.Tensor) -> np.ndarray:
    """``(H, W, C)`` view of an array; sides are at least 16, so the axis of 1 to 4 is the channels."""
    name = describe(source)
    if isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        source = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        first_preferred = True
    else:
        first_preferred = False
    if source.ndim == 2:
        return source[:, :, None]
    if source.ndim == 3:
        channels_first = source.shape[0] <= 4 and (first_preferred or source.shape[2] > 4)
        if channels_first:
            source = np.moveaxis(source, 0, -1)
        if 1 <= source.shape[2] <= 4:
            return source
    raise BadInputError(f"{name}: is not one picture; give (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels")


def _is_deep(image: Image.Image) -> bool:
    """True for modes with more than 8 bits per channel."""
    return image.mode == "F" or image.mode.startswith("I")


def _is_white_zero(image: Image.Image) -> bool:
    """True for a TIFF whose zeros are white, which Pillow heeds up to 8 bits only."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _to_rgb8(image: Image.Image, colours: Colours) -> Image.Image:
    base, alpha = _without_alpha(image)
    rgb = picture_to_srgb(base, Colours(space=SRGB) if image.mode == "LAB" else colours)
    if alpha is None:
        return rgb
    rgb.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture of mode L, RGB or CMYK, and its alpha."""
    if not image.has_transparency_data:
        kept = {"1": "L", "L": "L", "CMYK": "CMYK"}
        return image.convert(kept.get(image.mode, "RGB")), None
    if image.mode == "La":
        image = image.convert("LA")  # the only way from it that Pillow has
    rgba = image.convert("RGBA")
    grey = image.mode in ("1", "L", "LA")
    return rgba.getchannel("R") if grey else rgba.convert("RGB"), rgba.getchannel("A")


def _to_float(decoded: _Decoded, source: ImageSource) -> np.ndarray:
    picture, name = decoded.picture, describe(source)
    if isinstance(picture, Image.Image):
        if not _is_deep(picture):
            return _scale_to_unit(np.asarray(_to_rgb8(picture, decoded.colours)), name)
        picture = np.asarray(picture)[:, :, None]
    if isinstance(picture, np.ndarray):
        values = _scale_to_unit(picture, name)
        alpha = values[:, :, -1:] if values.shape[2] in (2, 4) else None
        values = values if alpha is None else values[:, :, :-1]
    else:
        values, alpha = _deep_values(picture, name), picture.alpha
    values = array_to_srgb(values, decoded.colours)
    return values if alpha is None else values * alpha + (1 - alpha)


def _deep_values(picture: DeepPicture, name: str) -> np.ndarray:
    """``(H, W, 1)`` or ``(H, W, 3)``, float32 in [0, 1], black at 0, not multiplied by alpha."""
    if picture.top:
        values = np.divide(picture.values, picture.top, dtype=np.float32)
    else:
        whole = picture.values.dtype.kind in "iu"  # of 32 bits, or with a sign
        values = np.clip(picture.values, -1, 2**31 - 1).astype(np.int32) if whole else picture.values
        values = _scale_to_unit(values, name)
    if picture.negative:
        values = 1 - values
    if picture.associated and picture.alpha is not None:
        seen = picture.alpha > 0
        values = np.clip(np.divide(values, picture.alpha, out=np.zeros_like(values), where=seen), 0, 1)
    return values


def _scale_to_unit(values: np.ndarray, name: str) -> np.ndarray:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # some TIFFs are big-endian
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if values.dtype == np.uint8:
        return np.divide(values, 255, dtype=np.float32)
    if values.dtype == np.uint16:
        return np.divide(values, 65535, dtype=np.float32)
    if values.dtype == np.int32:  # how Pillow hands over some 16-bit files, PGM among them
        _check_range(values, 65535, "whole numbers wider than 16 bits; save it with 8 or 16 bits per channel", name)
        return np.divide(values, 65535, dtype=np.float32)
    if np.issubdtype(values.dtype, np.floating):
        _check_range(values, 1, "float values must lie in [0, 1], so divide by the largest possible value", name)
        return np.clip(values, 0, 1).astype(np.float32, copy=False)
    raise BadInputError(f"{name}: has values of type {values.dtype}; give uint8, uint16 or float in [0, 1]")


def _check_range(values: np.ndarray, top: float, advice: str, name: str) -> None:
    low, high = float(values.min()), float(values.max())
    slack = 1e-3 * top  # resizing with a cubic filter, say, overshoots a little
    if not (low >= -slack and high <= top + slack):  # also false for NaN
        raise BadInputError(f"{name}: has values from {low:g} to {high:g}; {advice}")


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

"""One way in for photos: paths, PIL images, NumPy arrays and torch tensors become upright RGB in ``[0, 1]``.

What a file may hold and what becomes of it:

========================  ==============================================================================
grey, palette, bilevel    the same colours as RGB
16-bit grey               divided by 65535, at full precision in :func:`load_array`
alpha                     laid over white, as a viewer shows it
CMYK, wide-gamut RGB      converted to sRGB by the embedded colour profile where there is one
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
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import BadInputError
from .main_picture import DEVELOP, RAW_SUFFIXES, select_main_picture


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
    picture = _read(source, max_pixels)
    if isinstance(picture, Image.Image) and not _is_deep(picture):
        return _to_rgb8(picture)
    return Image.fromarray(np.rint(_to_float(picture, source) * 255).astype(np.uint8), "RGB")


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
    with _open(source, max_pixels) as image:
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


def _read(source: ImageSource, max_pixels: int) -> Image.Image | np.ndarray:
    """Upright decoded PIL image in its own mode, or an ``(H, W, C)`` array in its own dtype."""
    if isinstance(source, (np.ndarray, torch.Tensor)):
        array = _channels_last(source)
        _check_size(array.shape[1], array.shape[0], max_pixels, describe(source))
        return array
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, describe(source))
    if isinstance(source, (str, os.PathLike, EncodedPhoto)):
        with _open(source, max_pixels) as image:
            return _decode(image, max_pixels, describe(source))
    raise BadInputError(
        f"{describe(source)}: not a picture; give a path, a PIL image, a NumPy array or a torch tensor"
    )


def _open(source: str | os.PathLike[str] | EncodedPhoto, max_pixels: int) -> Image.Image:
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
        with _without_warnings():
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
def _without_warnings() -> Iterator[None]:
    """Silence Pillow: its warning at half the limit on pixels, and its remarks on odd metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _check_file(path: Path) -> None:
    """Refuse what is not a readable, non-empty, regular file (a pipe, say, would block for ever)."""
    try:
        if not path.exists():
            hint = "download the web address first" if str(path).startswith(("http:", "https:")) else "check the path"
            raise BadInputError(f"{path}: no such file; {hint}")
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


def _decode(image: Image.Image, max_pixels: int, name: str) -> Image.Image:
    _select(image, name)
    _check_size(image.width, image.height, max_pixels, name)
    with _damage_named(name):
        image.load()
        return _upright(image)


def _select(image: Image.Image, name: str) -> None:
    with _damage_named(name):
        select_main_picture(image, name)


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        with _without_warnings():
            yield
    except BadInputError:  # a ValueError too
        raise
    except DECODER_ERRORS as error:
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
    """True for modes with more than 8 bits a channel."""
    return image.mode == "F" or image.mode.startswith("I")


def _to_rgb8(image: Image.Image) -> Image.Image:
    image = _apply_profile(image)
    if image.mode == "RGB":
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _apply_profile(image: Image.Image) -> Image.Image:
    """Convert CMYK and wide-gamut RGB to sRGB where a profile says how; sRGB itself is left untouched."""
    profile_bytes = image.info.get("icc_profile")
    if not profile_bytes or image.mode not in ("RGB", "CMYK"):
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # A broken profile leaves the plain reading of the numbers, which is what viewers fall back to.
        return image
    return converted if converted is not None else image


def _to_float(picture: Image.Image | np.ndarray, source: ImageSource) -> np.ndarray:
    name = describe(source)
    if isinstance(picture, Image.Image):
        picture = np.asarray(picture)[:, :, None] if _is_deep(picture) else np.asarray(_to_rgb8(picture))
    values = _scale_to_unit(picture, name)
    channels = values.shape[2]
    if channels in (2, 4):
        alpha = values[:, :, -1:]
        values = values[:, :, :-1] * alpha + (1 - alpha)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def _scale_to_unit(values: np.ndarray, name: str) -> np.ndarray:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # some TIFFs are big-endian
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if values.dtype == np.uint8:
        return np.divide(values, 255, dtype=np.float32)
    if values.dtype == np.uint16:
        return np.divide(values, 65535, dtype=np.float32)
    if values.dtype == np.int32:  # how Pillow hands over some 16-bit files, PGM among them
        _check_range(values, 65535, "whole numbers wider than 16 bits; save it with 8 or 16 bits a channel", name)
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
        return " (pip install pillow-heif lets HEIC be read, or export the photo as JPEG)"
    if suffix == ".jxl":
        return " (export the JPEG XL photo as JPEG or PNG)"
    if suffix in RAW_SUFFIXES:
        return f" ({DEVELOP})"
    return ""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


# Strong PNG compression takes longer than all the rest and saves a tenth.
_PNG_LEVEL = 1


def save_picture(picture: Image.Image, path: Path) -> None:
    """Save a picture in the format of its suffix; PNGs quickly rather than small."""
    options: dict[str, Any] = {"compress_level": _PNG_LEVEL} if path.suffix.lower() == ".png" else {"quality": 95}
    picture.save(path, **options)

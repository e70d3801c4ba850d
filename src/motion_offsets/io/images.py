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

import os
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, ImageOps

from ..errors import BadInputError
from .colour_profiles import SRGB, Colours, array_to_srgb, code_points, colours_of, picture_to_srgb
from .deep_pictures import DeepPicture, read_deep
from .embedded_profiles import embedded_profile
from .main_picture import select_main_picture
from .photo_sources import (
    DECODER_ERRORS,
    MAX_PIXELS,
    EncodedPhoto,
    ImageSource,
    check_size,
    damage_named,
    describe,
    open_photo,
)
from .unit_values import channels_last, deep_values, scale_to_unit

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
        check_size(image.width, image.height, max_pixels, describe(source))
        return image.size


@dataclass(frozen=True)
class _Decoded:
    """An upright PIL image in its own mode, ``(H, W, C)`` array in its own dtype or deep picture, and its colours."""

    picture: Image.Image | np.ndarray | DeepPicture
    colours: Colours = field(default_factory=Colours)


def _read(source: ImageSource, max_pixels: int) -> _Decoded:
    if isinstance(source, (np.ndarray, torch.Tensor)):
        array = channels_last(source)
        check_size(array.shape[1], array.shape[0], max_pixels, describe(source))
        return _Decoded(array)
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, describe(source))
    if isinstance(source, (str, os.PathLike, EncodedPhoto)):
        with open_photo(source, max_pixels) as image:
            return _decode(image, max_pixels, describe(source))
    raise BadInputError(
        f"{describe(source)}: not a picture; give a path, a PIL image, a NumPy array or a torch tensor"
    )


def _decode(image: Image.Image, max_pixels: int, name: str) -> _Decoded:
    _select(image, name)
    check_size(image.width, image.height, max_pixels, name)
    with damage_named(name):
        codes, icc = code_points(image), embedded_profile(image)
        deep = read_deep(image)
        colours = colours_of(image, codes, icc, name)
        if deep is not None:
            return _Decoded(deep, colours)
        image.load()
        negative = _is_deep(image) and _is_white_zero(image)
        picture = _upright(image)
        if negative:
            return _Decoded(DeepPicture(np.asarray(picture)[:, :, None], 0, negative=True), colours)
        return _Decoded(picture, colours)


def _select(image: Image.Image, name: str) -> None:
    with damage_named(name):
        select_main_picture(image, name)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DECODER_ERRORS:
        # Unreadable metadata says nothing of the orientation; the picture itself is intact.
        return image.copy()


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
            return scale_to_unit(np.asarray(_to_rgb8(picture, decoded.colours)), name)
        picture = np.asarray(picture)[:, :, None]
    if isinstance(picture, np.ndarray):
        values = scale_to_unit(picture, name)
        alpha = values[:, :, -1:] if values.shape[2] in (2, 4) else None
        values = values if alpha is None else values[:, :, :-1]
    else:
        values, alpha = deep_values(picture, name), picture.alpha
    values = array_to_srgb(values, decoded.colours)
    return values if alpha is None else values * alpha + (1 - alpha)

"""What a photo tells beside its pixels, for the pictures that are made from it: date, camera, place, resolution."""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..errors import BadInputError
from .photo_sources import MAX_PIXELS, EncodedPhoto, open_photo, without_warnings

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_FOCAL_LENGTH_35MM = 0xA405
# Description, make, model, software, date, artist, copyright. What says how the file stores its pixels is not the
# picture's any more, and neither is its orientation.
_KEPT = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
# Makers' notes point into the file that they were in; sizes and colour space are those of the new picture.
_MAKER_NOTE, _COLOR_SPACE, _WIDTH, _HEIGHT, _INTEROP, _GAMMA = 0x927C, 0xA001, 0xA002, 0xA003, 0xA005, 0xA500
_SRGB = 1
_UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class PhotoMetadata:
    """EXIF as bytes, without and with the place, pixels per inch across and down, and the focal length in millimetres
    of the 35 mm format; empty where nothing is told."""

    exif_without_location: bytes = b""
    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    focal_length_35mm: float | None = None

    def options(self, keep_location: bool = True) -> dict[str, Any]:
        """What ``PIL.Image.Image.save`` takes."""
        exif = self.exif if keep_location else self.exif_without_location
        return ({"exif": exif} if exif else {}) | ({"dpi": self.dpi} if self.dpi else {})


NO_METADATA = PhotoMetadata()


def read_metadata(photo: str | os.PathLike[str] | EncodedPhoto) -> PhotoMetadata:
    """The metadata of a photo; none where they, or the photo, cannot be read.

    Only the head of the file is read. A PNG's EXIF is found if it comes before the pixels, as it does if Pillow or
    libpng wrote it.
    """
    try:
        with without_warnings(), open_photo(photo, MAX_PIXELS) as image:
            dpi = _plausible(image.info.get("dpi"))
            if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to look further on
                return PhotoMetadata(dpi=dpi)
            exif = image.getexif()
            return PhotoMetadata(_kept(exif, False), _kept(exif, True), dpi, _focal_length(exif))
    except (BadInputError, struct.error, *_UNREADABLE):
        return NO_METADATA


def _kept(exif: Image.Exif, location: bool) -> bytes:
    made = Image.Exif()
    for tag in _KEPT:
        if tag in exif:
            made[tag] = exif[tag]
    details = dict(exif.get_ifd(_EXIF_IFD))
    for tag in (_MAKER_NOTE, _WIDTH, _HEIGHT, _INTEROP, _GAMMA):
        details.pop(tag, None)
    if details:
        made[_EXIF_IFD] = {**details, _COLOR_SPACE: _SRGB}
    gps = dict(exif.get_ifd(_GPS_IFD)) if location else {}
    if gps:
        made[_GPS_IFD] = gps
    return made.tobytes() if len(made) else b""


def _focal_length(exif: Image.Exif) -> float | None:
    """Of the 35 mm format; 0 says that it is not known."""
    try:
        told = float(exif.get_ifd(_EXIF_IFD).get(_FOCAL_LENGTH_35MM, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return told if math.isfinite(told) and 1 <= told <= 1e4 else None


def _plausible(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(value) and 1 <= value <= 1e5 for value in (across, down)) else None

"""What colours a picture's numbers stand for, and how they become sRGB.

A file tells it by an ICC profile, by code points (cICP in PNG and ICC, nclx in AVIF and HEIF), by primaries and gamma
(PNG's cHRM and gAMA, the tags of TIFF and EXIF), or by EXIF's names for Adobe RGB. The first of these that a file has
counts, in this order; PNG's sRGB chunk comes before its gAMA. A file that tells nothing is sRGB.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..errors import BadInputError
from ..exposure.srgb import linear_to_srgb, srgb_to_linear
from .embedded_profiles import boxes

try:
    import imagecodecs
except ImportError:  # remote code of the Hub; deep pictures with an ICC profile are then converted at 8 bits
    imagecodecs = None  # type: ignore[assignment]

# White, red, green and blue in CIE xy.
_D65 = (0.3127, 0.3290)
_SRGB = (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
# By the code points of ITU-T H.273, which cICP and nclx share.
_PRIMARIES = {
    4: (0.310, 0.316, 0.670, 0.330, 0.210, 0.710, 0.140, 0.080),
    5: (*_D65, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_HDR = {16: "PQ", 18: "HLG"}

_ADOBE_RGB = (*_D65, 0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
_ADOBE_GAMMA = 563 / 256

_EXIF_IFD, _INTEROP_IFD = 0x8769, 0xA005
_WHITE_POINT, _PRIMARY_CHROMATICITIES, _COLOR_SPACE, _GAMMA = 0x013E, 0x013F, 0xA001, 0xA500
_SEARCHED = 1 << 20  # bytes of a file that may come before what tells its colours

# A step of the eighth bit is what rounding alone may change.
_ONE_LEVEL = 1
_MAX_CHANGE_OF_SRGB = 0.005


@dataclass(frozen=True)
class ColourSpace:
    """Primaries as eight CIE xy values (white, red, green, blue), and the exponent of decoding; 0 for sRGB's curve."""

    primaries: tuple[float, ...] = _SRGB
    gamma: float = 0.0

    @property
    def is_srgb(self) -> bool:
        """Whether it is sRGB but for what cannot be seen; 2.2 is how PNG writes sRGB's curve as a gamma."""
        same = max(abs(one - other) for one, other in zip(self.primaries, _SRGB, strict=True)) < _MAX_CHANGE_OF_SRGB
        return same and (self.gamma == 0 or abs(self.gamma - 2.2) < 0.03)


SRGB = ColourSpace()


@dataclass(frozen=True)
class Colours:
    """What a picture tells of its colours: an ICC profile, or else a colour space."""

    icc: bytes | None = None
    space: ColourSpace = SRGB


def colours_of(image: Image.Image, codes: tuple[int, int] | None, icc: bytes | None, name: str) -> Colours:
    """What an opened picture tells of its colours.

    Args:
        image: as Pillow opened it, or made from such a one.
        codes: what :func:`code_points` found.
        icc: what :func:`~motion_offsets.io.embedded_profiles.embedded_profile` found.
        name: what errors call it.

    Raises:
        BadInputError: it is an HDR picture (PQ or HLG).
    """
    for primaries_and_transfer in (codes, _cicp_of_profile(icc) if icc else None):
        if primaries_and_transfer is not None and primaries_and_transfer[1] in _HDR:
            raise BadInputError(
                f"{name}: is an HDR picture ({_HDR[primaries_and_transfer[1]]}); save it as an ordinary (SDR) photo, "
                "JPEG or PNG, first"
            )
    png = image.format == "PNG" and codes is not None  # where cICP comes before iCCP
    if icc and not png:
        return Colours(icc)
    if codes is not None:
        primaries = _PRIMARIES.get(codes[0], _SRGB)
        return Colours(None, ColourSpace(primaries, _GAMMAS.get(codes[1], 0.0)))
    return Colours(None, _space_by_chunks(image.info) or _space_by_exif(image) or SRGB)


def code_points(image: Image.Image) -> tuple[int, int] | None:
    """(primaries, transfer) of a PNG's cICP chunk or of an AVIF's or HEIF's nclx box.

    Pillow does not give them: the file is looked into, which works until the picture has been decoded.
    """
    profile = image.info.get("nclx_profile")  # pillow-heif's
    if isinstance(profile, dict):
        return int(profile["color_primaries"]), int(profile["transfer_characteristics"])
    if image.format not in ("PNG", "AVIF", "HEIF"):
        return None
    start = _start_of_file(image)
    found = _png_chunk(start, b"cICP") if image.format == "PNG" else _nclx(start)
    return None if found is None or len(found) < 2 else (found[0], found[1])


def _start_of_file(image: Image.Image) -> bytes:
    file = getattr(image, "fp", None)
    if file is None or getattr(file, "closed", False):
        return b""
    position = file.tell()
    file.seek(0)
    start = file.read(_SEARCHED)
    file.seek(position)
    return start


def _png_chunk(start: bytes, wanted: bytes) -> bytes | None:
    position = 8
    while position + 8 <= len(start):
        length, kind = struct.unpack_from(">I4s", start, position)
        if kind == wanted:
            return start[position + 8 : position + 8 + length]
        if kind == b"IDAT":
            return None
        position += 12 + length
    return None


def _nclx(start: bytes) -> bytes | None:
    """The code points, a byte each, of the first nclx box among the properties of a file's pictures."""
    inside, path = (0, len(start)), (b"meta", b"iprp", b"ipco", b"colr")
    for kind in path:
        found = [box for box in boxes(start, *inside) if box[0] == kind]
        if kind == b"colr":
            found = [box for box in found if start[box[1] : box[1] + 4] == b"nclx"]
        if not found:
            return None
        _, begin, end = found[0]
        inside = (begin + 4 if kind == b"meta" else begin, end)
    primaries, transfer = struct.unpack_from(">HH", start[inside[0] : inside[1]].ljust(8, b"\0"), 4)
    return bytes((primaries & 255, transfer & 255))


def _cicp_of_profile(icc: bytes) -> tuple[int, int] | None:
    """The code points in an ICC profile of version 4.4, which HDR pictures have."""
    if len(icc) < 132:
        return None
    for number in range(min(struct.unpack_from(">I", icc, 128)[0], 200)):
        entry = icc[132 + 12 * number : 144 + 12 * number]
        if len(entry) == 12 and entry[:4] == b"cicp":
            start = struct.unpack(">I", entry[4:8])[0]
            codes = icc[start + 8 : start + 10]
            return (codes[0], codes[1]) if len(codes) == 2 else None
    return None


def _space_by_chunks(info: dict[Any, Any]) -> ColourSpace | None:
    """By PNG's sRGB, gAMA and cHRM chunks, as Pillow gives them."""
    if "srgb" in info:
        return SRGB
    gamma: Any = info.get("gamma")
    primaries = _plausible(info.get("chromaticity"))
    if gamma is None and primaries is None:
        return None
    plausible_gamma = isinstance(gamma, int | float) and 0.1 <= gamma <= 10
    return ColourSpace(primaries or _SRGB, 1 / gamma if plausible_gamma else 0.0)


def _space_by_exif(image: Image.Image) -> ColourSpace | None:
    """By EXIF's names for Adobe RGB (2, in its own numbering, and R03, DCF's), or by the tags of primaries."""
    try:
        exif = image.getexif()
        details = exif.get_ifd(_EXIF_IFD)
        colour_space = details.get(_COLOR_SPACE)
        # Pillow takes the pointer for granted.
        interoperability = exif.get_ifd(_INTEROP_IFD) if _INTEROP_IFD in details else {}
        white, others = exif.get(_WHITE_POINT), exif.get(_PRIMARY_CHROMATICITIES)
        told = _plausible((*white, *others)) if white and others else None
        gamma = float(details.get(_GAMMA) or 0)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, ZeroDivisionError, struct.error):
        return None  # unreadable metadata tells nothing
    index = interoperability.get(1)
    index = index.decode("latin-1") if isinstance(index, bytes) else str(index or "")
    if colour_space == 2 or (colour_space != 1 and index.startswith("R03")):
        return ColourSpace(_ADOBE_RGB, _ADOBE_GAMMA)
    if told is None or colour_space == 1:
        return None
    return ColourSpace(told, gamma if 0.1 <= gamma <= 10 else 0.0)


def _plausible(values: Any) -> tuple[float, ...] | None:
    """Eight CIE xy values, if they are ones that span a triangle around their white."""
    try:
        points = tuple(float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if len(points) != 8 or not all(0 <= value <= 1 for value in points) or min(points[1::2]) <= 0:
        return None
    _, shares = _shares(points)
    return points if shares is not None and min(shares) > 0 else None


def _shares(primaries: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """XYZ of the four points at luminance 1, a column each, and how much of each primary white takes."""
    points = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    try:
        return points, np.linalg.solve(points[:, 1:], points[:, 0])
    except np.linalg.LinAlgError:
        return points, None


def _to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """Matrix from linear RGB to CIE XYZ, white adapted to that of sRGB by Bradford's method."""
    points, shares = _shares(primaries)
    assert shares is not None  # checked where the primaries were read
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    wanted, _ = _shares(_SRGB)
    ratio = (cones @ wanted[:, 0]) / (cones @ points[:, 0])
    return np.linalg.inv(cones) @ np.diag(ratio) @ cones @ (points[:, 1:] * shares)


def _decoded(values: np.ndarray, gamma: float) -> np.ndarray:
    if gamma:
        return values**gamma
    return srgb_to_linear(values)


def array_to_srgb(values: np.ndarray, colours: Colours) -> np.ndarray:
    """Float32 ``(H, W, 1)`` grey or ``(H, W, 3)`` values in [0, 1] as ``(H, W, 3)`` in sRGB, at full precision."""
    grey = values.shape[2] == 1
    if colours.icc is not None:
        return _by_profile(values, colours.icc)
    if colours.space.is_srgb:
        return np.repeat(values, 3, axis=2) if grey else values
    linear = _decoded(values, colours.space.gamma)
    if grey:  # whatever the primaries, grey is grey
        return np.repeat(linear_to_srgb(linear).astype(np.float32), 3, axis=2)
    matrix = np.linalg.inv(_to_xyz(_SRGB)) @ _to_xyz(colours.space.primaries)
    linear = np.clip(linear @ matrix.T.astype(np.float32), 0, 1)
    return linear_to_srgb(linear).astype(np.float32)


def _by_profile(values: np.ndarray, icc: bytes) -> np.ndarray:
    """A deep picture through its ICC profile; one that does not go with it changes nothing."""
    profile, space = _opened(icc)
    plain = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    if profile is None or space not in ("GRAY", "RGB") or (space == "GRAY" and values.shape[2] != 1):
        return plain
    given = values if space == "GRAY" else plain
    if _changes_nothing(profile, space):
        return plain
    if imagecodecs is None:
        levels = np.rint(given * 255).astype(np.uint8)
        picture = Image.fromarray(levels[:, :, 0] if space == "GRAY" else levels)
        return np.asarray(_through(picture, profile), dtype=np.float32) / 255
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colorspace = "gray" if space == "GRAY" else "rgb"
    given = np.ascontiguousarray(given[:, :, 0] if space == "GRAY" else given, dtype=np.float32)
    try:
        converted = imagecodecs.cms_transform(given, icc, srgb, colorspace=colorspace, outcolorspace="rgb")
    except RuntimeError:  # a broken profile leaves the plain reading of the numbers, as below
        return plain
    return np.clip(converted, 0, 1).astype(np.float32, copy=False)


def picture_to_srgb(picture: Image.Image, colours: Colours) -> Image.Image:
    """A picture of mode L, RGB or CMYK as RGB in sRGB; what is sRGB already is left untouched."""
    if colours.icc is not None:
        return _picture_by_profile(picture, colours.icc)
    rgb = picture.convert("RGB")
    if colours.space.is_srgb or picture.mode == "CMYK":
        return rgb
    values = np.asarray(picture, dtype=np.float32).reshape(picture.height, picture.width, -1) / 255
    return Image.fromarray(np.rint(array_to_srgb(values, colours) * 255).astype(np.uint8), "RGB")


def _picture_by_profile(picture: Image.Image, icc: bytes) -> Image.Image:
    """Through an ICC profile; one that is broken or of another kind of picture leaves the plain reading of the
    numbers, which is what viewers fall back to."""
    profile, space = _opened(icc)
    rgb = picture.convert("RGB")
    if profile is None:
        return rgb
    if space == "RGB" and picture.mode in ("L", "RGB"):
        picture = rgb
    elif (space, picture.mode) not in (("GRAY", "L"), ("CMYK", "CMYK")):
        return rgb
    if space == "GRAY":  # LittleCMS is off by ten levels in the shadows of linear light, unless it works in floats
        ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None]
        table = np.rint(_by_profile(ramp, icc)[0] * 255).astype(np.uint8)
        return Image.fromarray(table[np.asarray(picture)], "RGB")
    try:
        return rgb if _changes_nothing(profile, space) else _through(picture, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return rgb


def _opened(icc: bytes) -> tuple[Any, str]:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return profile, profile.profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None, ""


def _through(picture: Image.Image, profile: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # it is, unless in place
    return converted


def _changes_nothing(profile: Any, space: str) -> bool:
    """Whether a profile is sRGB, whatever it is called: a profile named sRGB may be of linear light."""
    if space == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if space == "GRAY":
        probe = Image.fromarray(levels[None])
    else:
        probe = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, levels.size, 3))
    before = np.asarray(probe.convert("RGB"), dtype=np.int16)
    try:
        after = np.asarray(_through(probe, profile), dtype=np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return True  # it cannot be applied
    return int(np.abs(after - before).max()) <= _ONE_LEVEL

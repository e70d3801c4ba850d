"""Which of a file's pictures is the photo: Pillow opens the first, which may be a preview, a page or a frame.

==========================================  ==================================================================
camera raw (DNG, CR2, NEF, ARW ...)         refused: what can be read is its preview
TIFF                                        its one full picture; reduced ones and masks beside it are passed over
TIFF of several full pages, animations      refused
MPO, HEIF, PSD                              the main picture; a PSD saved without one is refused
ICO, CUR, ICNS                              the largest; they are sizes of one picture
Photo CD                                    refused: Pillow reads a sixth of its width
drawings, videos and scientific data        refused
==========================================  ==================================================================
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageFile

from ..errors import BadInputError

RAW_SUFFIXES = frozenset(
    (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc")
    + (".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw")
    + (".x3f",)
)
DEVELOP = "develop the raw photo to JPEG, PNG or TIFF"

_MAIN_PICTURE_FIRST = ("MPO", "PSD", "HEIF")
_FIRST = {"PSD": 1}  # what Pillow numbers the first picture with, where that is not 0
_DRAWINGS = ("EPS", "WMF")
# TIFF 6.0, TIFF/EP and DNG
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 255, 262, 330, 50706
_REDUCED, _MASK = 1, 4
_SENSOR = (32803, 34892)  # colour filter array, linear raw
_CR2_MARK, _CR2_MARK_AT = b"CR", 8
_PSD_VERSION_INFO = 1057


def select_main_picture(image: Image.Image, name: str) -> int:
    """Move an opened file to its main picture, and return the number of that frame or page.

    A PIL image that was moved to another frame already stays there: somebody chose it.

    Args:
        name: what errors call it; its suffix tells a raw photo.

    Raises:
        BadInputError: the file has no main picture that can be read.
    """
    _check_kind(image, name)
    if image.tell() > _FIRST.get(image.format or "", 0):
        return image.tell()
    frames = getattr(image, "n_frames", 1)
    if image.format == "TIFF":
        return _select_page(image, frames, name)
    if frames > 1 and image.format not in _MAIN_PICTURE_FIRST:
        raise BadInputError(f"{name}: holds {frames} pictures (an animation); give a single still picture")
    return 0


def _check_kind(image: Image.Image, name: str) -> None:
    if image.format in _DRAWINGS:
        # Pillow would start another program, Ghostscript, to draw an EPS.
        raise BadInputError(f"{name}: is a drawing ({image.format}), not a photo; save it as a PNG first")
    if image.format == "MPEG":
        raise BadInputError(f"{name}: is a video, not a photo; give a single still picture")
    if isinstance(image, ImageFile.StubImageFile):
        raise BadInputError(f"{name}: is a {image.format} file, which cannot be read here; save it as a PNG or TIFF")
    if image.format == "PCD":
        raise BadInputError(f"{name}: is a Photo CD, read only in a small version; save it as a PNG or TIFF first")
    if image.format == "PSD" and not _has_composite(image):
        raise BadInputError(
            f"{name}: was saved without its whole picture, layers only; save it as a PNG or TIFF first"
        )


def _has_composite(image: Image.Image) -> bool:
    infos = [data for number, _, data in getattr(image, "resources", ()) if number == _PSD_VERSION_INFO]
    return all(len(info) < 5 or info[4] for info in infos)


def _select_page(image: Image.Image, frames: int, name: str) -> int:
    raw = Path(name).suffix.lower() in RAW_SUFFIXES or _is_raw(image)
    full = []
    for page in range(frames):
        image.seek(page)
        raw = raw or _tag(image, _PHOTOMETRIC) in _SENSOR
        if not _is_secondary(image):
            full.append(page)
    if raw:
        raise BadInputError(f"{name}: is a camera's raw photo, of which only the preview can be read; {DEVELOP}")
    if len(full) > 1:
        raise BadInputError(f"{name}: holds {len(full)} pictures (pages); give a single still picture")
    image.seek(full[0] if full else 0)
    if not full and _tag(image, _SUB_IFDS) is not None:
        raise BadInputError(
            f"{name}: only a reduced version of its picture can be read; save it as a plain TIFF first"
        )
    return image.tell()


def _is_raw(image: Image.Image) -> bool:
    if _tag(image, _DNG_VERSION) is not None:
        return True
    file = getattr(image, "fp", None)
    if file is None:  # loaded already
        return False
    position = file.tell()
    file.seek(_CR2_MARK_AT)
    mark = file.read(len(_CR2_MARK))
    file.seek(position)
    return mark == _CR2_MARK


def _is_secondary(image: Image.Image) -> bool:
    """Whether a page is a reduced version of another, or a mask for it."""
    kind = _tag(image, _NEW_SUBFILE_TYPE)
    if isinstance(kind, int):
        return bool(kind & (_REDUCED | _MASK))
    return _tag(image, _SUBFILE_TYPE) == 2


def _tag(image: Image.Image, number: int) -> object:
    return getattr(image, "tag_v2", {}).get(number)

"""ICC profiles that lie in a file and that Pillow does not look for: those of JPEG 2000 and of BMP."""

from __future__ import annotations

import struct
from typing import IO

from PIL import Image

_HEAD = 1 << 20  # bytes of a JPEG 2000 file that may come before the code stream
_MOST = 1 << 24  # bytes of a profile
_COLR_WITH_PROFILE = (2, 3)  # METH: a restricted profile, any profile
_V5_HEADER, _EMBEDDED = 124, b"DEBM"  # PROFILE_EMBEDDED, written from its last byte


def embedded_profile(image: Image.Image) -> bytes | None:
    """The ICC profile in the file of a picture that has not been decoded yet; ``None`` where there is none.

    Args:
        image: as Pillow opened it; of other formats than JPEG 2000 and BMP, Pillow's own finding is passed on.
    """
    found = image.info.get("icc_profile") or None
    file = getattr(image, "fp", None)
    if found or file is None or getattr(file, "closed", False) or image.format not in ("JPEG2000", "BMP"):
        return found
    position = file.tell()
    try:
        return _of_jpeg_2000(file) if image.format == "JPEG2000" else _of_bmp(file)
    finally:
        file.seek(position)


def _of_jpeg_2000(file: IO[bytes]) -> bytes | None:
    file.seek(0)
    head = file.read(_HEAD)
    for kind, begin, end in boxes(head, 0, len(head)):
        if kind == b"jp2h":
            for inner, first, last in boxes(head, begin, end):
                if inner == b"colr" and head[first] in _COLR_WITH_PROFILE:
                    return head[first + 3 : last]
    return None


def _of_bmp(file: IO[bytes]) -> bytes | None:
    file.seek(14)
    header = file.read(_V5_HEADER)
    if len(header) < _V5_HEADER or header[56:60] != _EMBEDDED:
        return None
    offset, size = struct.unpack_from("<II", header, 112)
    file.seek(14 + offset)
    return file.read(min(size, _MOST)) or None


def boxes(data: bytes, position: int, end: int) -> list[tuple[bytes, int, int]]:
    """Kind, begin and end of what the boxes of ISO's base media format hold, in ``data[position:end]``."""
    found = []
    while position + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if size == 1 and position + 16 <= end:
            size, header = struct.unpack_from(">Q", data, position + 8)[0], 16
        size = end - position if size == 0 else size
        if size < header:
            break
        found.append((kind, position + header, min(position + size, end)))
        position += size
    return found

"""Pictures below a folder or inside a ZIP file, listed, checked and read by their paths relative to it."""

from __future__ import annotations

import functools
import io
import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ...errors import BadInputError
from ...io.main_picture import select_main_picture
from ...io.photo_files import PHOTO_SUFFIXES
from ...io.photo_sources import DECODER_ERRORS

# What `datasets` decodes, which knows Pillow alone; no animations.
PICTURE_SUFFIXES = tuple(suffix for suffix in PHOTO_SUFFIXES if suffix not in (".heic", ".heif", ".gif"))
MOST_FAULTS_SHOWN = 5
_ORIENTATION = 0x0112
_TURNED_BY_QUARTERS = (5, 6, 7, 8)


@dataclass(frozen=True)
class FileTree:
    """A folder or a ZIP file with pictures.

    Args:
        root: the folder or the ZIP file.
    """

    root: Path

    @property
    def zipped(self) -> bool:
        return self.root.is_file()

    def names(self) -> list[str]:
        """All visible files, by their paths relative to the root with ``/`` between folders, sorted."""
        found = _zip_names(self.root) if self.zipped else _folder_names(self.root)
        return sorted(name for name in found if not any(part[:1] in (".", "") for part in name.split("/")))

    def pictures(self) -> list[str]:
        """Those of the files that are pictures by their suffix."""
        return [name for name in self.names() if is_picture(name)]

    def stamp(self, name: str) -> list[int]:
        """Numbers that change when the file does: size and time of a file, size and checksum in a ZIP."""
        if self.zipped:
            entry = _open_zip(self.root).getinfo(name)
            return [entry.file_size, entry.CRC]
        status = (self.root / name).stat()
        return [status.st_size, status.st_mtime_ns]

    def read(self, name: str) -> bytes:
        """The bytes of a file; :class:`BadInputError` names one that cannot be read."""
        try:
            return _open_zip(self.root).read(name) if self.zipped else (self.root / name).read_bytes()
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise BadInputError(f"{name} cannot be read ({reason})") from None

    def reference(self, name: str, data: bytes) -> dict[str, Any]:
        """What an ``Image`` feature takes: the path of a file, the bytes of what lies in a ZIP file."""
        if self.zipped:
            return {"path": name, "bytes": data}
        return {"path": str((self.root / name).absolute()), "bytes": None}


def is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES)


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture as it stands upright, its data checked to the end.

    A PNG's checksums are compared; of a JPEG, an eighth of the size is decoded; everything else is decoded.

    Raises:
        BadInputError: what is wrong with it, to be said after its name.
    """
    if not data:
        raise BadInputError("is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if select_main_picture(image, "it"):  # datasets decodes the first, whatever it is
                raise BadInputError("cannot be read (its photo comes after a preview; save it as a plain TIFF)")
            width, height = image.size
            # Without orientation data in a PNG's head, Pillow would decode all of it to look for some at the end.
            marked = image.format != "PNG" or "exif" in image.info
            if marked and image.getexif().get(_ORIENTATION) in _TURNED_BY_QUARTERS:
                width, height = height, width
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "PNG":
                image.verify()
                return width, height
            image.draft(None, (image.width // 8, image.height // 8))
            image.load()
    except BadInputError as error:  # a ValueError too
        raise BadInputError(str(error).removeprefix("it: ")) from None
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()).partition(" <_io")[0]
        raise BadInputError(f"cannot be read ({reason or type(error).__name__})") from None
    return width, height


def listed(faults: Iterable[str], count: int) -> str:
    """The first five faults in one line, and how many there are."""
    shown = "; ".join(list(faults)[:MOST_FAULTS_SHOWN])
    return shown if count <= MOST_FAULTS_SHOWN else f"{shown}; ... ({count} in all)"


def _folder_names(root: Path) -> list[str]:
    found = []
    tree = os.path.realpath(root)
    seen = {tree}

    def leads_on(path: str) -> bool:
        """Whether a folder is entered: not by a link to one of the same tree, and none twice, so that no loop is."""
        target = os.path.realpath(path)
        if target in seen or (os.path.islink(path) and os.path.commonpath([tree, target]) == tree):
            return False
        seen.add(target)
        return True

    for folder, folders, files in os.walk(root, onerror=_refuse_folder, followlinks=True):
        visible = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in visible if leads_on(os.path.join(folder, name))]
        inside = Path(folder).relative_to(root)
        found += [(inside / name).as_posix() for name in files]
    return found


def _refuse_folder(error: OSError) -> None:
    raise BadInputError(f"{error.filename}: the folder cannot be read ({error.strerror}); check its permissions")


def _zip_names(root: Path) -> list[str]:
    names = [entry.filename for entry in _open_zip(root).infolist() if not entry.is_dir()]
    return [name for name in names if not name.startswith("__MACOSX/")]


def _open_zip(root: Path) -> zipfile.ZipFile:
    # Processes that came out of a fork would move each other's position in one open file.
    return _open_zip_once(root, root.stat().st_mtime_ns, os.getpid())


@functools.lru_cache(maxsize=4)
def _open_zip_once(root: Path, changed: int, process: int) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(root)
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInputError(f"{root}: not a ZIP file that can be read ({error}); give an intact one") from None

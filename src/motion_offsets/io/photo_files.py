"""Photos by name: which files and folders stand for, and photos kept in memory as far as there is room."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInputError
from .path_names import as_path

if TYPE_CHECKING:
    import numpy as np

# Suffixes looked for in a folder; a file that is named outright may have any.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".jp2", ".avif", ".gif"),
    *((".heic", ".heif") if find_spec("pillow_heif") else ()),
)
# Of pictures that are not read: camera makers' raw files, and formats that need more than Pillow.
OTHER_PICTURES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
    *(".heic", ".heif", ".hif", ".jxl", ".psd", ".exr", ".hdr", ".svg"),
)
# Most decoded photos that a process keeps, bytes.
KEPT_BYTES = 2_000_000_000


def list_photos(folders: str | Path | Sequence[str | Path]) -> list[Path]:
    """All photos directly inside one or several folders, sorted by name within each.

    Raises:
        BadInputError: a folder does not exist or holds no photo.
    """
    found: list[Path] = []
    for folder in [folders] if isinstance(folders, str | Path) else folders:
        if not Path(folder).is_dir():
            raise BadInputError(f"{folder}: no such folder; give a folder of sharp photos (JPEG or PNG)")
        photos = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
        if not photos:
            raise BadInputError(f"{folder}: no photos in it; give a folder of sharp photos (JPEG or PNG)")
        found += photos
    return found


def seed_of_name(photo: str | Path) -> int:
    """The seed that a photo's name stands for, without its folder and suffix: the same in every run, anywhere."""
    return int.from_bytes(hashlib.sha256(os.fsencode(Path(photo).stem)).digest()[:16], "big")


def read_photo(path: str | Path) -> np.ndarray:
    """A photo as ``(H, W, 3)`` uint8 RGB, upright; :class:`BadInputError` names one that cannot be read."""
    import numpy as np

    from .images import load_image

    return np.asarray(load_image(path))


class PhotoStore(Sequence["np.ndarray"]):
    """The photos of some folders by number.

    Each is read once at the start, so that a bad file is named before training begins rather than hours into it. What
    fits into ``kept_bytes`` stays decoded; the others are read again each time.

    Raises:
        BadInputError: a folder does not exist or holds no photo, or a photo cannot be read.
    """

    def __init__(self, folders: str | Path | Sequence[str | Path], kept_bytes: int = KEPT_BYTES):
        self.paths = list_photos(folders)
        self._kept: dict[int, np.ndarray] = {}
        room = kept_bytes
        for index, path in enumerate(self.paths):
            photo = read_photo(path)
            if photo.nbytes <= room:
                self._kept[index] = photo
                room -= photo.nbytes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        return self._kept[index] if index in self._kept else read_photo(self.paths[index])


def find_photos(arguments: Sequence[str]) -> list[Path]:
    """The photos that files, folders and patterns stand for, in order and each once.

    A file that does not exist stays in the list: reading it says what is wrong, and the others go on.

    Raises:
        BadInputError: a folder or a pattern gives no photo.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(argument):
            found.setdefault(real_path(path), path)
    return list(found.values())


def passed_over(arguments: Sequence[str]) -> dict[Path, list[str]]:
    """By folder among the arguments, the names of pictures in it that :func:`find_photos` leaves out."""
    found = {}
    for folder in (as_path(argument) for argument in arguments):
        if folder.is_dir():
            suffixes = {entry.name: entry.suffix.lower() for entry in sorted(folder.iterdir())}
            others = [
                name for name, suffix in suffixes.items() if suffix in OTHER_PICTURES and suffix not in PHOTO_SUFFIXES
            ]
            if others:
                found[folder] = others
    return found


def real_path(path: Path) -> Path:
    """A path without links; unlike ``Path.resolve``, a loop of links is not an error here, only where it is read."""
    return Path(os.path.realpath(path))


def _expand(argument: str) -> list[Path]:
    path = as_path(argument)
    if path.is_dir():
        return _photos_in(path)
    if os.path.lexists(path) or not glob.has_magic(argument):
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    photos = [match for match in matches if not match.is_dir()]
    if not photos:
        raise BadInputError(f"{argument}: no file matches this pattern; check the folder and the suffix")
    return photos


def _photos_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BadInputError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions") from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    photos = [entry for entry in visible if entry.suffix.lower() in PHOTO_SUFFIXES and not entry.is_dir()]
    if not photos:
        raise BadInputError(f"{folder}: the folder holds no photo; give one with JPEG, PNG, WebP or TIFF files")
    return photos


def result_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's result: its stem, with ``-2``, ``-3`` ... where photos share one."""
    # A photo called "..png" has the stem ".", which would be the output folder itself.
    originals = [photo.stem if photo.stem.strip(".") else "photo" for photo in photos]
    stems = [stem.casefold() for stem in originals]
    taken = set(stems)  # so that x-2 is not given to a second x when there is an x-2.jpg
    seen: dict[str, int] = {}
    names = []
    for original, stem in zip(originals, stems, strict=True):
        count = seen.get(stem, 0) + 1
        while count > 1 and f"{stem}-{count}" in taken:
            count += 1
        seen[stem] = count
        name = original if count == 1 else f"{original}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return names

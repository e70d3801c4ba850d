"""Sharp photos from folders, read as everywhere else, and kept in memory as far as there is room."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import BadInputError
from ..images import load_image

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
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
    return int.from_bytes(hashlib.sha256(Path(photo).stem.encode()).digest()[:16], "big")


def read_photo(path: str | Path) -> np.ndarray:
    """A photo as ``(H, W, 3)`` uint8 RGB, upright; :class:`BadInputError` names one that cannot be read."""
    return np.asarray(load_image(path))


class PhotoStore(Sequence[np.ndarray]):
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

"""Sharp photos from folders, decoded once and kept in memory as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import BadInputError

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


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


def read_photo(path: str | Path) -> np.ndarray:
    """A photo as ``(H, W, 3)`` uint8 RGB."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise BadInputError(f"{path}: not a readable image ({error}); give a JPEG or PNG file") from error

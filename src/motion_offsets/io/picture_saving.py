"""Pictures to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

# Strong PNG compression takes longer than all the rest and saves a tenth.
_PNG_LEVEL = 1


def save_picture(picture: Image.Image, path: Path, **metadata: Any) -> None:
    """Save a picture in the format of its suffix; PNGs quickly rather than small.

    Args:
        picture: what is saved.
        path: where.
        metadata: ``exif`` and ``dpi``, as :class:`~motion_offsets.io.photo_metadata.PhotoMetadata` gives them.
    """
    options: dict[str, Any] = {"compress_level": _PNG_LEVEL} if path.suffix.lower() == ".png" else {"quality": 95}
    picture.save(path, **options, **metadata)

"""What the benchmarks share: their photos, what the photos' names decide, checksums and means."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from .cli_arguments import find_photos
from .errors import BadInputError

Progress = Callable[[int, int], None]


def photo_generator(name: str) -> np.random.Generator:
    """The random generator that a photo's name seeds, without its folder and suffix."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(Path(name).stem.encode()).digest()[:16], "big"))


def photos_of(images: str | os.PathLike[str], limit: int | None) -> list[Path]:
    """The photos of a folder by name, the first ``limit`` of them; :class:`BadInputError` if there are none."""
    if limit is not None and limit < 1:
        raise BadInputError(f"--limit is {limit}; give the number of photos to use, at least 1")
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise BadInputError(f"{images}: is not a folder; give a folder of sharp photos")
    return sorted(find_photos([str(folder)]), key=lambda photo: photo.name)[:limit]


class Checksum:
    """SHA-256 of images, in their order, as eight-bit values; it tells whether two runs saw the same data."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, images: Tensor) -> None:
        """``(B, 3, H, W)`` in [0, 1]."""
        levels = (images.detach().cpu().clamp(0, 1) * 255).round().byte()
        self._hash.update(np.asarray(levels.shape, dtype=np.int64).tobytes() + levels.numpy().tobytes())

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


def means(scores: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure; ``None`` where there is none, as without a deblurrer or for a blank photo's PSNR."""
    found: dict[str, float | None] = {}
    for name in scores[0]:
        values = [math.nan if score[name] is None else score[name] for score in scores]
        mean = float(np.mean(np.array(values, dtype=np.float64)))
        found[name] = mean if math.isfinite(mean) else None
    return found

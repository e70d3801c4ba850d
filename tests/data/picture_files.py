"""Pictures and archives of them, written as people have them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def zipped(folder: Path, top: str = "") -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path(top) / path.relative_to(folder))
        archive.writestr("__MACOSX/train/blur/._1.png", b"what a Mac adds")
    return target

"""Objects to move about: regions of photos that a person outlined, and pictures with transparency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ...errors import BadInputError
from ...io.images import load_image
from ...io.photo_files import list_photos, read_photo

# An object covers at least and at most this share of the photo that it comes from.
AREAS = (0.015, 0.35)
# Standard deviation of the softening of an outline, pixels.
SOFTNESS = 0.8


@dataclass(frozen=True)
class Cutout:
    """An object with soft edges: ``colour (h, w, 3)`` uint8 and ``alpha (h, w)`` float32 in [0, 1]."""

    colour: np.ndarray
    alpha: np.ndarray


def soft_edges(mask: np.ndarray) -> np.ndarray:
    """A mask as float32 alpha: drawn in by a pixel, so that no rim of the old background stays, and softened."""
    inner = ndimage.binary_erosion(mask, border_value=0)
    return ndimage.gaussian_filter(inner.astype(np.float32), SOFTNESS, mode="constant")


def outlined_objects(photos: str | Path, label_maps: str | Path) -> list[Cutout]:
    """The regions of photos that lie beside label maps of the same name (PNG, one number per region).

    Regions that touch more than one side of their photo are scenery, and left out.

    Raises:
        BadInputError: no folder, no photo, no label map for any of them, or one of another size than its photo.
    """
    found, maps = [], Path(label_maps)
    if not maps.is_dir():
        raise BadInputError(f"{label_maps}: no such folder; give the folder of PNG label maps of the photos")
    for path in list_photos(photos):
        labels_path = maps / f"{path.stem}.png"
        if labels_path.is_file():
            found += _regions(read_photo(path), _read_labels(labels_path), labels_path)
    if not found:
        raise BadInputError(f"{label_maps}: no label map has the name of a photo in {photos}, with objects in it")
    return found


def transparent_objects(folder: str | Path) -> list[Cutout]:
    """Pictures with transparency (RGBA) from a folder; those that are opaque all over are refused.

    Raises:
        BadInputError: no folder, no picture in it, one that cannot be read or has no transparency.
    """
    found = []
    for path in list_photos(folder):
        load_image(path)  # names one that is damaged
        with Image.open(path) as picture:
            if "A" not in picture.getbands() and "transparency" not in picture.info:
                raise BadInputError(f"{path}: has no transparency; give pictures with an alpha channel (RGBA PNG)")
            pixels = np.asarray(picture.convert("RGBA"))
        found.append(Cutout(pixels[..., :3], pixels[..., 3].astype(np.float32) / 255))
    return found


def load_objects(folders: Sequence[str | Path], label_maps: Sequence[str | Path] = ()) -> list[Cutout]:
    """Objects of several folders: outlined ones, a folder of label maps a folder of photos, or else transparent ones.

    Raises:
        BadInputError: see the two functions, or the numbers of folders differ.
    """
    if label_maps and len(label_maps) != len(folders):
        raise BadInputError(
            f"there are {len(label_maps)} folders of label maps for {len(folders)} of photos; give one for each"
        )
    if label_maps:
        return [
            cutout for pair in zip(folders, label_maps, strict=True) for cutout in outlined_objects(pair[0], pair[1])
        ]
    return [cutout for folder in folders for cutout in transparent_objects(folder)]


def _read_labels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise BadInputError(f"{path}: cannot be read as a label map; give a PNG with one number per region") from error


def _regions(photo: np.ndarray, labels: np.ndarray, path: Path) -> list[Cutout]:
    if labels.shape != photo.shape[:2]:
        raise BadInputError(
            f"{path}: {'x'.join(map(str, labels.shape[1::-1]))} with {labels.ndim} dimensions; a label map has one "
            f"number for each of the photo's {photo.shape[1]}x{photo.shape[0]} pixels"
        )
    found = []
    areas = np.bincount(labels.ravel()) / labels.size
    boxes = ndimage.find_objects(labels + 1)  # it leaves out label 0
    for number in np.flatnonzero((areas >= AREAS[0]) & (areas <= AREAS[1])):
        rows, columns = boxes[number]
        at_border = [rows.start == 0, columns.start == 0, rows.stop == len(labels), columns.stop == labels.shape[1]]
        if sum(at_border) > 1:
            continue
        mask = labels[rows, columns] == number
        found.append(Cutout(photo[rows, columns], soft_edges(np.pad(mask, 1))[1:-1, 1:-1]))
    return found

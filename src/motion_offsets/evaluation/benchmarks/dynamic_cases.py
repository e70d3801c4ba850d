"""The scenes of ``bsd-dynamic``: what a shaken camera makes of photos with moving objects, and the truth about it.

What is rendered is kept in a cache, so that the next run starts at once.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...data.crops.augmentation import degrade
from ...data.scenes.cutouts import Cutout, load_objects
from ...data.scenes.dynamic_scenes import Scene, Window, render, true_offsets
from ...data.scenes.scene_sampling import SceneRecipe, sample_scene
from ...errors import BadInputError
from ...exposure.trajectories import offsets_at, sample_times
from ...io.atomic import whole_file
from ...io.photo_files import read_photo
from .base import photo_generator, photos_of

VERSION = 1  # of the scenes; another one does not use this one's cache
MARGIN = 24  # pixels of the photo that the camera can turn towards
SMALLEST = 160  # shortest side of a photo, pixels
SAMPLES, FRAMES = 15, 7
FRAME_TIMES = sample_times(FRAMES)
RECIPE = SceneRecipe(lights_share=0.15)
NOISE = (1.0, 0.01, 0.5)  # every image has some noise, half of them are JPEG files
CACHE_VARIABLE = "MOTION_OFFSETS_CACHE"


@dataclass(frozen=True)
class DynamicCase:
    """One scene as a camera sees it, and the truth about it.

    Args:
        blurred: ``(1, 3, H, W)`` in [0, 1], of 8 bits' precision, with noise and JPEG as the case may be.
        sharp: ``(1, 3, H, W)``, the frame at t = 0.
        frames: ``(1, 7, 3, H, W)``, evenly over the exposure.
        offsets: ``(1, 15, 2, H, W)``, the true motion offsets, pixels.
        valid: ``(1, 1, H, W)`` bool, where they are defined all the time.
        depth_effect: mean length in pixels of what depth adds to the offsets at both ends of the exposure.
    """

    blurred: Tensor
    sharp: Tensor
    frames: Tensor
    offsets: Tensor
    valid: Tensor
    depth_effect: float

    @property
    def bend(self) -> float:
        """Median over the valid pixels of how far a path departs from the line between its ends, pixels."""
        path = self.offsets[0]
        chord = path[-1] - path[0]
        away = path - path[:1]
        across = (away[:, 0] * chord[1] - away[:, 1] * chord[0]).abs() / chord.norm(dim=0).clamp(min=1e-6)
        return float(across.amax(0)[self.valid[0, 0]].median()) if self.valid.any() else 0.0

    def offsets_of_frames(self) -> Tensor:
        """``(1, 7, 2, H, W)``, the true offsets at the times of the frames, on straight lines between the samples."""
        return offsets_at(self.offsets.flatten(1, 2), FRAME_TIMES, "zero-constraint")


def dynamic_case(photo: np.ndarray, name: str, objects: Sequence[Cutout], clean: bool = False) -> DynamicCase:
    """The scene that a photo's name decides on.

    Args:
        photo: ``(H, W, 3)`` uint8.
        name: its file name.
        objects: what may move before it.
        clean: whether the blurred picture is without noise and JPEG.

    Raises:
        BadInputError: the photo is too small.
    """
    height, width = photo.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadInputError(
            f"{name}: is {width}x{height} pixels; give photos with sides of at least {SMALLEST} pixels"
        )
    generator = photo_generator(name)
    window = Window(MARGIN, MARGIN, height - 2 * MARGIN, width - 2 * MARGIN)
    scene = sample_scene(photo, objects, window, generator, RECIPE)
    shot = render(scene, window)
    frames = render(scene, window, FRAMES, keep_frames=True).frames
    assert frames is not None
    return DynamicCase(
        blurred=_eight_bits(shot.blurred) if clean else degrade(shot.blurred[0], *NOISE, generator)[None],
        sharp=_eight_bits(shot.sharp),
        frames=_eight_bits(frames),
        offsets=true_offsets(scene, window, sample_times(SAMPLES), shot.layer),
        valid=shot.valid,
        depth_effect=_depth_effect(scene, window, shot.layer, shot.valid),
    )


def _eight_bits(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round() / 255


def _depth_effect(scene: Scene, window: Window, seen: Tensor, valid: Tensor) -> float:
    ends = torch.tensor([-1.0, 1.0])
    deep = true_offsets(scene, window, ends, seen)
    scene.motion.plane = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand_as(scene.motion.plane)
    length = (deep - true_offsets(scene, window, ends, seen)).norm(dim=2).mean(1, keepdim=True)
    return float(length[valid].mean()) if valid.any() else 0.0


class DynamicCases:
    """The cases of a folder's photos, rendered once and kept in a cache.

    Args:
        images: folder of sharp photos.
        objects: folders to cut objects from; by default the photos themselves.
        label_maps: label maps of these, a folder for each.
        limit: evaluate only this number of photos, from the first.
        cache: folder of the cache; by default ``$MOTION_OFFSETS_CACHE`` or ``~/.cache/motion-offsets``.
        clean: whether the blurred pictures are without noise and JPEG.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        objects: Sequence[str | os.PathLike[str]] = (),
        label_maps: Sequence[str | os.PathLike[str]] = (),
        limit: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        clean: bool = False,
    ):
        self.clean = clean
        self.photos = photos_of(images, limit)
        self.objects = load_objects(
            [Path(folder) for folder in objects or [images]], [Path(maps) for maps in label_maps]
        )
        self.cache = Path(cache or os.environ.get(CACHE_VARIABLE) or "~/.cache/motion-offsets").expanduser()
        try:
            (self.cache / "bsd-dynamic").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(
                f"{self.cache}: cannot be made ({error.strerror}); name a folder for the cache in {CACHE_VARIABLE}"
            ) from None
        digest = hashlib.sha256(f"{VERSION} {RECIPE} {None if clean else NOISE} {MARGIN}".encode())
        for cutout in self.objects:
            digest.update(cutout.colour.tobytes() + cutout.alpha.tobytes())
        self._objects_digest = digest.digest()

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[DynamicCase]:
        for photo in self.photos:
            yield self.case(photo)

    def case(self, photo: Path) -> DynamicCase:
        """The case of one photo, from the cache if it is there."""
        key = hashlib.sha256(self._objects_digest + os.fsencode(photo.name) + photo.read_bytes()).hexdigest()[:20]
        kept = self.cache / "bsd-dynamic" / f"{photo.stem}-{key}.npz"
        if kept.is_file():
            try:
                return _read_case(kept)
            except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile):
                kept.unlink()  # damaged: it is made again
        case = dynamic_case(read_photo(photo), photo.name, self.objects, self.clean)
        with whole_file(kept, (".npz",)) as partial:
            _write_case(partial, case)
        return case


def _write_case(path: Path, case: DynamicCase) -> None:
    pictures = {name: (getattr(case, name) * 255).round().byte().numpy() for name in ("blurred", "sharp", "frames")}
    with path.open("wb") as file:
        np.savez(
            file,
            **pictures,
            offsets=case.offsets.numpy(),
            valid=np.packbits(case.valid.numpy()),
            depth_effect=case.depth_effect,
        )


def _read_case(path: Path) -> DynamicCase:
    with np.load(path, allow_pickle=False) as kept:
        pictures = {name: torch.from_numpy(kept[name]).float() / 255 for name in ("blurred", "sharp", "frames")}
        height, width = pictures["sharp"].shape[2:]
        valid = np.unpackbits(kept["valid"], count=height * width).astype(bool).reshape(1, 1, height, width)
        offsets = torch.from_numpy(kept["offsets"])
        return DynamicCase(
            **pictures, offsets=offsets, valid=torch.from_numpy(valid), depth_effect=float(kept["depth_effect"])
        )

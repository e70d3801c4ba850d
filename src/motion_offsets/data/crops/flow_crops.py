"""Training crops with synthetic motion: blurred, sharp with a margin, and the flow between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.utils.data import Dataset

from ...errors import BadInputError
from ...io.photo_files import PhotoStore
from ..scenes.motion_flow import FlowRanges, blur_with_flow, sample_parameters
from .augmentation import defocus, degrade, half_plane, random_crop, textured

# Gong et al. define their motions over whole photos of this size; crops see a random window of one.
SCENE_SIZES = ((321, 481), (481, 321))
# Range of the standard deviation of a defocused crop's blur, pixels.
DEFOCUS = (0.7, 3.0)
MOST_ZOOM = 8.0


@dataclass(frozen=True)
class CropRecipe:
    """What the crops are made of. Shares are probabilities."""

    crop_size: int = 128
    """Side of the blurred crop, pixels."""
    margin: int = 32
    """How much further the sharp crop reaches on every side, pixels."""
    zoom: float = 1.0
    """Largest factor by which photos are enlarged; 1 leaves them as they are. Video frames are softer than photos."""
    enlarge: float = 1.0
    """Largest factor by which finished crops are enlarged, motion and all: longer blur in softer pictures."""
    layered_share: float = 0.0
    """Crops in which several regions each move in their own way."""
    final_layered_share: float | None = None
    """That share at the end of the source; it changes steadily from the one to the other. ``None``: it stays."""
    most_regions: int = 2
    """Largest number of such regions in a crop, at least 2."""
    still_share: float = 0.0
    """Crops without motion; in layered ones, a still first region."""
    layer_still_share: float = 0.15
    """Of the other regions of layered crops, those that stand still, as the background of a moving object does."""
    defocus_share: float = 0.0
    """Crops out of focus: the sharp one too, so that an even blur is not taken for motion."""
    plain_level: float = 0.0
    """Where the sharp image varies less than this within 17 pixels (its standard deviation), motion cannot be seen,
    and standing still is taught: otherwise the half-plane's usual motion would be learned for such places."""
    noise_share: float = 0.0
    """Crops with sensor noise on the blurred image."""
    noise_level: float = 0.02
    """Largest standard deviation of that noise."""
    jpeg_share: float = 0.0
    """Crops whose blurred image went through JPEG of quality 50 to 95."""

    def __post_init__(self) -> None:
        if not 1 <= self.zoom <= MOST_ZOOM:
            raise BadInputError(f"crops zoom is {self.zoom}; it must be a factor from 1 to {MOST_ZOOM:g}")
        if not 1 <= self.enlarge <= MOST_ZOOM:
            raise BadInputError(f"crops enlarge is {self.enlarge}; it must be a factor from 1 to {MOST_ZOOM:g}")


class MotionFlowCrops(Dataset):
    """An endless-looking, reproducible source of crops: item ``i`` depends on the seed and on ``i`` alone.

    Items are dictionaries of float tensors: ``blurred (3, S, S)`` and ``sharp (3, S + 2m, S + 2m)`` in [0, 1]; ``ends
    (2, 2, S, S)``, the offsets at -1 and 1 in pixels, turned into the half-plane ``dx >= 0``; ``known (1, S, S)``, 1
    where these are right; and the number ``gamma``, 1 if encoded values were averaged, 2.2 if it was linear light.
    """

    def __init__(
        self, folders: str | Path | Sequence[str | Path], length: int, recipe: CropRecipe = CropRecipe(), seed: int = 0
    ):
        self.photos = PhotoStore(folders)
        self.length, self.recipe, self.seed = length, recipe, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng((self.seed, index))
        size, margin = self.recipe.crop_size, self.recipe.margin
        photo = self.photos[int(generator.integers(len(self.photos)))]
        crop = random_crop(photo, size + 2 * margin, generator, self.recipe.zoom)
        sharp = torch.from_numpy(crop).permute(2, 0, 1).float() / 255
        # A share of 0 draws nothing, so that recipes without it give the crops they always gave.
        if self.recipe.defocus_share and generator.random() < self.recipe.defocus_share:
            sharp = defocus(sharp, generator.uniform(*DEFOCUS))
        flow = self._flow(generator, index / self.length)
        noise = (self.recipe.noise_share, self.recipe.noise_level, self.recipe.jpeg_share)
        blurred = degrade(blur_with_flow(sharp, flow, (margin, margin)), *noise, generator)
        displacement = torch.from_numpy(flow)
        ends = half_plane(torch.stack([-displacement / 2, displacement / 2]))
        return {
            "blurred": blurred,
            "sharp": sharp,
            "ends": ends * textured(sharp, margin, self.recipe.plain_level),
            "known": torch.ones(1, size, size),
            "gamma": 1.0,
        }

    def _flow(self, generator: np.random.Generator, progress: float) -> np.ndarray:
        recipe = self.recipe
        flow = self._scene_flow(generator)
        last = recipe.layered_share if recipe.final_layered_share is None else recipe.final_layered_share
        if generator.random() >= recipe.layered_share + (last - recipe.layered_share) * progress:
            return flow
        # Many independent motions in a crop say more about direction than one motion repeated at every pixel.
        regions = random_regions(recipe.crop_size, int(generator.integers(2, recipe.most_regions + 1)), generator)
        for region in range(1, int(regions.max()) + 1):
            flow = np.where(regions == region, self._scene_flow(generator, recipe.layer_still_share), flow)
        return flow

    def _scene_flow(self, generator: np.random.Generator, still_share: float | None = None) -> np.ndarray:
        size = self.recipe.crop_size
        if generator.random() < (self.recipe.still_share if still_share is None else still_share):
            return np.zeros((2, size, size), np.float32)
        height, width = SCENE_SIZES[int(generator.integers(2))]
        motion = sample_parameters(height, width, generator, FlowRanges())
        top = int(generator.integers(max(1, height - size)))
        left = int(generator.integers(max(1, width - size)))
        return motion.flow(top, left, size, size)


def random_regions(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """A ``(size, size)`` map of at most ``count`` numbered regions: whichever of as many smooth fields is highest."""
    coarse = generator.standard_normal((count, 6, 6))
    fields = [ndimage.zoom(field, size / 6, order=1)[:size, :size] for field in coarse]
    return np.argmax(np.stack(fields), axis=0)

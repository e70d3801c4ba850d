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

from .motion_flow import FlowRanges, blur_with_flow, sample_parameters
from .photos import PhotoStore

# Gong et al. define their motions over whole photos of this size; crops see a random window of one.
SCENE_SIZES = ((321, 481), (481, 321))
# Range of the standard deviation of a defocused crop's blur, pixels.
DEFOCUS = (0.7, 3.0)


@dataclass(frozen=True)
class CropRecipe:
    """What the crops are made of. Shares are probabilities."""

    crop_size: int = 128
    """Side of the blurred crop, pixels."""
    margin: int = 32
    """How much further the sharp crop reaches on every side, pixels."""
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
    noise_share: float = 0.0
    """Crops with sensor noise on the blurred image."""
    noise_level: float = 0.02
    """Largest standard deviation of that noise."""
    jpeg_share: float = 0.0
    """Crops whose blurred image went through JPEG of quality 50 to 95."""


class MotionFlowCrops(Dataset):
    """An endless-looking, reproducible source of crops: item ``i`` depends on the seed and on ``i`` alone.

    Items are dictionaries of float tensors: ``blurred (3, S, S)``, ``sharp (3, S + 2m, S + 2m)`` in [0, 1] and
    ``flow (2, S, S)`` in whole pixels, turned into the half-plane ``dx >= 0``.
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
        sharp = torch.from_numpy(random_crop(photo, size + 2 * margin, generator)).permute(2, 0, 1).float() / 255
        # A share of 0 draws nothing, so that recipes without it give the crops they always gave.
        if self.recipe.defocus_share and generator.random() < self.recipe.defocus_share:
            sharp = defocus(sharp, generator.uniform(*DEFOCUS))
        flow = self._flow(generator, index / self.length)
        blurred = degrade(blur_with_flow(sharp, flow, (margin, margin)), self.recipe, generator)
        return {"blurred": blurred, "sharp": sharp, "flow": torch.from_numpy(half_plane(flow))}

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


def half_plane(flow: np.ndarray) -> np.ndarray:
    """Turn every vector of a ``(2, H, W)`` flow into the half-plane ``dx > 0``, or ``dx = 0, dy >= 0``."""
    return np.where((flow[0] < 0) | ((flow[0] == 0) & (flow[1] < 0)), -flow, flow)


def random_crop(photo: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A ``(size, size, 3)`` crop, flipped and turned by quarters at random; small photos are mirrored to fit."""
    missing = [max(0, size - side) for side in photo.shape[:2]]
    if any(missing):
        photo = np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    top = int(generator.integers(photo.shape[0] - size + 1))
    left = int(generator.integers(photo.shape[1] - size + 1))
    crop = np.rot90(photo[top : top + size, left : left + size], int(generator.integers(4)))
    return np.ascontiguousarray(crop[:, ::-1] if generator.random() < 0.5 else crop)


def random_regions(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """A ``(size, size)`` map of at most ``count`` numbered regions: whichever of as many smooth fields is highest."""
    coarse = generator.standard_normal((count, 6, 6))
    fields = [ndimage.zoom(field, size / 6, order=1)[:size, :size] for field in coarse]
    return np.argmax(np.stack(fields), axis=0)


def defocus(sharp: torch.Tensor, deviation: float) -> torch.Tensor:
    """A Gaussian blur of ``(3, H, W)``, its standard deviation in pixels."""
    return torch.from_numpy(ndimage.gaussian_filter(sharp.numpy(), (0, deviation, deviation), mode="nearest"))


def degrade(blurred: torch.Tensor, recipe: CropRecipe, generator: np.random.Generator) -> torch.Tensor:
    """Sensor noise, eight bits, JPEG, each with its share."""
    if generator.random() < recipe.noise_share:
        level = generator.uniform(0, recipe.noise_level)
        blurred = blurred + torch.from_numpy(generator.standard_normal(blurred.shape, dtype=np.float32)) * level
    blurred = (blurred.clamp(0, 1) * 255).round()
    if generator.random() < recipe.jpeg_share:
        blurred = _through_jpeg(blurred, int(generator.integers(50, 96)))
    return blurred / 255


def _through_jpeg(levels: torch.Tensor, quality: int) -> torch.Tensor:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(levels.byte().permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).float()

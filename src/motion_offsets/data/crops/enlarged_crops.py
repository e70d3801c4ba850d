"""Training crops enlarged with their motion: what the same shake leaves in a camera of more pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from .flow_crops import CropRecipe

STILL_AS_IT_IS = 0.3  # share of the crops that are not enlarged


class EnlargedCrops(Dataset):
    """The middle of each crop of a source, enlarged to the crop's size by a factor that differs from crop to crop.

    Items are as those of :class:`~motion_offsets.data.crops.flow_crops.MotionFlowCrops`, ``ends`` in pixels of the
    enlarged crop. Item ``i`` depends on the source, the seed and on ``i`` alone.

    Args:
        source: the crops.
        recipe: what they are made of; its ``enlarge`` is the largest factor. All ratios up to it are alike.
        seed: what the factors depend on.
    """

    def __init__(self, source: Dataset, recipe: CropRecipe, seed: int = 0):
        self.source, self.recipe, self.seed = source, recipe, seed

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.source[index]
        generator = np.random.default_rng((self.seed, index, 5))
        if generator.random() < STILL_AS_IT_IS:
            return item
        factor = math.exp(generator.uniform(0, math.log(self.recipe.enlarge)))
        ends = _middle(item["ends"].flatten(0, 1), factor, Image.Resampling.NEAREST)
        return {
            **item,
            "blurred": _middle(item["blurred"], factor, Image.Resampling.BICUBIC).clamp(0, 1),
            "sharp": _middle(item["sharp"], factor, Image.Resampling.BICUBIC).clamp(0, 1),
            # Not interpolated: nothing between two objects moves half as each.
            "ends": factor * ends.unflatten(0, (2, 2)),
            "known": _middle(item["known"], factor, Image.Resampling.NEAREST),
        }


def _middle(maps: Tensor, factor: float, resampling: Image.Resampling) -> Tensor:
    """The middle of ``(C, S, S)``, one over ``factor`` of its sides, at the size of the whole."""
    size = maps.shape[-1]
    start = size * (1 - 1 / factor) / 2
    box = (start, start, size - start, size - start)
    layers = [Image.fromarray(layer.numpy()).resize((size, size), resampling, box=box) for layer in maps]
    return torch.from_numpy(np.stack([np.asarray(layer) for layer in layers]))

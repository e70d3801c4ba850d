"""Training crops of given pairs of blurred and sharp pictures, GoPro's among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset

from ..reading.pairs import load_pairs
from .augmentation import degrade, random_crop
from .flow_crops import CropRecipe

CROPS = CropRecipe()


class PairCrops(Dataset):
    """An endless-looking, reproducible source of crops: item ``i`` depends on the seed and on ``i`` alone.

    Items are as those of :class:`~motion_offsets.data.crops.flow_crops.MotionFlowCrops`. The motion of given pairs is
    not known: ``ends`` and ``known`` are 0. ``gamma`` is 1, as for GoPro's ``blur`` pictures, which the paper uses.

    Args:
        sources: one or several of what :func:`~motion_offsets.data.reading.pairs.load_pairs` takes.
        length: number of items.
        recipe: size, margin and degradation of the crops; its shares of motions mean nothing here.
        seed: what everything depends on.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        BadInputError: a source or its split does not exist, or its pictures are no pairs.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        length: int,
        recipe: CropRecipe = CROPS,
        seed: int = 0,
        split: str = "train",
    ):
        listed = [sources] if isinstance(sources, str | os.PathLike) else sources
        self.pairs: ConcatDataset = ConcatDataset([load_pairs(source, split) for source in listed])
        self.length, self.recipe, self.seed = length, recipe, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng((self.seed, index, 3))
        size, margin = self.recipe.crop_size, self.recipe.margin
        pair = self.pairs[int(generator.integers(len(self.pairs)))]
        # Cropped as one picture of six channels, so that both are turned and mirrored alike.
        both = np.concatenate([np.asarray(pair[name]) for name in ("blurred", "sharp")], axis=2)
        crop = torch.from_numpy(random_crop(both, size + 2 * margin, generator)).permute(2, 0, 1).float() / 255
        blurred = crop[:3, margin : margin + size, margin : margin + size]
        noise = (self.recipe.noise_share, self.recipe.noise_level, self.recipe.jpeg_share)
        return {
            "blurred": degrade(blurred, *noise, generator).contiguous(),
            "sharp": crop[3:].contiguous(),
            "ends": torch.zeros(2, 2, size, size),
            "known": torch.zeros(1, size, size),
            "gamma": 1.0,
        }

"""Training crops of dynamic scenes, and mixtures of sources of crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ...errors import BadInputError
from ...io.photo_files import PhotoStore
from ..scenes.cutouts import load_objects
from ..scenes.dynamic_scenes import GAMMA, Window, render, true_offsets
from ..scenes.scene_sampling import SceneRecipe, sample_scene
from .augmentation import degrade, half_plane, jitter, random_crop, random_tone, textured
from .flow_crops import CropRecipe

CROPS, SCENES = CropRecipe(), SceneRecipe()
# Of crops with a tone curve: no power alone brings their values back to linear light.
UNKNOWN_GAMMA = 0.0


class SceneCrops(Dataset):
    """An endless-looking, reproducible source of crops: item ``i`` depends on the seed and on ``i`` alone.

    Items are as those of :class:`~motion_offsets.data.crops.flow_crops.MotionFlowCrops`; ``known`` is 0 near
    occlusions, and ``gamma`` says that light was averaged as a sensor does.

    Args:
        folders: sharp photos for the backgrounds.
        objects: photos or transparent pictures to cut objects from.
        label_maps: label maps of these photos, a folder for each folder of ``objects``; none for transparent ones.
        length: number of items.
        recipe: size, margin and degradation of the crops.
        scenes: what the scenes are like.
        seed: what everything depends on.
    """

    def __init__(
        self,
        folders: str | Path | Sequence[str | Path],
        objects: Sequence[str | Path],
        label_maps: Sequence[str | Path],
        length: int,
        recipe: CropRecipe = CROPS,
        scenes: SceneRecipe = SCENES,
        seed: int = 0,
    ):
        self.photos, self.objects = PhotoStore(folders), load_objects(objects, label_maps)
        self.length, self.recipe, self.scenes, self.seed = length, recipe, scenes, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng((self.seed, index, 1))
        size, margin = self.recipe.crop_size, self.recipe.margin
        photo = self.photos[int(generator.integers(len(self.photos)))]
        grid = jitter(random_crop(photo, size + 2 * margin, generator, self.recipe.zoom), generator)
        window = Window(margin, margin, size, size, margin)
        room = [(side - len(grid)) / 2 for side in photo.shape[1::-1]]
        centre = tuple(len(grid) / 2 + generator.uniform(-max(0.0, spare), max(0.0, spare)) for spare in room)
        scene = sample_scene(grid, self.objects, window, generator, self.scenes, centre, max(photo.shape))
        rendering = render(scene, window)
        ends = true_offsets(scene, window, torch.tensor([-1.0, 1.0]), rendering.layer)[0]
        blurred, sharp, gamma = rendering.blurred[0], rendering.sharp[0], GAMMA
        if self.scenes.tone_share and generator.random() < self.scenes.tone_share:
            tone = random_tone(generator)
            blurred, sharp, gamma = tone(blurred), tone(sharp), UNKNOWN_GAMMA
        noise = (self.recipe.noise_share, self.recipe.noise_level, self.recipe.jpeg_share)
        return {
            "blurred": degrade(blurred, *noise, generator),
            "sharp": sharp,
            "ends": half_plane(ends) * textured(sharp, margin, self.recipe.plain_level),
            "known": rendering.valid[0].float(),
            "gamma": gamma,
        }


class MixedCrops(Dataset):
    """Items of several sources, each drawn with its share: item ``i`` comes from one of them, as its item ``i``.

    Args:
        sources: sources of equal length.
        shares: how often each is drawn; they need not sum to 1.
        seed: what the draws depend on.
    """

    def __init__(self, sources: Sequence[Dataset], shares: Sequence[float], seed: int = 0):
        if len(sources) != len(shares) or not sources or min(shares) < 0 or sum(shares) <= 0:
            raise BadInputError(
                f"shares are {list(shares)}; give one of at least 0 for each of {len(sources)} sources"
            )
        self.sources, self.seed = sources, seed
        self.shares = np.array(shares, dtype=np.float64) / sum(shares)

    def __len__(self) -> int:
        return len(self.sources[0])  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng((self.seed, index, 2))
        return self.sources[int(generator.choice(len(self.sources), p=self.shares))][index]

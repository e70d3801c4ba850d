"""Training crops of real motion: windows of sharp frames of a high-frame-rate camera, averaged as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import BadInputError
from ...exposure.frame_average import linear_levels
from .augmentation import degrade, flip, quarter_turn, random_place
from .flow_crops import CropRecipe
from .frame_runs import FrameRuns

CROPS = CropRecipe()
GAMMA = 2.2


def check_window_range(shortest: int, longest: int) -> None:
    """Refuse what is not a range of window lengths of at least 3 frames with an odd number in it."""
    if not 3 <= shortest <= longest or shortest == longest and shortest % 2 == 0:
        raise BadInputError(
            f"the window is {shortest} to {longest} frames; give the shortest and the longest, from 3 up, with an odd "
            "number between them: the sharp frame is the middle one"
        )


class FrameWindowCrops(Dataset):
    """An endless-looking, reproducible source of crops: item ``i`` depends on the seed and on ``i`` alone.

    A crop is the average of an odd number of consecutive frames (eq. 1); the middle one is the sharp frame. It is
    turned and mirrored at random; reversed in time it is the same pair. Items are as those of
    :class:`~motion_offsets.data.crops.flow_crops.MotionFlowCrops`. The motion is not known: ``ends`` and ``known`` are
    0, and such crops train by reblurring alone. ``gamma`` is 2.2 where linear light was averaged and 1 where encoded
    values were.

    Args:
        sources: folders or ZIP files of consecutive sharp frames, or video files; see
            :class:`~motion_offsets.data.crops.frame_runs.FrameRuns`.
        length: number of items.
        recipe: size, margin and degradation of the crops; its shares of motions mean nothing here.
        window: shortest and longest window, frames; each odd number between them is as likely.
        linear_share: share of windows that are averaged in linear light, as a sensor does; others as encoded.
        seed: what everything depends on.

    Raises:
        BadInputError: a source cannot be read, has too few consecutive frames or frames of different sizes.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        length: int,
        recipe: CropRecipe = CROPS,
        window: tuple[int, int] = (7, 13),
        linear_share: float = 0.5,
        seed: int = 0,
    ):
        check_window_range(*window)
        if not 0 <= linear_share <= 1:
            raise BadInputError(f"linear_share is {linear_share}; it must be a share from 0 to 1")
        self.counts = range(window[0] | 1, window[1] + 1, 2)
        self.runs = FrameRuns([sources] if isinstance(sources, str | Path) else list(sources), self.counts[-1])
        # Where a run's windows begin in the numbering of all windows, so that each frame is as likely as any other.
        self.starts = np.cumsum([0, *(len(self.runs[number]) for number in range(len(self.runs)))])
        self.length, self.recipe, self.linear_share, self.seed = length, recipe, linear_share, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng((self.seed, index, 4))
        size, margin = self.recipe.crop_size, self.recipe.margin
        gamma = GAMMA if generator.random() < self.linear_share else 1.0
        frames = random_place(self._window(generator), size + 2 * margin, generator)
        turns, mirrored = int(generator.integers(4)), bool(generator.integers(2))
        blurred = average(frames[:, margin : margin + size, margin : margin + size], gamma)
        sharp = torch.from_numpy(frames[len(frames) // 2].copy()).permute(2, 0, 1)
        # The average of turned frames is the turned average.
        blurred, sharp = (_turned(picture, turns, mirrored) for picture in (blurred, sharp))
        noise = (self.recipe.noise_share, self.recipe.noise_level, self.recipe.jpeg_share)
        return {
            "blurred": degrade(blurred, *noise, generator).contiguous(),
            "sharp": sharp.contiguous().float().div_(255),
            "ends": torch.zeros(2, 2, size, size),
            "known": torch.zeros(1, size, size),
            "gamma": gamma,
        }

    def _window(self, generator: np.random.Generator) -> np.ndarray:
        """Consecutive frames ``(M, H, W, 3)``."""
        count = int(generator.choice(self.counts))
        number = int(np.searchsorted(self.starts, generator.integers(self.starts[-1]), side="right")) - 1
        run = self.runs[number]
        first = int(generator.integers(len(run) - count + 1))
        return run[first : first + count]


def average(frames: np.ndarray, gamma: float) -> Tensor:
    """The average of frames ``(M, H, W, 3)`` uint8 in linear light of this gamma: ``(3, H, W)`` float32 in [0, 1]."""
    levels = linear_levels(gamma)
    total = np.zeros(frames.shape[1:], np.float32)
    for frame in frames:
        total += np.take(levels, frame)
    return torch.from_numpy(total).div_(len(frames)).pow_(1 / gamma).permute(2, 0, 1)


def _turned(picture: Tensor, turns: int, mirrored: bool) -> Tensor:
    picture = quarter_turn(picture, turns)
    return flip(picture) if mirrored else picture

"""Recipes that blur a sharp photo, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch

from ..errors import BadInputError
from .frame_average import Gamma, encode, linear_levels
from .motion_flow import blur_with_flow, sample_flow, valid_window

# Photos are reduced to this longer side first: a motion grows with the distance from the middle, and cameras' noise
# and softness shrink.
MAX_PHOTO_SIDE = 1024
MIN_SIDE = 64

Recipe: TypeAlias = Callable[[np.ndarray, np.random.Generator, Gamma], tuple[np.ndarray, np.ndarray]]
"""From a sharp photo ``(H, W, 3)`` uint8 to a blurred and a sharp picture of one size, also uint8."""


def motion_flow(photo: np.ndarray, generator: np.random.Generator, gamma: Gamma) -> tuple[np.ndarray, np.ndarray]:
    """The linear camera motions of Gong et al. 2017; what came from outside of the photo is cut off."""
    flow = sample_flow(photo.shape[0], photo.shape[1], generator)
    window = valid_window(flow)
    if min(photo[window].shape[:2]) < MIN_SIDE:
        raise BadInputError(
            f"{photo.shape[1]}x{photo.shape[0]} pixels are too few, as the borders of the motion leave nothing of "
            "them; give photos with sides of at least 160 pixels"
        )
    linear = torch.from_numpy(linear_levels(gamma)[photo]).permute(2, 0, 1)
    blurred = encode(blur_with_flow(linear, flow).permute(1, 2, 0).numpy()[window], gamma)
    return np.rint(blurred.clip(0, 1) * 255).astype(np.uint8), photo[window]


RECIPES: dict[str, Recipe] = {"motion-flow": motion_flow}

"""Recipes that blur a sharp photo, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from ...errors import BadInputError
from ...exposure.frame_average import Gamma, encode, linear_levels
from ..scenes.cutouts import Cutout
from ..scenes.dynamic_scenes import Window, render
from ..scenes.motion_flow import blur_with_flow, sample_flow, valid_window
from ..scenes.scene_sampling import sample_scene

# Photos are reduced to this longer side first: a motion grows with the distance from the middle, and cameras' noise
# and softness shrink.
MAX_PHOTO_SIDE = 1024
MIN_SIDE = 64

SCENE_MARGIN = 24  # pixels at each border that the camera of a dynamic scene can turn towards

Recipe: TypeAlias = Callable[[np.ndarray, np.random.Generator, Gamma, Sequence[Cutout]], tuple[np.ndarray, np.ndarray]]
"""From a sharp photo ``(H, W, 3)`` uint8 and objects to a blurred and a sharp picture of one size, also uint8."""


def motion_flow(
    photo: np.ndarray, generator: np.random.Generator, gamma: Gamma, objects: Sequence[Cutout] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The linear camera motions of Gong et al. 2017; what came from outside of the photo is cut off; no objects."""
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


def dynamic(
    photo: np.ndarray, generator: np.random.Generator, gamma: Gamma, objects: Sequence[Cutout] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """A shaken camera, depth, and objects with motions of their own; light adds up as in a sensor of gamma 2.2."""
    height, width = (side - 2 * SCENE_MARGIN for side in photo.shape[:2])
    if min(height, width) < MIN_SIDE:
        raise BadInputError(
            f"{photo.shape[1]}x{photo.shape[0]} pixels are too few; give photos with sides of at least "
            f"{MIN_SIDE + 2 * SCENE_MARGIN} pixels"
        )
    window = Window(SCENE_MARGIN, SCENE_MARGIN, height, width)
    shot = render(sample_scene(photo, objects, window, generator), window)
    blurred, sharp = (
        (picture[0] * 255).round().byte().permute(1, 2, 0).numpy() for picture in (shot.blurred, shot.sharp)
    )
    return blurred, sharp


RECIPES: dict[str, Recipe] = {"motion-flow": motion_flow, "dynamic": dynamic}

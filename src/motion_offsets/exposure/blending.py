"""Blending the sharp frame back towards the photo wherever motion does not explain what was changed.

What stood still needs no deblurring: along paths of a pixel or less the photo stays as it is, its noise included.

More carefully, if asked for: where the sharp frame is right, blurring it again takes every change back. The mean
square that is left of the photo is compared with that of the change itself, around each pixel:
``w = change / (change + 2 * left)`` of the change is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .trajectories import path_lengths

STILL, MOVING = 1.0, 3.0  # pixels of path up to which nothing, and from which everything that was changed is kept
WINDOW = 33  # pixels; applied twice, so that no edge of a window shows
DOUBT = 2.0  # how much more what is left counts than what was changed
_TINY = 1e-6  # of a level of 8 bits: a change as small as that is not kept for its own sake


def leave_still(given: Tensor, made: Tensor, control_points: Tensor, trajectory: str) -> Tensor:
    """``given + w * (made - given)``, ``w`` rising from 0 to 1 along paths of :data:`STILL` to :data:`MOVING` pixels.

    Args:
        given: ``(B, C, H, W)``, photos or motion.
        made: of the same shape, what was made of them.
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: the one they belong to.
    """
    moved = (path_lengths(control_points.float(), trajectory) - STILL) / (MOVING - STILL)
    return torch.lerp(given.to(made.dtype), made, moved.clamp_(0, 1).to(made.dtype))


def kept_share(photo: Tensor, sharp: Tensor, reblurred: Tensor) -> Tensor:
    """``w`` around each pixel, ``(B, 1, H, W)`` in [0, 1], of images ``(B, 3, H, W)`` in [0, 1]."""
    change, left = _surroundings(sharp, photo), _surroundings(reblurred, photo)
    return change / (change + DOUBT * left + _TINY)


def blend_back(photo: Tensor, sharp: Tensor, reblurred: Tensor) -> Tensor:
    """The sharp frame with that share of its changes, ``photo + w * (sharp - photo)``, all ``(B, 3, H, W)``."""
    return torch.lerp(photo.float(), sharp, kept_share(photo, sharp, reblurred))


def _surroundings(one: Tensor, other: Tensor) -> Tensor:
    """Mean square of the difference over the colours and the pixels around each one, ``(B, 1, H, W)``."""
    square = (one - other).square_().mean(1, keepdim=True)
    for axis in ((WINDOW, 1), (1, WINDOW)) * 2:
        reach = [min(side // 2, length - 1) for side, length in zip(axis, square.shape[2:], strict=True)]
        padded = functional.pad(square, (reach[1], reach[1], reach[0], reach[0]), mode="replicate")
        square = functional.avg_pool2d(padded, (2 * reach[0] + 1, 2 * reach[1] + 1), stride=1)
    return square

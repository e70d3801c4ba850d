"""The motion that a deblurrer is trained along: true, disturbed, or estimated, so that better motion helps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..models.modeling_etraj import EtrajModel
from .options import TrainingOptions

# How wrong a disturbed motion is: factors of its length, turns in radians, and the largest smooth error in pixels.
LENGTHS = (0.6, 1.4)
TURN = 0.3
ERROR = 4.0
# Side of the grid of random numbers that a smooth error is brought up from.
ERROR_GRID = 4


def draw_motion(
    options: TrainingOptions, estimator: EtrajModel, blurred: Tensor, ends: Tensor, known: Tensor
) -> Tensor:
    """Control points ``(B, 2K, H, W)`` of the estimator's trajectory to deblur a batch along, pixels.

    By the shares ``true_motion`` and ``disturbed_motion`` a crop's motion is the known one or the known one with
    errors, and for all other crops that of the estimator. Motion that is known nowhere in a crop is always estimated.
    What decides is torch's own generator, whose state is part of a checkpoint.

    Args:
        options: with both shares.
        estimator: on the device of the crops; no gradient reaches it.
        blurred: ``(B, 3, H, W)``.
        ends: ``(B, 2, 2, H, W)``, the true offsets at -1 and 1, pixels.
        known: ``(B, 1, H, W)``, 1 where they are right and 0 elsewhere.
    """
    drawn = torch.rand(len(blurred)).to(blurred.device)
    given = (drawn < options.true_motion + options.disturbed_motion) & (known.flatten(1).amax(1) > 0)
    disturbed = given & (drawn >= options.true_motion)
    points = control_points_from_ends(ends, estimator.config.trajectory)
    if disturbed.any():
        points[disturbed] = disturb(points[disturbed])
    if not given.all():
        with torch.no_grad():
            found = estimator(blurred[~given], output_motion_offsets=False).control_points
        points[~given] = found.to(points.dtype)
    return points


def control_points_from_ends(ends: Tensor, trajectory: str) -> Tensor:
    """Control points ``(B, 2K, H, W)`` of a path through the offsets ``(B, 2, 2, H, W)`` at -1 and 1.

    A linear path, which always runs through 0 at t = 0, has half their difference; a cubic one is not bent further.
    """
    if trajectory == "linear":
        return (ends[:, 0] - ends[:, 1]) / 2
    points = ends.flatten(1, 2).clone()
    return torch.cat([points, torch.zeros_like(points[:, :2])], 1) if trajectory == "cubic" else points


def disturb(control_points: Tensor) -> Tensor:
    """Motion with errors as an estimator makes them: lengths and directions wrong per crop, and smoothly in space.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
    """
    batch, channels, height, width = control_points.shape
    device, dtype = control_points.device, control_points.dtype

    def random(*size: int) -> Tensor:
        return torch.rand(size).to(device, dtype)

    length = LENGTHS[0] + (LENGTHS[1] - LENGTHS[0]) * random(batch, 1, 1, 1)
    angle = TURN * (2 * random(batch, 1, 1, 1) - 1)
    across, down = control_points[:, 0::2], control_points[:, 1::2]
    turned = torch.stack(
        [across * angle.cos() - down * angle.sin(), across * angle.sin() + down * angle.cos()], 2
    ).flatten(1, 2)
    coarse = (2 * random(batch, channels, ERROR_GRID, ERROR_GRID) - 1) * ERROR * random(batch, 1, 1, 1) ** 2
    error = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return length * turned + error


__all__ = ["control_points_from_ends", "disturb", "draw_motion"]

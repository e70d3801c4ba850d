"""What the motion-guided deblurrer's U-Net is told: the photo along the path, and the motion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..exposure.blur import expose
from ..exposure.trajectories import offsets_at, trajectory_basis

# Control points are tens of pixels where images are about 1.
PIXELS_PER_UNIT = 16.0
MOTION_CHANNELS = 5
Images = tuple[Tensor, ...]


def path_samples(photo: Tensor, control_points: Tensor, trajectory: str, distances: Sequence[float]) -> Images:
    """The photo seen from every pixel along its path: the mean of the samples at both sides, less the pixel itself.

    ``(y(p + o(-d)) + y(p + o(d))) / 2 - y(p)``; beyond the ends of the path, for ``d > 1``, ``o(d) = d o(1)``.
    Weighted sums of these, with weights for the path's length, are what an inverse filter along the path is made of.

    Args:
        photo: ``y``, ``(B, 3, H, W)``.
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: the one that they belong to.
        distances: positive, 1 being the ends of the path.

    Returns:
        As many ``(B, 3, H, W)`` as there are ``distances``.
    """
    found = []
    for distance in distances:
        inside = min(distance, 1.0)
        times = torch.tensor([-inside, inside], dtype=torch.float32, device=photo.device)
        basis = trajectory_basis(trajectory, times) * (distance / inside)
        found.append(expose(photo, control_points, basis) - photo)
    return tuple(found)


def motion_features(control_points: Tensor, trajectory: str) -> Tensor:
    """The motion as ``(B, 5, H, W)`` numbers of about 1 that are the same for a motion and for its time reversal.

    With ``v = (o(1) - o(-1)) / 2`` at angle ``a`` and ``c = (o(1) + o(-1)) / 2``, they are ``|v|``, ``|v| cos 2a``,
    ``|v| sin 2a`` and both components of ``c``, in units of 16 pixels.
    """
    ends = offsets_at(control_points, [-1.0, 1.0], trajectory) / PIXELS_PER_UNIT
    velocity, bend = (ends[:, 1] - ends[:, 0]) / 2, (ends[:, 1] + ends[:, 0]) / 2
    across, down = velocity[:, 0], velocity[:, 1]
    # Differentiable at rest, too.
    length = (across**2 + down**2 + 1e-8).sqrt()
    doubled = ((across**2 - down**2) / length, 2 * across * down / length)
    return torch.cat([torch.stack([length, *doubled], 1), bend], 1)

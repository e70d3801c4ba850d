"""What the motion-guided deblurrer's U-Net is told: deconvolved estimates, the photo along the path, the motion."""

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


def deconvolution_estimates(
    photo: Tensor,
    start: Tensor,
    control_points: Tensor,
    basis: Tensor,
    steps: tuple[int, ...],
    step_size: float = 1.0,
    padding_mode: str = "border",
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Estimates of the sharp image after some numbers of steps of accelerated deconvolution along the motion.

    ``x_n = z_n + s B*(y - B z_n)`` with ``z_{n+1} = x_n + (n - 1) / (n + 2) (x_n - x_{n-1})``.

    Args:
        photo: the blurred image ``y``, ``(B, 3, H, W)``.
        start: the first ``z``, ``(B, 3, H, W)``.
        control_points: ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`.
        steps: rising numbers of steps after which the estimate is returned; after 0 it is ``start``.
        step_size: ``s``, above 0; 1 is the largest that is sure to converge.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.

    Returns:
        For each of ``steps`` the estimate ``x`` and what it leaves unexplained, ``y - B x``, both ``(B, 3, H, W)``.
        Differentiable in ``start`` and ``control_points``.
    """
    if not steps:
        return ()
    estimate = ahead = start
    residual = photo - expose(ahead, control_points, basis, padding_mode)
    found = [(start, residual)] if steps[0] == 0 else []
    for step in range(1, max(steps) + 1):
        following = ahead + step_size * expose(residual, -control_points, basis, padding_mode)
        if step in steps:
            found.append((following, photo - expose(following, control_points, basis, padding_mode)))
        # Nesterov's momentum: n steps reach what about n^2 / 4 plain ones would.
        ahead = following + (step - 1) / (step + 2) * (following - estimate)
        estimate = following
        if step < max(steps):
            residual = photo - expose(ahead, control_points, basis, padding_mode)
    return tuple(found)


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

"""Refinement on the one photo: its own reblurring loss (eq. 7) moves the control points, not the network.

The sharp frame of the loss is the deblurred one. As that is still a little blurred, shorter motion explains the photo
better than the true one; what a path loses in length is therefore charged for. The correction is smooth: one value for
every eight pixels, bilinearly between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .blur import expose
from .refine_steps import check_refine_steps

CELL = 8  # pixels of the working size from one value of the correction to the next
WORKING_PIXELS = 500_000  # larger photos are refined at this size
LEARNING_RATE = 0.2  # pixels of the working size
LENGTH_WEIGHT = 0.02  # of the lost length in pixels beside the mean absolute difference of the images


def working_scale(height: int, width: int) -> float:
    """How much smaller than a photo of this size the refinement works, 1 for its own size."""
    return min(1.0, math.sqrt(WORKING_PIXELS / (height * width)))


def refine(
    photo: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    steps: int,
    padding_mode: str = "border",
    gamma: float | None = None,
    on_step: Callable[[], None] | None = None,
) -> Tensor:
    """Control points whose exposure of the sharp frame comes closer to the photo.

    Args:
        photo: ``(B, 3, H, W)`` in [0, 1].
        sharp: its deblurred frame, ``(B, 3, H, W)``.
        control_points: the first estimate, ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`; its first and last row
            are the ends of the exposure.
        steps: steps of Adam, each one exposure and its gradient at half a megapixel or less.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.
        gamma: likewise.
        on_step: called after each step.

    Returns:
        ``(B, 2K, H, W)`` float32; the given points if ``steps`` is 0.

    Raises:
        BadInputError: ``steps`` is not a number of steps.
    """
    if check_refine_steps(steps) == 0:
        return control_points
    height, width = photo.shape[-2:]
    scale = working_scale(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    # A pipeline's answers are tensors of inference mode, which no gradient may remember: copies are.
    with torch.inference_mode(False):
        seen, clear, first = (_resized(given, size) for given in (photo, sharp, control_points))
        with torch.enable_grad():
            correction = _corrected(seen, clear, first * scale, basis.clone(), steps, padding_mode, gamma, on_step)
        correction = functional.interpolate(correction / scale, (height, width), mode="bilinear", align_corners=False)
        return correction.add_(control_points)


def _resized(given: Tensor, size: tuple[int, int]) -> Tensor:
    given = given.detach().float()
    return given.clone() if given.shape[-2:] == size else functional.interpolate(given, size=size, mode="area")


def _corrected(
    photo: Tensor,
    sharp: Tensor,
    points: Tensor,
    basis: Tensor,
    steps: int,
    padding_mode: str,
    gamma: float | None,
    on_step: Callable[[], None] | None,
) -> Tensor:
    batch, channels, height, width = points.shape
    shape = (batch, channels, math.ceil(height / CELL), math.ceil(width / CELL))
    correction = torch.zeros(shape, device=points.device, requires_grad=True)
    adam = torch.optim.Adam([correction], lr=LEARNING_RATE, betas=(0.9, 0.95))
    lengths = _end_lengths(points, basis)
    for _ in range(steps):
        moved = points + functional.interpolate(correction, (height, width), mode="bilinear", align_corners=False)
        reblurred = expose(sharp, moved, basis, padding_mode, gamma)
        lost = (lengths - _end_lengths(moved, basis)).clamp(min=0).mean()
        loss = (reblurred - photo).abs().mean() + LENGTH_WEIGHT * lost
        adam.zero_grad()
        loss.backward()
        adam.step()
        if on_step is not None:
            on_step()
    return correction.detach()


def _end_lengths(points: Tensor, basis: Tensor) -> Tensor:
    """Lengths of the offsets at both ends of the exposure, ``(B, 2, H, W)``, pixels."""
    ends = torch.einsum("ek,bkchw->bechw", basis[[0, -1]].to(points), points.unflatten(1, (-1, 2)))
    return (ends.square().sum(2) + 1e-8).sqrt()

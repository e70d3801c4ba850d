"""Motion and sharp frame of one photo, each improved by the other (blind deconvolution along dense trajectories).

The network's frame is still a little blurred, and motion that is fitted to it as it is gets too short. Here the motion
is fitted in gradients, to the frame's *predicted* edges (:mod:`.edges`), at half the photo's size; the frame is made
again along it, deconvolved a few steps further, and the motion fitted to that. Where the first motion is nearly right,
the frame's own edges are better than predicted ones, so that one fit starts with those.

Which of these motions is right cannot be told by how well they explain the photo: fitted to its own frame, every
motion does. It is told by the frames: deconvolved along wrong motion they stay blurred or ring, and both make their
gradients less sparse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .accelerated_deconvolution import deconvolution_estimates
from .blur import expose
from .edges import gradient_density, gradients, shock_filtered, strong_gradients
from .trajectories import align_time

LARGEST_SCALE = 0.5
WORKING_PIXELS = 250_000  # larger photos are fitted at this size
CELL = 16  # pixels of the working size from one control value to the next
LEARNING_RATE = 0.4  # pixels of the working size
SMOOTHNESS = 5e-5  # of the mean difference, pixels, of neighbouring control values beside the mean squared difference
DECONVOLUTION_STEPS = 5
FITS = 3  # predicted edges, from there the frame's own; the frame's own from the start


@dataclass(frozen=True)
class Candidate:
    """One motion of a photo.

    Args:
        control_points: ``(1, 2K, H, W)``, pixels.
        sharp: ``(1, 3, H, W)``, the frame along it.
        density: of the frame's gradients once it is deconvolved further, see :func:`.edges.gradient_density`.
    """

    control_points: Tensor
    sharp: Tensor
    density: float


def working_scale(height: int, width: int) -> float:
    """How much smaller than a photo of this size motion is fitted."""
    return min(LARGEST_SCALE, math.sqrt(WORKING_PIXELS / (height * width)))


def refine_blindly(
    photo: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    trajectory: str,
    basis: Tensor,
    steps: int,
    sharpen: Callable[[Tensor], Tensor],
    padding_mode: str = "border",
    on_step: Callable[[], None] | None = None,
) -> Candidate:
    """The motion along which the frame gets sharpest, and that frame; those given, if no other is better.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        sharp: its frame along the given motion, ``(1, 3, H, W)``.
        control_points: the first estimate, ``(1, 2K, H, W)``, pixels.
        trajectory: the one they belong to.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`.
        steps: of Adam in each of :data:`FITS` fits; each costs an exposure and its gradient at half size.
        sharpen: makes the frame ``(1, 3, H, W)`` along other control points.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.
        on_step: called after each step.
    """
    height, width = photo.shape[-2:]
    scale = working_scale(height, width)
    size = (max(2, round(height * scale)), max(2, round(width * scale)))
    # A pipeline's answers are tensors of inference mode, which no gradient may remember: copies are.
    with torch.inference_mode(False):
        basis = basis.clone()
        small = _resized(photo, size)
        grey = small.mean(1, keepdim=True)

        def judged(points: Tensor, frame: Tensor) -> tuple[Candidate, Tensor]:
            """A candidate, and its frame, grey at working size, deconvolved further."""
            moved = _resized(points, size) * scale
            ((further, _),) = deconvolution_estimates(
                small, _resized(frame, size), moved, basis, (DECONVOLUTION_STEPS,), padding_mode=padding_mode
            )
            clear = further.mean(1, keepdim=True)
            return Candidate(points, frame, float(gradient_density(clear.clamp(0, 1)))), clear

        def fitted(points: Tensor, edges: Tensor) -> Tensor:
            start = _resized(points, size) * scale
            with torch.enable_grad():
                found = _fit(gradients(grey), strong_gradients(edges), start, basis, steps, padding_mode, on_step)
            found = functional.interpolate(found / scale, (height, width), mode="bilinear", align_corners=False)
            return found.to(control_points.dtype)

        def candidate(points: Tensor, edges: Tensor) -> tuple[Candidate, Tensor]:
            moved = fitted(points, edges)
            return judged(moved, sharpen(moved))

        first, _ = judged(control_points, sharp)
        own = _resized(sharp, size).mean(1, keepdim=True)
        aligned = align_time(control_points.detach().float(), trajectory)
        predicted, clear = candidate(aligned, shock_filtered(own))
        followed, _ = candidate(predicted.control_points, clear)
        direct, _ = candidate(aligned, own)
    return min((first, predicted, followed, direct), key=lambda one: one.density)


def _resized(given: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(given.detach().float(), size=size, mode="area")


def _fit(
    seen: Tensor,
    edges: Tensor,
    points: Tensor,
    basis: Tensor,
    steps: int,
    padding_mode: str,
    on_step: Callable[[], None] | None,
) -> Tensor:
    """Control points ``(1, 2K, h, w)``, bilinear between the cells of a grid, that make ``seen`` of ``edges``.

    ``min mean |B edges - seen|^2 + SMOOTHNESS * total variation of the grid``, both images being gradients: where
    motion is locally constant, blur and derivative commute.
    """
    height, width = points.shape[-2:]
    grid = functional.interpolate(points, (math.ceil(height / CELL), math.ceil(width / CELL)), mode="area")
    grid = grid.clone().requires_grad_()
    adam = torch.optim.Adam([grid], lr=LEARNING_RATE)
    for _ in range(steps):
        moved = functional.interpolate(grid, (height, width), mode="bilinear", align_corners=False)
        error = (expose(edges, moved, basis, padding_mode) - seen).square().mean()
        rough = sum(
            (difference.abs().mean() for difference in (grid.diff(dim=2), grid.diff(dim=3)) if difference.numel()),
            start=error.new_zeros(()),
        )
        loss = error + SMOOTHNESS * rough
        adam.zero_grad()
        loss.backward()
        adam.step()
        if on_step is not None:
            on_step()
    return functional.interpolate(grid.detach(), (height, width), mode="bilinear", align_corners=False)

"""Motion and sharp frame of one photo, each improved by the other (blind deconvolution along dense trajectories).

The network's frame is still a little blurred, and motion that is fitted to it gets too short where the blur is long.
So the motion is fitted in gradients, at half the photo's size, in three ways:

- *direct*: a smooth correction of the first motion, to the frame's own strong edges;
- *predicted*: a motion of its own, to the edges as they would be were the frame sharp (:mod:`.edges`);
- *followed*: from there on, to the edges of the frame once it is deconvolved along the predicted motion.

All start from the mean of two estimates, of the photo and of the reduced photo: there, long blur is short, and a soft
picture is sharp. The motion followed to the end is the nearest to the true one, but along it a frame rings as often as
it gains; errors of both kinds of fit differ, and along their mean the frame gains most. What stands still in the first
estimate stays so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .accelerated_deconvolution import deconvolution_estimates
from .blending import leave_still
from .blur import expose
from .edges import gradients, shock_filtered, strong_gradients
from .trajectories import align_time, align_time_to

LARGEST_SCALE = 0.5
WORKING_PIXELS = 250_000  # larger photos are fitted at this size
SAMPLES = 21  # of an exposure at that size; as many as the longest path needs cost three times the time
CELL = 16  # pixels of the working size from one control value to the next
LEARNING_RATE = 0.4  # pixels of the working size
SMOOTHNESS = 5e-5  # of the mean difference, pixels, of neighbouring control values beside the mean squared difference
DECONVOLUTION_STEPS = 5
FITS = 3
# A photo in which no more than this share of pixels moves by more than so many pixels is left as it is.
FEW, STILL = 0.05, 3.0


@dataclass(frozen=True)
class RefinedMotion:
    """Two motions of a photo.

    Args:
        control_points: ``(1, 2K, H, W)``, pixels: the followed motion.
        of_frame: likewise, to make the frame along: the mean of it and of the direct correction.
    """

    control_points: Tensor
    of_frame: Tensor


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
    padding_mode: str = "border",
    on_step: Callable[[], None] | None = None,
    estimate: Callable[[Tensor], Tensor] | None = None,
) -> RefinedMotion:
    """Fit the motion of a photo to it, with a frame that is not quite sharp yet.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        sharp: its deblurred frame, ``(1, 3, H, W)``.
        control_points: the first estimate, ``(1, 2K, H, W)``, pixels.
        trajectory: the one they belong to.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`.
        steps: of Adam in each of :data:`FITS` fits; each costs an exposure and its gradient at half size.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.
        on_step: called after each step.
        estimate: from the photo reduced to the working size, ``(1, 3, h, w)``, to its control points
            ``(1, 2K, h, w)``: the fits then start from the mean of these and of ``control_points``.

    Returns:
        The motions; the given tensor itself where nearly nothing moves, or in a photo of one colour.
    """
    height, width = photo.shape[-2:]
    scale = working_scale(height, width)
    size = (max(2, round(height * scale)), max(2, round(width * scale)))
    # A pipeline's answers are tensors of inference mode, which no gradient may remember: copies are.
    with torch.inference_mode(False), torch.no_grad():
        basis = basis.clone()
        small, frame = _resized(photo, size), _resized(sharp, size)
        seen, own = gradients(_grey(small)), _grey(frame)

        def deconvolved(points: Tensor) -> Tensor:
            found = deconvolution_estimates(
                small, frame, points, basis, (DECONVOLUTION_STEPS,), padding_mode=padding_mode
            )
            return _grey(found[0][0])

        def fitted(points: Tensor, edges: Tensor, correct: bool) -> Tensor:
            return _fit(seen, strong_gradients(edges), points, correct, basis, steps, padding_mode, on_step)

        if not (_is_blurred(control_points, basis) and seen.any()):
            return RefinedMotion(control_points, control_points)
        first = _resized(align_time(control_points.detach().float(), trajectory), size) * scale
        if estimate is not None:
            first = (first + align_time_to(estimate(small).float(), first, trajectory)) / 2
        direct = fitted(first, own, correct=True)
        predicted = fitted(first, shock_filtered(own), correct=False)
        followed = fitted(predicted, deconvolved(predicted), correct=False)

        def at_full_size(points: Tensor) -> Tensor:
            full = functional.interpolate(points / scale, (height, width), mode="bilinear", align_corners=False)
            full = align_time_to(full, control_points.float(), trajectory)
            # A smooth fit moves what stands still beside what moves.
            return leave_still(control_points.float(), full, control_points, trajectory).to(control_points.dtype)

        return RefinedMotion(at_full_size(followed), at_full_size((direct + followed) / 2))


def _is_blurred(control_points: Tensor, basis: Tensor) -> bool:
    """Whether more than a few pixels move far: a frame made along motion that is none rings."""
    ends = torch.einsum("ek,bkchw->bechw", basis[[0, -1]].to(control_points), control_points.unflatten(1, (-1, 2)))
    return float(((ends[:, 1] - ends[:, 0]).norm(dim=1) > STILL).float().mean()) > FEW


def _grey(image: Tensor) -> Tensor:
    return image.mean(1, keepdim=True)


def _resized(given: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(given.detach().float(), size=size, mode="area")


def _fit(
    seen: Tensor,
    edges: Tensor,
    points: Tensor,
    correct: bool,
    basis: Tensor,
    steps: int,
    padding_mode: str,
    on_step: Callable[[], None] | None,
) -> Tensor:
    """Control points ``(1, 2K, h, w)`` that make ``seen`` of ``edges``, both gradients ``(1, 2, h, w)``.

    ``min mean |B edges - seen|^2 + SMOOTHNESS * total variation`` of a grid of values with bilinear ones between: of
    what is added to ``points`` if these are to be corrected, else of the control points themselves. Where motion is
    locally constant, blur and derivative commute.
    """
    height, width = points.shape[-2:]
    cells = (math.ceil(height / CELL), math.ceil(width / CELL))
    base = points if correct else torch.zeros_like(points)
    grid = torch.zeros_like(points[..., : cells[0], : cells[1]]) if correct else _resized(points, cells).clone()
    grid.requires_grad_()
    adam = torch.optim.Adam([grid], lr=LEARNING_RATE)
    for _ in range(steps):
        with torch.enable_grad():
            moved = base + functional.interpolate(grid, (height, width), mode="bilinear", align_corners=False)
            loss = (expose(edges, moved, basis, padding_mode) - seen).square().mean()
            for difference in (grid.diff(dim=2), grid.diff(dim=3)):
                if difference.numel():
                    loss = loss + SMOOTHNESS * difference.abs().mean()
            adam.zero_grad()
            loss.backward()
        adam.step()
        if on_step is not None:
            on_step()
    return base + functional.interpolate(grid.detach(), (height, width), mode="bilinear", align_corners=False)

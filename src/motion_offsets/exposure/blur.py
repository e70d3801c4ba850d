"""The exposure: warping (eq. 2, 17), blur creation (eq. 1, 3, 4) and its equivalent kernels (eq. 5).

Backward convention: ``L_t(p) = L_s(p + offset_t(p))``, sampled bilinearly. ``padding_mode="border"`` repeats the
border pixel outside the image, ``"zeros"`` is eq. 5 as printed. On a CPU with numba and on a GPU with Triton the work
goes to a fused loop (see ``kernels/exposure_operator.py``); everywhere else to its plain twin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInputError
from .full_precision import without_autocast
from .sampling import forward_mode, sample, sample_by_index, second_derivative

try:
    from motion_offsets.kernels.exposure_operator import expose_backward, expose_fused, fused
except ImportError:  # no package: remote code of the Hub

    def fused(sharp: Tensor, control_points: Tensor) -> bool:
        return False

    expose_backward = None  # type: ignore[assignment]


PADDING_MODES = ("border", "zeros")


def warp(image: Tensor, offsets: Tensor, padding_mode: str = "border") -> Tensor:
    """Frames of the exposure from the sharp image (eq. 2, 17): ``image(p + offset(p))``.

    Args:
        image: ``(B, C, H, W)``.
        offsets: ``(B, 2, H, W)``, or ``(B, N, 2, H, W)`` for N frames; dx and dy in pixels.
        padding_mode: ``"border"`` or ``"zeros"``.

    Returns:
        ``(B, C, H, W)``, or ``(B, N, C, H, W)``.
    """
    if offsets.ndim not in (4, 5) or offsets.shape[-3] != 2:
        raise BadInputError(f"offsets have shape {tuple(offsets.shape)}; they must be (B, 2, H, W) or (B, N, 2, H, W)")
    if offsets.ndim == 4:
        return warp(image, offsets[:, None], padding_mode)[:, 0]
    one = torch.ones(1, 1, dtype=torch.float32, device=image.device)
    frames = _average(image, offsets.flatten(0, 1), one, padding_mode)
    return frames.unflatten(0, offsets.shape[:2])


def create_blur(
    sharp: Tensor, motion_offsets: Tensor, padding_mode: str = "border", gamma: float | None = None
) -> Tensor:
    """Blur creation module: the average of the N frames that the offsets make of the sharp image (eq. 3, 4).

    Args:
        sharp: ``(B, C, H, W)``, values in [0, 1]. It may carry the same margin m on all four sides,
            ``(B, C, H + 2m, W + 2m)``: the blur of the inner part then sees what really lies outside.
        motion_offsets: ``(B, N, 2, H, W)``, pixels.
        padding_mode: ``"border"`` or ``"zeros"``.
        gamma: ``None`` averages the values as they are (the paper); a number such as 2.2 averages linear light.

    Returns:
        ``(B, C, H, W)``.
    """
    if motion_offsets.ndim != 5 or motion_offsets.shape[2] != 2:
        raise BadInputError(f"motion offsets have shape {tuple(motion_offsets.shape)}; they must be (B, N, 2, H, W)")
    identity = torch.eye(motion_offsets.shape[1], dtype=torch.float32, device=sharp.device)
    return expose(sharp, motion_offsets.flatten(1, 2), identity, padding_mode, gamma)


def expose(
    sharp: Tensor, control_points: Tensor, basis: Tensor, padding_mode: str = "border", gamma: float | None = None
) -> Tensor:
    """Blur creation straight from control points: no more than a few frames are ever in memory (eq. 3 with 12-14).

    Args:
        sharp: ``(B, C, H, W)``, or with a margin, as in :func:`create_blur`.
        control_points: ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)``, from :func:`~motion_offsets.exposure.trajectories.trajectory_basis` at the N sample times.
        padding_mode: ``"border"`` or ``"zeros"``.
        gamma: see :func:`create_blur`.

    Returns:
        ``(B, C, H, W)``, differentiable in ``sharp`` and ``control_points``.
    """
    if gamma is None:
        return _average(sharp, control_points, basis, padding_mode)
    if not (gamma > 0 and math.isfinite(gamma)):
        raise BadInputError(f"gamma is {gamma}; it must be a positive number such as 2.2")
    # The slope of x**(1/gamma) is infinite at 0, so black is lifted by an invisible 1e-6.
    linear = _average(sharp.clamp(min=0) ** gamma, control_points, basis, padding_mode)
    return linear.clamp(min=1e-6) ** (1 / gamma)


def _average(sharp: Tensor, control_points: Tensor, basis: Tensor, padding_mode: str) -> Tensor:
    _check(sharp, control_points, basis, padding_mode)
    if sharp.shape[0] == 0:
        return sharp[..., : control_points.shape[2], : control_points.shape[3]]
    # An exported graph must run where this package is not.
    if not torch.compiler.is_exporting() and not forward_mode() and fused(sharp, control_points):
        return expose_fused(sharp, control_points, basis, padding_mode == "zeros")
    return expose_plain(sharp, control_points, basis, padding_mode)


def _check(sharp: Tensor, control_points: Tensor, basis: Tensor, padding_mode: str) -> None:
    if padding_mode not in PADDING_MODES:
        raise BadInputError(f"padding_mode is {padding_mode!r}; it must be one of {', '.join(PADDING_MODES)}")
    if sharp.ndim != 4 or control_points.ndim != 4:
        raise BadInputError(
            f"the image has shape {tuple(sharp.shape)} and the offsets {tuple(control_points.shape)}; "
            "both must be four-dimensional, (B, C, H, W)"
        )
    if control_points.shape[1] != 2 * basis.shape[1]:
        raise BadInputError(
            f"control points have {control_points.shape[1]} channels; a basis of {basis.shape[1]} points needs "
            f"{2 * basis.shape[1]}"
        )
    if control_points.shape[0] % sharp.shape[0] if sharp.shape[0] else control_points.shape[0]:
        raise BadInputError(f"{sharp.shape[0]} images do not go with {control_points.shape[0]} offset maps")
    rows, columns = (image - map_ for image, map_ in zip(sharp.shape[2:], control_points.shape[2:], strict=True))
    if rows != columns or rows < 0 or rows % 2:
        raise BadInputError(
            f"the image is {sharp.shape[3]}x{sharp.shape[2]} and the offsets {control_points.shape[3]}x"
            f"{control_points.shape[2]}; sizes must be equal, but for the same margin on every side"
        )


def expose_plain(
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    padding_mode: str,
    sampled: Callable[[Tensor, Tensor, Tensor, str], Tensor] = sample,
) -> Tensor:
    """The plain PyTorch twin of the fused kernels: one ``grid_sample`` per sample, summed as they come."""
    batch, _, height, width = control_points.shape
    margin = (sharp.shape[2] - height) // 2
    work = torch.promote_types(torch.float32, torch.promote_types(sharp.dtype, control_points.dtype))
    points = control_points.to(work).unflatten(1, (-1, 2))
    image = sharp.to(work).repeat_interleave(batch // sharp.shape[0], 0)
    ys = torch.arange(height, dtype=work, device=sharp.device)[:, None] + margin
    xs = torch.arange(width, dtype=work, device=sharp.device) + margin
    total = torch.zeros(batch, sharp.shape[1], height, width, dtype=work, device=sharp.device)
    with without_autocast(sharp):  # a bf16 position is off by pixels in a large photo
        for weights in basis.to(work):
            dx, dy = torch.einsum("k,bkchw->cbhw", weights, points)
            total = total + sampled(image, xs + dx, ys + dy, padding_mode)
    return (total / basis.shape[0]).to(sharp.dtype)


def _keep_for_second_derivative(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    grad, sharp, control_points, basis, ctx.zeros, *_ = inputs
    ctx.save_for_backward(grad, sharp, control_points, basis)


def _second_derivative(ctx: Any, *outer: Tensor) -> tuple:
    grad, sharp, control_points, basis = ctx.saved_tensors

    def twin(sharp: Tensor, control_points: Tensor) -> Tensor:
        return expose_plain(sharp, control_points, basis, "zeros" if ctx.zeros else "border", sample_by_index)

    found = second_derivative(twin, (sharp, control_points), grad, outer)
    return (*found, None, None, None, None)


if expose_backward is not None:
    expose_backward.register_autograd(_second_derivative, setup_context=_keep_for_second_derivative)


def equivalent_kernels(
    motion_offsets: Tensor, positions: Sequence[tuple[int, int]], size: int | None = None
) -> Tensor:
    """Blur kernels that the offsets amount to at chosen pixels (eq. 5), as pictures.

    Each sample contributes 1/N, shared bilinearly between the four pixels around it.

    Args:
        motion_offsets: ``(N, 2, H, W)``, pixels.
        positions: P pixels ``(x, y)``.
        size: odd side of the pictures; by default the smallest that holds every sample.

    Returns:
        ``(P, size, size)``, each summing to 1 where all samples fit.
    """
    ys = torch.tensor([y for _, y in positions], device=motion_offsets.device)
    xs = torch.tensor([x for x, _ in positions], device=motion_offsets.device)
    samples = motion_offsets[:, :, ys, xs].permute(2, 0, 1).to(torch.float32)
    if size is None:
        size = 2 * int(samples.abs().max().ceil().item()) + 3
    if size < 1 or size % 2 == 0:
        raise BadInputError(f"size is {size}; a kernel picture has an odd side")
    axis = torch.arange(size, device=samples.device, dtype=samples.dtype) - size // 2
    weight_x = (1 - (samples[:, :, 0, None] - axis).abs()).clamp(min=0)
    weight_y = (1 - (samples[:, :, 1, None] - axis).abs()).clamp(min=0)
    return torch.einsum("pny,pnx->pyx", weight_y, weight_x) / samples.shape[1]

"""The exposure average (eq. 3, 4 with 12-14) as one PyTorch operator: what autograd and ``torch.compile`` see.

``exposure_cpu.py`` serves it on a CPU and ``exposure_triton.py`` on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import TRITON_PIXELS, cpu_kernels, cpu_serves, triton_serves


def fused(sharp: Tensor, control_points: Tensor) -> bool:
    """Whether :func:`expose_fused` takes these tensors."""
    if _triton(sharp, control_points):
        return True
    gradients = torch.is_grad_enabled() and (sharp.requires_grad or control_points.requires_grad)
    return sharp.device.type == "cpu" and cpu_serves("exposure_cpu", "check_backward" if gradients else "check")


def _triton(sharp: Tensor, control_points: Tensor) -> bool:
    single = torch.float64 not in (sharp.dtype, control_points.dtype)
    return triton_serves(sharp.device.type, single) and sharp.shape[2] * sharp.shape[3] < TRITON_PIXELS


def _kernels(sharp: Tensor, control_points: Tensor) -> Any:
    if not _triton(sharp, control_points):
        return cpu_kernels("exposure_cpu")
    from . import exposure_triton

    return exposure_triton


@torch.library.custom_op("motion_offsets::expose", mutates_args=())
def expose_fused(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    """The fused twin of :func:`motion_offsets.exposure.blur.expose_plain`."""
    return _kernels(sharp, control_points).forward(sharp, control_points, basis, zeros)


@expose_fused.register_fake
def _(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    return sharp.new_empty(control_points.shape[0], sharp.shape[1], *control_points.shape[2:])


@torch.library.custom_op("motion_offsets::expose_backward", mutates_args=())
def expose_backward(
    grad: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    zeros: bool,
    want_sharp: bool,
    want_points: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients to the image and to the control points; an unwanted one comes back empty."""
    kernels = _kernels(sharp, control_points)
    return kernels.backward(grad, sharp, control_points, basis, zeros, want_sharp, want_points)


@expose_backward.register_fake
def _(
    grad: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    zeros: bool,
    want_sharp: bool,
    want_points: bool,
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(sharp, memory_format=torch.contiguous_format) if want_sharp else sharp.new_empty(0),
        torch.empty_like(control_points, memory_format=torch.contiguous_format)
        if want_points
        else control_points.new_empty(0),
    )


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    sharp, control_points, basis, zeros = inputs
    ctx.save_for_backward(sharp, control_points, basis)
    ctx.zeros = zeros


def _backward(ctx: Any, grad: Tensor) -> tuple:
    wanted = ctx.needs_input_grad[:2]
    grad_sharp, grad_points = expose_backward(grad, *ctx.saved_tensors, ctx.zeros, *wanted)
    return grad_sharp if wanted[0] else None, grad_points if wanted[1] else None, None, None


expose_fused.register_autograd(_backward, setup_context=_setup_context)

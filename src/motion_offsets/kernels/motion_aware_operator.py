"""The motion-aware convolution (eq. 16) as one PyTorch operator: what autograd and ``torch.compile`` see.

``motion_aware_cpu.py`` serves it on a CPU and ``motion_aware_triton.py`` on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import TRITON_PIXELS, cpu_kernels, cpu_serves, triton_serves


def fused(x: Tensor, motion_offsets: Tensor) -> bool:
    """Whether :func:`motion_aware_conv2d_fused` takes these tensors."""
    if x.numel() == 0:
        return False
    if _triton(x, motion_offsets):
        return True
    # A filter that is trained asks for gradients where its features need none.
    check = "check_backward" if torch.is_grad_enabled() else "check"
    return x.device.type == "cpu" and cpu_serves("motion_aware_cpu", check)


def _triton(x: Tensor, motion_offsets: Tensor) -> bool:
    single = torch.float64 not in (x.dtype, motion_offsets.dtype)
    return triton_serves(x.device.type, single) and x.shape[2] * x.shape[3] < TRITON_PIXELS


def _kernels(x: Tensor, motion_offsets: Tensor) -> Any:
    if not _triton(x, motion_offsets):
        return cpu_kernels("motion_aware_cpu")
    from . import motion_aware_triton

    return motion_aware_triton


@torch.library.custom_op("motion_offsets::motion_aware_conv2d", mutates_args=())
def motion_aware_conv2d_fused(
    x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor, scale: float
) -> Tensor:
    """The fast twin of :func:`motion_offsets.models.motion_aware_conv.motion_aware_conv2d_plain`."""
    return _kernels(x, motion_offsets).forward(x, weight, bias, motion_offsets, scale)


@motion_aware_conv2d_fused.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor, scale: float) -> Tensor:
    return _fake_images(x, weight.shape[0])


def _fake_images(x: Tensor, channels: int) -> Tensor:
    shape = (x.shape[0], channels, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.custom_op("motion_offsets::motion_aware_conv2d_backward", mutates_args=())
def motion_aware_conv2d_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    motion_offsets: Tensor,
    scale: float,
    want_x: bool,
    want_weight: bool,
    want_offsets: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to the features, the filter and the offsets; an unwanted one comes back empty."""
    kernels = _kernels(x, motion_offsets)
    return kernels.backward(grad, x, weight, motion_offsets, scale, want_x, want_weight, want_offsets)


@motion_aware_conv2d_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    motion_offsets: Tensor,
    scale: float,
    want_x: bool,
    want_weight: bool,
    want_offsets: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, taps, axes, height, width = motion_offsets.shape
    return (
        _fake_images(x, x.shape[1]) if want_x else x.new_empty(0),
        weight.new_empty(weight.shape) if want_weight else weight.new_empty(0),
        motion_offsets.new_empty(batch, height, width, taps, axes).permute(0, 3, 4, 1, 2)
        if want_offsets
        else motion_offsets.new_empty(0),
    )


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weight, bias, motion_offsets, scale = inputs
    ctx.save_for_backward(x, weight, motion_offsets)
    ctx.scale, ctx.bias_dtype = scale, None if bias is None else bias.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple:
    x_wanted, weight_wanted, bias_wanted, offsets_wanted, _ = ctx.needs_input_grad
    wanted = (x_wanted, weight_wanted, offsets_wanted)
    grads: list[Tensor | None] = [None, None, None]
    if any(wanted):
        results = motion_aware_conv2d_backward(grad, *ctx.saved_tensors, ctx.scale, *wanted)
        grads = [result if needed else None for result, needed in zip(results, wanted, strict=True)]
    grad_bias = grad.sum((0, 2, 3), dtype=ctx.bias_dtype) if bias_wanted else None
    return grads[0], grads[1], grad_bias, grads[2], None


motion_aware_conv2d_fused.register_autograd(_backward, setup_context=_setup_context)

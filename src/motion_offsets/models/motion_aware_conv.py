"""The motion-aware convolution (eq. 16): a 3x3 filter whose nine taps follow the motion instead of a square.

``y(p) = bias + sum_k weight_k x(p + alpha * offset_k(p))``, sampled bilinearly, features outside the image being zero
as in an ordinary convolution. Tap ``k = 3 * row + column`` of the filter takes the k-th offset, so the filter runs
along the exposure trajectory from its first to its last tap. On a CPU with numba and on a GPU with Triton the work
goes to the kernels behind ``kernels/motion_aware_operator.py``; everywhere else to the plain twin,
:func:`motion_aware_conv2d_plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadInputError
from ..exposure.full_precision import autocast_type, without_autocast
from ..exposure.sampling import forward_mode, sample, sample_by_index, second_derivative

try:
    from motion_offsets.kernels.motion_aware_operator import (
        fused,
        motion_aware_conv2d_backward,
        motion_aware_conv2d_fused,
    )
except ImportError:  # no package: remote code of the Hub

    def fused(x: Tensor, motion_offsets: Tensor) -> bool:
        return False

    motion_aware_conv2d_backward = None  # type: ignore[assignment]


TAPS = 9


def motion_aware_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor, scale: float = 0.1
) -> Tensor:
    """Motion-aware convolution, eq. 16.

    The offsets replace the filter's grid altogether: with ``motion_offsets[:, k] = (column - 1, row - 1) / scale`` at
    every pixel this is the ordinary 3x3 convolution with zero padding, and with zeros a 1x1 convolution.

    Args:
        x: features, ``(B, Cin, H, W)``.
        weight: ``(Cout, Cin, 3, 3)``.
        bias: ``(Cout,)`` or ``None``.
        motion_offsets: ``(B, 9, 2, H, W)``, dx and dy in pixels; tap ``3 * row + column`` takes that index.
        scale: the paper's alpha, by which offsets are multiplied.

    Returns:
        ``(B, Cout, H, W)`` in the type of ``x`` (under autocast in the autocast type), differentiable in all tensors.

    Raises:
        BadInputError: for shapes that do not fit each other.
    """
    _check(x, weight, bias, motion_offsets)
    dtype = autocast_type(x)
    if dtype is not None and x.dtype != torch.float64:
        # Offsets keep their precision: a bf16 position is off by pixels at the far end of a large photo.
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    # An exported graph must run where this package is not.
    if not torch.compiler.is_exporting() and not forward_mode() and fused(x, motion_offsets):
        return motion_aware_conv2d_fused(x, weight, bias, motion_offsets, scale)
    return motion_aware_conv2d_plain(x, weight, bias, motion_offsets, scale)


def motion_aware_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    motion_offsets: Tensor,
    scale: float = 0.1,
    sampled: Callable[[Tensor, Tensor, Tensor, str], Tensor] = sample,
) -> Tensor:
    """The plain PyTorch twin of the kernels: one ``grid_sample`` and one 1x1 convolution per tap, summed."""
    if x.numel() == 0:  # nothing to sample, but gradients still must find their way
        return torch.einsum("bchw,oc->bohw", x, weight.sum((2, 3)))
    height, width = x.shape[2:]
    # Positions need the mantissa that half precision lacks.
    work = torch.promote_types(torch.float32, torch.promote_types(x.dtype, motion_offsets.dtype))
    columns = torch.arange(width, dtype=work, device=x.device)
    rows = torch.arange(height, dtype=work, device=x.device)[:, None]
    held = x.to(work)
    # Two pixels outside everything is zero already; clamping there keeps huge offsets finite.
    across = (columns + scale * motion_offsets[:, :, 0].to(work)).clamp(-2, width + 1)
    down = (rows + scale * motion_offsets[:, :, 1].to(work)).clamp(-2, height + 1)
    total = weight.new_zeros(()) if bias is None else bias.view(-1, 1, 1)
    with nullcontext() if autocast_type(x) is None else without_autocast(x):
        taps = weight.flatten(2).permute(2, 0, 1)[..., None, None].unbind(0)
        for columns_of_tap, rows_of_tap, tap in zip(across.unbind(1), down.unbind(1), taps, strict=True):
            values = sampled(held, columns_of_tap, rows_of_tap, "zeros").to(x.dtype)
            total = total + functional.conv2d(values, tap)
    return total


def _keep_for_second_derivative(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    grad, x, weight, motion_offsets, ctx.scale, *_ = inputs
    ctx.save_for_backward(grad, x, weight, motion_offsets)


def _second_derivative(ctx: Any, *outer: Tensor) -> tuple:
    grad, x, weight, motion_offsets = ctx.saved_tensors

    def twin(x: Tensor, weight: Tensor, motion_offsets: Tensor) -> Tensor:
        return motion_aware_conv2d_plain(x, weight, None, motion_offsets, ctx.scale, sample_by_index)

    found = second_derivative(twin, (x, weight, motion_offsets), grad, outer)
    return (*found, None, None, None, None)


if motion_aware_conv2d_backward is not None:
    motion_aware_conv2d_backward.register_autograd(_second_derivative, setup_context=_keep_for_second_derivative)


class MotionAwareConv2d(nn.Conv2d):
    """A 3x3 convolution that takes motion offsets beside its features; parameters as in ``nn.Conv2d``."""

    def __init__(self, in_channels: int, out_channels: int, scale: float = 0.1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.scale = scale

    def forward(self, x: Tensor, motion_offsets: Tensor) -> Tensor:  # type: ignore[override]
        """``(B, Cin, H, W)`` and ``(B, 9, 2, H, W)`` to ``(B, Cout, H, W)``."""
        return motion_aware_conv2d(x, self.weight, self.bias, motion_offsets, self.scale)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor) -> None:
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[1] != x.shape[1] or tuple(weight.shape[2:]) != (3, 3):
        raise BadInputError(
            f"features {tuple(x.shape)} do not go with a filter {tuple(weight.shape)}; "
            "they must be (B, Cin, H, W) and (Cout, Cin, 3, 3)"
        )
    expected = (x.shape[0], TAPS, 2, x.shape[2], x.shape[3])
    if tuple(motion_offsets.shape) != expected:
        raise BadInputError(f"motion offsets have shape {tuple(motion_offsets.shape)}; these features need {expected}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise BadInputError(f"bias has shape {tuple(bias.shape)}; this filter needs ({weight.shape[0]},)")

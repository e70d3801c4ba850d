"""Total variation of the offsets (eq. 10) and its gradient to the control points, in one pass over the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compilation import jit
from .threads import block_bounds, run_blocks


@jit(fastmath=True)
def _variation(points, basis, share_x, share_y, sums, grad, block, start, stop):
    """Blocks are whole (image, axis) planes, so no two threads write the same gradient."""
    count, used = basis.shape
    height, width = points.shape[3:]
    zero = points.dtype.type(0)
    total = 0.0
    for plane in range(start, stop):
        b, c = plane // 2, plane % 2
        for y in range(height):
            for x in range(width):
                for axis in range(2):
                    ny, nx = (y, x + 1) if axis == 0 else (y + 1, x)
                    if ny >= height or nx >= width:
                        continue
                    share = share_x if axis == 0 else share_y
                    d0 = points[b, 0, c, ny, nx] - points[b, 0, c, y, x]
                    d1 = points[b, 1, c, ny, nx] - points[b, 1, c, y, x] if used > 1 else zero
                    d2 = points[b, 2, c, ny, nx] - points[b, 2, c, y, x] if used > 2 else zero
                    variation = s0 = s1 = s2 = zero
                    for n in range(count):
                        b1 = basis[n, 1] if used > 1 else zero
                        b2 = basis[n, 2] if used > 2 else zero
                        value = basis[n, 0] * d0 + b1 * d1 + b2 * d2
                        sign = points.dtype.type(value > 0) - points.dtype.type(value < 0)
                        variation += abs(value)
                        s0 += sign * basis[n, 0]
                        s1 += sign * b1
                        s2 += sign * b2
                    total += variation * share
                    grad[b, 0, c, ny, nx] += s0 * share
                    grad[b, 0, c, y, x] -= s0 * share
                    if used > 1:
                        grad[b, 1, c, ny, nx] += s1 * share
                        grad[b, 1, c, y, x] -= s1 * share
                    if used > 2:
                        grad[b, 2, c, ny, nx] += s2 * share
                        grad[b, 2, c, y, x] -= s2 * share
    sums[block] = total


@torch.library.custom_op("motion_offsets::variation", mutates_args=(), device_types="cpu")
def _variation_with_gradient(control_points: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if control_points.dtype is torch.float64 else torch.float32
    points = control_points.detach().to(dtype).unflatten(1, (-1, 2)).contiguous().numpy()
    weights = basis.detach().to(dtype).contiguous().numpy()
    batch, _, _, height, width = points.shape
    grad = np.zeros_like(points)
    across, down = (batch * 2 * height * (width - 1) * len(basis), batch * 2 * (height - 1) * width * len(basis))
    shares = [points.dtype.type(1 / max(1, number)) for number in (across, down)]
    bounds = {start: block for block, (start, _) in enumerate(block_bounds(2 * batch))}
    sums = np.zeros(len(bounds))
    run_blocks(lambda i, j: _variation(points, weights, *shares, sums, grad, bounds[i], i, j), 2 * batch)
    return torch.tensor(sums.sum(), dtype=dtype), torch.from_numpy(grad).flatten(1, 2).to(control_points.dtype)


@_variation_with_gradient.register_fake
def _(control_points: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if control_points.dtype is torch.float64 else torch.float32
    return control_points.new_empty((), dtype=dtype), torch.empty_like(
        control_points, memory_format=torch.contiguous_format
    )


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
    return grad * ctx.saved_tensors[0], None


_variation_with_gradient.register_autograd(_backward, setup_context=_setup_context)


def variation_cpu(control_points: Tensor, basis: Tensor) -> Tensor:
    """The fused twin of :func:`motion_offsets.exposure.losses.total_variation_plain`."""
    return _variation_with_gradient(control_points, basis)[0]


def check() -> None:
    """Raise unless the variation of a ramp across, 1 a pixel, is 1 for dx and 0 for dy: half on average."""
    points = torch.zeros(1, 2, 4, 8, dtype=torch.float32)
    points[0, 0] = torch.arange(8, dtype=torch.float32)
    total = variation_cpu(points, torch.ones(1, 1, dtype=torch.float32))
    torch.testing.assert_close(total, torch.tensor(0.5, dtype=total.dtype))

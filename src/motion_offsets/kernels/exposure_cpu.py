"""The exposure average as one fused loop on the CPU, with its gradients (eq. 3, 4 with 12-14).

For every output pixel all N samples are taken in one go: the trajectory is evaluated from the control points in
registers, so neither offsets nor frames are ever stored, and the gradient to the control points is accumulated in the
same pass. The image is held as padded rows of four interleaved channels, so a pixel is one vector load.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from .threads import run_blocks

# Three control points are held in registers; trajectories with more are explicit offsets, one point a sample.
MAX_POINTS = 3
LANES = 4
PAD_BEFORE, PAD_AFTER = 1, 2
# Four channels of a pixel are one vector: the compiler only sees that with this pass, which numba leaves off.
numba.config.SLP_VECTORIZE = 1
# Unsigned indices spare the loops numba's test for negative ones.
U1, U2, U3, U4, U5, U6, U7 = (np.uint64(lane) for lane in range(1, 8))
_jit: Callable[..., Any] = functools.partial(numba.njit, nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"})


@_jit(inline="always")
def _place(position, low, high, real):
    """Clamp a padded coordinate into [low, high]: its cell, the fraction within it, and whether it was inside."""
    # Written so that NaN lands on `low`, which max() does not promise; the cast truncates, which is floor as padded
    # coordinates are positive.
    clamped = position if position > low else low
    clamped = clamped if clamped < high else high
    cell = np.int32(clamped)
    return np.uint64(cell), clamped - real(cell), low < position < high


@_jit()
def _forward(image, sizes, points, basis, identity, repeat, margin, bounds, out, start, stop):
    count, (height, width) = np.uint32(basis.shape[0]), points.shape[3:]
    low, high_y, high_x = bounds
    real = basis.dtype.type
    stride = np.uint64(sizes[1] * LANES)
    one, zero = real(1), real(0)
    scale = one / real(basis.shape[0])
    for row in range(start, stop):
        b, y = row // height, row % height
        base = np.uint64((b // repeat) * sizes[0] * sizes[1] * LANES)
        for x in range(width):
            px, py = real(x) + margin, real(y) + margin
            x1, y1 = points[b, 0, 0, y, x], points[b, 0, 1, y, x]
            x2 = y2 = x3 = y3 = zero
            if not identity and points.shape[1] > 1:
                x2, y2 = points[b, 1, 0, y, x], points[b, 1, 1, y, x]
            if not identity and points.shape[1] > 2:
                x3, y3 = points[b, 2, 0, y, x], points[b, 2, 1, y, x]
            a0 = a1 = a2 = a3 = zero
            for n in range(count):
                if identity:
                    dx, dy = points[b, n, 0, y, x], points[b, n, 1, y, x]
                else:
                    dx = basis[n, 0] * x1 + basis[n, 1] * x2 + basis[n, 2] * x3
                    dy = basis[n, 0] * y1 + basis[n, 1] * y2 + basis[n, 2] * y3
                cx, fx, _ = _place(px + dx, low, high_x, real)
                cy, fy, _ = _place(py + dy, low, high_y, real)
                w11 = fx * fy
                w10 = fy - w11
                w01 = fx - w11
                w00 = one - fx - w10
                p = base + cy * stride + cx * U4
                q = p + stride
                a0 += w00 * image[p] + w01 * image[p + U4] + w10 * image[q] + w11 * image[q + U4]
                a1 += w00 * image[p + U1] + w01 * image[p + U5] + w10 * image[q + U1] + w11 * image[q + U5]
                a2 += w00 * image[p + U2] + w01 * image[p + U6] + w10 * image[q + U2] + w11 * image[q + U6]
                a3 += w00 * image[p + U3] + w01 * image[p + U7] + w10 * image[q + U3] + w11 * image[q + U7]
            out[b, y, x, 0] = a0 * scale
            out[b, y, x, 1] = a1 * scale
            out[b, y, x, 2] = a2 * scale
            out[b, y, x, 3] = a3 * scale


@_jit()
def _backward_points(image, sizes, points, basis, identity, repeat, margin, bounds, grad, grad_points, start, stop):
    """Slopes of the image are summed a channel at a time, weighted by the basis; the gradient comes in at the end."""
    count, (height, width) = np.uint32(basis.shape[0]), points.shape[3:]
    low, high_y, high_x = bounds
    real = basis.dtype.type
    stride = np.uint64(sizes[1] * LANES)
    zero = real(0)
    scale = real(1) / real(basis.shape[0])
    used = points.shape[1]
    for row in range(start, stop):
        b, y = row // height, row % height
        base = np.uint64((b // repeat) * sizes[0] * sizes[1] * LANES)
        for x in range(width):
            px, py = real(x) + margin, real(y) + margin
            g0, g1 = grad[b, y, x, 0] * scale, grad[b, y, x, 1] * scale
            g2, g3 = grad[b, y, x, 2] * scale, grad[b, y, x, 3] * scale
            x1, y1 = points[b, 0, 0, y, x], points[b, 0, 1, y, x]
            x2 = y2 = x3 = y3 = zero
            if not identity and used > 1:
                x2, y2 = points[b, 1, 0, y, x], points[b, 1, 1, y, x]
            if not identity and used > 2:
                x3, y3 = points[b, 2, 0, y, x], points[b, 2, 1, y, x]
            u0 = u1 = u2 = u3 = v0 = v1 = v2 = v3 = zero
            r0 = r1 = r2 = r3 = s0 = s1 = s2 = s3 = zero
            gx3 = gy3 = zero
            for n in range(count):
                if identity:
                    dx, dy = points[b, n, 0, y, x], points[b, n, 1, y, x]
                    c1 = c2 = c3 = zero
                else:
                    c1, c2, c3 = basis[n, 0], basis[n, 1], basis[n, 2]
                    dx = c1 * x1 + c2 * x2 + c3 * x3
                    dy = c1 * y1 + c2 * y2 + c3 * y3
                cx, fx, inside_x = _place(px + dx, low, high_x, real)
                cy, fy, inside_y = _place(py + dy, low, high_y, real)
                keep_x, keep_y = real(inside_x), real(inside_y)
                p = base + cy * stride + cx * U4
                q = p + stride
                d0 = image[q + U4] - image[q] - image[p + U4] + image[p]
                d1 = image[q + U5] - image[q + U1] - image[p + U5] + image[p + U1]
                d2 = image[q + U6] - image[q + U2] - image[p + U6] + image[p + U2]
                d3 = image[q + U7] - image[q + U3] - image[p + U7] + image[p + U3]
                a0 = (image[p + U4] - image[p] + fy * d0) * keep_x
                a1 = (image[p + U5] - image[p + U1] + fy * d1) * keep_x
                a2 = (image[p + U6] - image[p + U2] + fy * d2) * keep_x
                a3 = (image[p + U7] - image[p + U3] + fy * d3) * keep_x
                e0 = (image[q] - image[p] + fx * d0) * keep_y
                e1 = (image[q + U1] - image[p + U1] + fx * d1) * keep_y
                e2 = (image[q + U2] - image[p + U2] + fx * d2) * keep_y
                e3 = (image[q + U3] - image[p + U3] + fx * d3) * keep_y
                if identity:
                    grad_points[b, n, 0, y, x] += g0 * a0 + g1 * a1 + g2 * a2 + g3 * a3
                    grad_points[b, n, 1, y, x] += g0 * e0 + g1 * e1 + g2 * e2 + g3 * e3
                else:
                    u0 += c1 * a0
                    u1 += c1 * a1
                    u2 += c1 * a2
                    u3 += c1 * a3
                    v0 += c1 * e0
                    v1 += c1 * e1
                    v2 += c1 * e2
                    v3 += c1 * e3
                    r0 += c2 * a0
                    r1 += c2 * a1
                    r2 += c2 * a2
                    r3 += c2 * a3
                    s0 += c2 * e0
                    s1 += c2 * e1
                    s2 += c2 * e2
                    s3 += c2 * e3
                    if used > 2:
                        gx3 += c3 * (g0 * a0 + g1 * a1 + g2 * a2 + g3 * a3)
                        gy3 += c3 * (g0 * e0 + g1 * e1 + g2 * e2 + g3 * e3)
            if not identity:
                grad_points[b, 0, 0, y, x] += g0 * u0 + g1 * u1 + g2 * u2 + g3 * u3
                grad_points[b, 0, 1, y, x] += g0 * v0 + g1 * v1 + g2 * v2 + g3 * v3
                if used > 1:
                    grad_points[b, 1, 0, y, x] += g0 * r0 + g1 * r1 + g2 * r2 + g3 * r3
                    grad_points[b, 1, 1, y, x] += g0 * s0 + g1 * s1 + g2 * s2 + g3 * s3
                if used > 2:
                    grad_points[b, 2, 0, y, x] += gx3
                    grad_points[b, 2, 1, y, x] += gy3


@_jit()
def _backward_image(sizes, points, basis, identity, repeat, margin, bounds, grad, target, start, stop):
    """Scatter into ``target``; blocks are whole images, so no two threads write the same pixel."""
    count, (height, width) = np.uint32(basis.shape[0]), points.shape[3:]
    low, high_y, high_x = bounds
    real = basis.dtype.type
    stride = np.uint64(sizes[1] * LANES)
    one, zero = real(1), real(0)
    scale = one / real(basis.shape[0])
    for b in range(start * repeat, stop * repeat):
        base = np.uint64((b // repeat) * sizes[0] * sizes[1] * LANES)
        for y in range(height):
            for x in range(width):
                for n in range(count):
                    dx = dy = zero
                    if identity:
                        dx, dy = points[b, n, 0, y, x], points[b, n, 1, y, x]
                    else:
                        for k in range(points.shape[1]):
                            dx += basis[n, k] * points[b, k, 0, y, x]
                            dy += basis[n, k] * points[b, k, 1, y, x]
                    cx, fx, _ = _place(real(x) + margin + dx, low, high_x, real)
                    cy, fy, _ = _place(real(y) + margin + dy, low, high_y, real)
                    p = base + cy * stride + cx * U4
                    q = p + stride
                    for c in range(LANES):
                        g = grad[b, y, x, c] * scale
                        lane = np.uint64(c)
                        target[p + lane] += (one - fx) * (one - fy) * g
                        target[p + U4 + lane] += fx * (one - fy) * g
                        target[q + lane] += (one - fx) * fy * g
                        target[q + U4 + lane] += fx * fy * g


def _interleave(tensor: Tensor, dtype: torch.dtype, padding: str | None = None) -> list[np.ndarray]:
    """``(B, C, H, W)`` as groups of ``(B, H, W, 4)``, the last filled with zeros; rows and columns padded if asked."""
    # In NumPy: these copies are too small to be worth waking PyTorch's threads for.
    array = tensor.detach().to(dtype).numpy()
    before, after = (PAD_BEFORE, PAD_AFTER) if padding else (0, 0)
    batch, channels, height, width = array.shape
    groups = []
    for first in range(0, channels, LANES):
        group = np.moveaxis(array[:, first : first + LANES], 1, -1)
        held = np.zeros((batch, height + before + after, width + before + after, LANES), array.dtype)
        held[:, before : before + height, before : before + width, : group.shape[-1]] = group
        if padding == "border":
            held[:, :, 0], held[:, :, width + 1 :] = held[:, :, 1], held[:, :, width : width + 1]
            held[:, 0], held[:, height + 1 :] = held[:, 1], held[:, height : height + 1]
        groups.append(held)
    return groups


class _Problem:
    """One call's arrays in the kernels' layout."""

    def __init__(self, sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> None:
        double = torch.float64 in (sharp.dtype, control_points.dtype)
        self.dtype = torch.float64 if double else torch.float32
        self.identity = basis.shape[1] > MAX_POINTS or (basis.shape[0] == 1 and basis.shape[1] == 1)
        points = control_points.detach().to(self.dtype).unflatten(1, (-1, 2))
        self.basis_is_eye = (
            self.identity and basis.shape[0] == basis.shape[1] and bool((basis == torch.eye(len(basis))).all())
        )
        if self.identity and not self.basis_is_eye:
            points = torch.einsum("nk,bkchw->bnchw", basis.to(self.dtype), points)
        self.points = points.contiguous().numpy()
        held = torch.zeros(basis.shape[0], MAX_POINTS, dtype=self.dtype)
        if not self.identity:
            held[:, : basis.shape[1]] = basis
        self.basis = held.numpy()
        self.repeat = control_points.shape[0] // sharp.shape[0]
        self.margin = self.dtype_of((sharp.shape[2] - control_points.shape[2]) // 2 + PAD_BEFORE)
        last_y, last_x = sharp.shape[2] - 1, sharp.shape[3] - 1
        edges = (-1, last_y + 1, last_x + 1) if zeros else (0, last_y, last_x)
        self.bounds = tuple(self.dtype_of(edge + PAD_BEFORE) for edge in edges)
        self.rows = control_points.shape[0] * control_points.shape[2]

    def dtype_of(self, value: float) -> Any:
        return (np.float64 if self.dtype is torch.float64 else np.float32)(value)

    @property
    def common(self) -> tuple:
        return self.points, self.basis, self.identity, self.repeat, self.margin, self.bounds


@torch.library.custom_op("motion_offsets::expose", mutates_args=(), device_types="cpu")
def expose_cpu(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    """The fused twin of :func:`motion_offsets.exposure.expose_plain`."""
    problem = _Problem(sharp, control_points, basis, zeros)
    batch, _, height, width = control_points.shape
    outs = []
    for image in _interleave(sharp, problem.dtype, "zeros" if zeros else "border"):
        out = np.empty((batch, height, width, LANES), image.dtype)
        arguments = (image.reshape(-1), image.shape[1:3], *problem.common, out)
        run_blocks(functools.partial(_forward, *arguments), problem.rows, 8)
        outs.append(torch.from_numpy(out))
    merged = outs[0] if len(outs) == 1 else torch.cat(outs, -1)
    return (
        merged[..., : sharp.shape[1]]
        .permute(0, 3, 1, 2)
        .to(sharp.dtype, memory_format=torch.contiguous_format, copy=True)
    )


@expose_cpu.register_fake
def _(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    return sharp.new_empty(control_points.shape[0], sharp.shape[1], *control_points.shape[2:])


@torch.library.custom_op("motion_offsets::expose_backward", mutates_args=(), device_types="cpu")
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
    problem = _Problem(sharp, control_points, basis, zeros)
    grad_points = np.zeros(problem.points.shape if want_points else (0,), problem.points.dtype)
    grad_images = []
    images = _interleave(sharp, problem.dtype, "zeros" if zeros else "border")
    for image, gradient in zip(images, _interleave(grad, problem.dtype), strict=True):
        if want_points:
            arguments = (image.reshape(-1), image.shape[1:3], *problem.common, gradient, grad_points)
            run_blocks(functools.partial(_backward_points, *arguments), problem.rows, 8)
        if want_sharp:
            target = np.zeros_like(image)
            scatter = (image.shape[1:3], *problem.common, gradient, target.reshape(-1))
            run_blocks(functools.partial(_backward_image, *scatter), sharp.shape[0])
            # Samples outside are clamped to the border pixel or fall on zeros: the padding's share is nobody's.
            grad_images.append(torch.from_numpy(target[:, PAD_BEFORE:-PAD_AFTER, PAD_BEFORE:-PAD_AFTER]))
    grad_sharp = sharp.new_empty(0)
    if want_sharp:
        merged = torch.cat(grad_images, -1)[..., : sharp.shape[1]]
        grad_sharp = merged.permute(0, 3, 1, 2).to(sharp.dtype, memory_format=torch.contiguous_format, copy=True)
    if not want_points:
        return grad_sharp, control_points.new_empty(0)
    gradient_points = torch.from_numpy(grad_points)
    if problem.identity and not problem.basis_is_eye:
        gradient_points = torch.einsum("nk,bnchw->bkchw", basis.to(problem.dtype), gradient_points)
    return grad_sharp, gradient_points.flatten(1, 2).to(control_points.dtype)


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


expose_cpu.register_autograd(_backward, setup_context=_setup_context)

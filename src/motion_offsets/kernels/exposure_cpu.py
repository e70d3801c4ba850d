"""The exposure average as one fused loop on the CPU, with its gradients (eq. 3, 4 with 12-14).

For every output pixel all N samples are taken in one go: the trajectory is evaluated from the control points a few
dozen pixels at a time, so neither offsets nor frames are ever stored, and the gradient to the control points is
accumulated in the same pass. The image is held as padded rows of four interleaved channels, so that the two pixels
of a sample's row are one vector of eight numbers (see ``lanes.py``).
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compilation import jit
from .lanes import COUNT, between, clamp, floor, load, splat, store, store_cells, total
from .threads import run_blocks

# Three control points are held in registers; trajectories with more are explicit offsets, one point a sample.
MAX_POINTS = 3
CHANNELS = 4
PAD_BEFORE, PAD_AFTER = 1, 2
BLOCK = 32  # pixels of a row whose samples are placed before they are taken: all of it stays in the first-level cache
# Unsigned indices spare the loops numba's test for negative ones.
_ZERO, _ONE, _TWO, _THREE, _FOUR, _EIGHT = (np.uint64(number) for number in (0, 1, 2, 3, CHANNELS, COUNT))
_BLOCK = np.uint64(BLOCK)
_jit: Callable[..., Any] = functools.partial(jit, fastmath={"contract", "nsz", "arcp"})


@_jit()
def _interleave(planes, border, held, start, stop):
    """At most four channels of ``(B, C, H, W)`` as padded rows ``(B, H', W', 4)``, zeros where there is none."""
    _, rows, columns, _ = held.shape
    height, width = rows - PAD_BEFORE - PAD_AFTER, columns - PAD_BEFORE - PAD_AFTER
    zero = planes.dtype.type(0)
    for row in range(start, stop):
        b, y = row // rows, row % rows - PAD_BEFORE
        inside = 0 <= y < height
        y = min(max(y, 0), height - 1)
        for lane in range(CHANNELS):
            here = lane < planes.shape[1] and (inside or border)
            for x in range(width):
                held[b, row % rows, x + PAD_BEFORE, lane] = planes[b, lane, y, x] if here else zero
            left = held[b, row % rows, PAD_BEFORE, lane]
            right = held[b, row % rows, PAD_BEFORE + width - 1, lane]
            for x in range(PAD_BEFORE):
                held[b, row % rows, x, lane] = left if border else zero
            for x in range(PAD_AFTER):
                held[b, row % rows, PAD_BEFORE + width + x, lane] = right if border else zero


@_jit()
def _scratch(basis):
    """One thread's memory: the points of a block, its samples' cells and parts, eight numbers, and the slant.

    Half of ``1 - slant`` is 1 in the lanes of the left pixel and 0 in those of the right one.
    """
    count, slant = basis.shape[0], np.empty(COUNT, basis.dtype)
    for lane in range(COUNT):
        slant[lane] = basis.dtype.type(-1 if lane < CHANNELS else 1)
    points = np.zeros(2 * MAX_POINTS * BLOCK, basis.dtype)
    return points, np.empty(count * BLOCK, np.int32), np.empty(4 * count * BLOCK, basis.dtype), slant.copy(), slant


@_jit()
def _place(points, layout, basis, spot, corner, bounds, stride, size, held, cells, parts, gradient):
    """Where the samples of ``size`` pixels of a row lie.

    ``spot`` is the index of the first pixel's dx in ``points``, ``corner`` its padded position. For every sample, in
    rows of ``BLOCK``, are written: in ``cells`` the number of the padded pixel up left of it, and in ``parts`` how far
    it lies from there across and down, then, for a gradient, whether it follows its offset across and down.
    """
    used, area, _, identity = layout
    real, count = basis.dtype.type, np.uint64(basis.shape[0])
    low, high_y, high_x = splat(bounds[0]), splat(bounds[1]), splat(bounds[2])
    row_length, samples = splat(stride), count * _BLOCK
    for lane in range(COUNT):
        held[lane] = real(lane)
    steps = load(held, _ZERO)
    for n in range(count):
        if identity or n == 0:
            first, rows = (n * _TWO, _TWO) if identity else (_ZERO, used * _TWO)
            for row in range(rows):
                source, target = spot + (first + row) * area, row * _BLOCK
                for i in range(size):
                    held[target + i] = points[source + i]
        c1, c2, c3 = splat(basis[n, 0]), splat(basis[n, 1]), splat(basis[n, 2])
        for i in range(_ZERO, size, _EIGHT):
            j = i + _BLOCK
            dx = c1 * load(held, i) + c2 * load(held, i + _TWO * _BLOCK) + c3 * load(held, i + _FOUR * _BLOCK)
            dy = c1 * load(held, j) + c2 * load(held, j + _TWO * _BLOCK) + c3 * load(held, j + _FOUR * _BLOCK)
            x, y = splat(corner[0] + real(i)) + steps + dx, splat(corner[1]) + dy
            inside_x, inside_y = clamp(x, low, high_x), clamp(y, low, high_y)
            column, line = floor(inside_x), floor(inside_y)
            sample = n * _BLOCK + i
            store_cells(cells, sample, line, column, row_length)
            store(parts, sample, inside_x - column)
            store(parts, sample + samples, inside_y - line)
            if gradient:
                store(parts, sample + _TWO * samples, between(x, low, high_x))
                store(parts, sample + _THREE * samples, between(y, low, high_y))


@_jit()
def _forward(image, sizes, points, layout, basis, repeat, margin, bounds, out, start, stop):
    """``out``: ``(B, C, H, W)``, at most four channels."""
    _, channels, height, width = out.shape
    real, count = basis.dtype.type, np.uint64(basis.shape[0])
    samples, below = count * _BLOCK, np.uint64(sizes[1] * CHANNELS)
    scale = real(1) / real(count)
    held, cells, parts, eight, slants = _scratch(basis)
    half, slant = splat(real(0.5)), load(slants, _ZERO)
    left = half - half * slant
    for x in range(0, width, BLOCK):  # narrow columns, so that a row finds the pixels of the last one in the cache
        size = np.uint64(min(BLOCK, width - x))
        for row in range(start, stop):
            b, y = row // height, row % height
            base = np.uint64((b // repeat) * sizes[0] * sizes[1] * CHANNELS)
            spot = np.uint64(b) * layout[2] + np.uint64(y * width + x)
            corner = (real(x) + margin, real(y) + margin)
            _place(points, layout, basis, spot, corner, bounds, real(sizes[1]), size, held, cells, parts, False)
            for i in range(size):
                mean = half - half
                for sample in range(i, samples, _BLOCK):
                    p = base + np.uint64(np.uint32(cells[sample])) * _FOUR
                    upper = load(image, p)
                    mixed = upper + splat(parts[sample + samples]) * (load(image, p + below) - upper)
                    mean = mean + mixed * (left + splat(parts[sample]) * slant)
                store(eight, _ZERO, mean)
                for c in range(channels):
                    out[b, c, y, np.uint64(x) + i] = (eight[c] + eight[c + CHANNELS]) * scale


@_jit()
def _backward_points(image, sizes, points, layout, basis, repeat, margin, bounds, grad, grad_points, start, stop):
    """Slopes of the image are summed weighted by the basis; the gradient comes in at the end. Adds to its output."""
    _, channels, height, width = grad.shape
    used, area, step, identity = layout
    real, count = basis.dtype.type, np.uint64(basis.shape[0])
    samples, below = count * _BLOCK, np.uint64(sizes[1] * CHANNELS)
    scale = real(1) / real(count)
    held, cells, parts, eight, slants = _scratch(basis)
    half, slant = splat(real(0.5)), load(slants, _ZERO)
    left = half - half * slant
    eight[:] = real(0)
    for x in range(0, width, BLOCK):  # narrow columns, so that a row finds the pixels of the last one in the cache
        size = np.uint64(min(BLOCK, width - x))
        for row in range(start, stop):
            b, y = row // height, row % height
            base = np.uint64((b // repeat) * sizes[0] * sizes[1] * CHANNELS)
            spot = np.uint64(b) * step + np.uint64(y * width + x)
            corner = (real(x) + margin, real(y) + margin)
            _place(points, layout, basis, spot, corner, bounds, real(sizes[1]), size, held, cells, parts, True)
            for i in range(size):
                for c in range(channels):
                    eight[c] = eight[c + CHANNELS] = grad[b, c, y, np.uint64(x) + i] * scale
                grad_y = load(eight, _ZERO)
                grad_x = grad_y * slant
                x1 = y1 = x2 = y2 = x3 = y3 = half - half
                n, target = _ZERO, spot + i
                for sample in range(i, samples, _BLOCK):
                    p = base + np.uint64(np.uint32(cells[sample])) * _FOUR
                    upper = load(image, p)
                    drop = load(image, p + below) - upper
                    across = splat(parts[sample + _TWO * samples]) * (upper + splat(parts[sample + samples]) * drop)
                    down = splat(parts[sample + _THREE * samples]) * (drop * (left + splat(parts[sample]) * slant))
                    if identity:
                        index = target + n * _TWO * area
                        grad_points[index] += total(across * grad_x)
                        grad_points[index + area] += total(down * grad_y)
                    else:
                        c1, c2 = splat(basis[n, 0]), splat(basis[n, 1])
                        x1, y1 = x1 + c1 * across, y1 + c1 * down
                        x2, y2 = x2 + c2 * across, y2 + c2 * down
                        if used > 2:
                            c3 = splat(basis[n, 2])
                            x3, y3 = x3 + c3 * across, y3 + c3 * down
                    n += _ONE
                if not identity:
                    grad_points[target] += total(x1 * grad_x)
                    grad_points[target + area] += total(y1 * grad_y)
                    if used > 1:
                        grad_points[target + _TWO * area] += total(x2 * grad_x)
                        grad_points[target + _THREE * area] += total(y2 * grad_y)
                    if used > 2:
                        grad_points[target + _FOUR * area] += total(x3 * grad_x)
                        grad_points[target + (_FOUR + _ONE) * area] += total(y3 * grad_y)


@_jit()
def _backward_image(sizes, points, layout, basis, repeat, margin, bounds, grad, target, start, stop):
    """Scatter into ``target``; blocks are whole images, so no two threads write the same pixel."""
    _, channels, height, width = grad.shape
    real, count = basis.dtype.type, np.uint64(basis.shape[0])
    samples, below = count * _BLOCK, np.uint64(sizes[1] * CHANNELS)
    scale = real(1) / real(count)
    held, cells, parts, eight, slants = _scratch(basis)
    half, slant = splat(real(0.5)), load(slants, _ZERO)
    left = half - half * slant
    eight[:] = real(0)
    for x in range(0, width, BLOCK):  # narrow columns, so that a row finds the pixels of the last one in the cache
        size = np.uint64(min(BLOCK, width - x))
        for row in range(start * repeat * height, stop * repeat * height):
            b, y = row // height, row % height
            base = np.uint64((b // repeat) * sizes[0] * sizes[1] * CHANNELS)
            spot = np.uint64(b) * layout[2] + np.uint64(y * width + x)
            corner = (real(x) + margin, real(y) + margin)
            _place(points, layout, basis, spot, corner, bounds, real(sizes[1]), size, held, cells, parts, False)
            for i in range(size):
                for c in range(channels):
                    eight[c] = eight[c + CHANNELS] = grad[b, c, y, np.uint64(x) + i] * scale
                shared = load(eight, _ZERO)
                for sample in range(i, samples, _BLOCK):
                    p = base + np.uint64(np.uint32(cells[sample])) * _FOUR
                    whole = shared * (left + splat(parts[sample]) * slant)
                    lower = whole * splat(parts[sample + samples])
                    store(target, p, load(target, p) + (whole - lower))
                    store(target, p + below, load(target, p + below) + lower)


class _Workspace(threading.local):
    """Memory that a thread keeps from call to call: fresh pages cost more than what is done in them."""

    LARGEST = 1 << 26  # bytes; what is larger is given back after the call

    def __init__(self) -> None:
        self.kept = np.empty(0, np.uint8)

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Uninitialised, and only until the same thread's next call."""
        size = math.prod(shape) * dtype.itemsize
        if size > self.LARGEST:
            return np.empty(shape, dtype)
        if size > self.kept.size:
            self.kept = np.empty(size, np.uint8)
        return self.kept[:size].view(dtype).reshape(shape)


_workspace = _Workspace()


def _planes(tensor: Tensor, dtype: torch.dtype) -> np.ndarray:
    return tensor.detach().to(dtype).contiguous().numpy()


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
        self.basis = np.zeros((basis.shape[0], MAX_POINTS), self.points.dtype)
        if self.identity:
            self.basis[:, 0] = 1
        else:
            self.basis[:, : basis.shape[1]] = basis.detach().numpy()
        self.zeros = zeros
        self.repeat = control_points.shape[0] // sharp.shape[0]
        self.margin = self.number((sharp.shape[2] - control_points.shape[2]) // 2 + PAD_BEFORE)
        last_y, last_x = sharp.shape[2] - 1, sharp.shape[3] - 1
        edges = (-1, last_y + 1, last_x + 1) if zeros else (0, last_y, last_x)
        self.bounds = tuple(self.number(edge + PAD_BEFORE) for edge in edges)
        self.rows = control_points.shape[0] * control_points.shape[2]
        batch, _, height, width = sharp.shape
        pad = PAD_BEFORE + PAD_AFTER
        self.held_shape = (batch, height + pad, width + pad, CHANNELS)

    def number(self, value: float) -> Any:
        return self.points.dtype.type(value)

    @property
    def common(self) -> tuple:
        """What every kernel is told after its image: points and basis, their layout, where samples may lie."""
        used, area = self.points.shape[1], self.points[0, 0, 0].size
        sizes = (np.uint64(number) for number in (used, area, 2 * used * area))
        return self.points.reshape(-1), (*sizes, self.identity), self.basis, self.repeat, self.margin, self.bounds

    def groups(self, channels: int) -> list[slice]:
        return [slice(first, min(first + CHANNELS, channels)) for first in range(0, channels, CHANNELS)]

    def padded(self, planes: np.ndarray) -> np.ndarray:
        """At most four channels of the image, interleaved and with a border."""
        held = _workspace.take(self.held_shape, planes.dtype)
        arguments = (planes, not self.zeros, held)
        run_blocks(functools.partial(_interleave, *arguments), held.shape[0] * held.shape[1], 64)
        return held


def forward(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    """``motion_offsets::expose`` on a CPU."""
    problem = _Problem(sharp, control_points, basis, zeros)
    planes = _planes(sharp, problem.dtype)
    batch, _, height, width = control_points.shape
    out = torch.empty(batch, sharp.shape[1], height, width, dtype=problem.dtype)
    for group in problem.groups(sharp.shape[1]):
        image = problem.padded(planes[:, group])
        arguments = (image.reshape(-1), image.shape[1:3], *problem.common, out.numpy()[:, group])
        run_blocks(functools.partial(_forward, *arguments), problem.rows, 8)
    return out.to(sharp.dtype)


def backward(
    grad: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    zeros: bool,
    want_sharp: bool,
    want_points: bool,
) -> tuple[Tensor, Tensor]:
    """``motion_offsets::expose_backward`` on a CPU."""
    problem = _Problem(sharp, control_points, basis, zeros)
    planes, gradients = _planes(sharp, problem.dtype), _planes(grad, problem.dtype)
    grad_points = np.zeros(problem.points.size if want_points else 0, problem.points.dtype)
    grad_sharp = torch.empty_like(sharp, memory_format=torch.contiguous_format) if want_sharp else sharp.new_empty(0)
    for group in problem.groups(sharp.shape[1]):
        gradient = gradients[:, group]
        if want_points:
            image = problem.padded(planes[:, group])
            arguments = (image.reshape(-1), image.shape[1:3], *problem.common, gradient, grad_points)
            run_blocks(functools.partial(_backward_points, *arguments), problem.rows, 8)
        if want_sharp:
            target = _workspace.take(problem.held_shape, planes.dtype)
            target.fill(0)
            scatter = (target.shape[1:3], *problem.common, gradient, target.reshape(-1))
            run_blocks(functools.partial(_backward_image, *scatter), sharp.shape[0])
            # Samples outside are clamped to the border pixel or fall on zeros: the padding's share is nobody's.
            inner = target[:, PAD_BEFORE:-PAD_AFTER, PAD_BEFORE:-PAD_AFTER, : gradient.shape[1]]
            grad_sharp[:, group] = torch.from_numpy(inner).permute(0, 3, 1, 2)
    if not want_points:
        return grad_sharp, control_points.new_empty(0)
    gradient_points = torch.from_numpy(grad_points.reshape(problem.points.shape))
    if problem.identity and not problem.basis_is_eye:
        gradient_points = torch.einsum("nk,bnchw->bkchw", basis.to(problem.dtype), gradient_points)
    return grad_sharp, gradient_points.flatten(1, 2).to(control_points.dtype)


def _tiny() -> tuple[Tensor, Tensor, Tensor]:
    """A ramp of 4x8 pixels, a motion that stands still, and two times."""
    sharp = torch.arange(32, dtype=torch.float32).view(1, 1, 4, 8)
    return sharp, torch.zeros(1, 4, 4, 8, dtype=torch.float32), torch.eye(2, dtype=torch.float32)


def check() -> None:
    """Raise unless standing still leaves a picture as it is."""
    sharp, points, basis = _tiny()
    torch.testing.assert_close(forward(sharp, points, basis, False), sharp)


def check_backward() -> None:
    """Raise unless :func:`check` passes, and gradients are those of a picture that is left as it is."""
    check()
    sharp, points, basis = _tiny()
    grad_sharp, grad_points = backward(torch.ones_like(sharp), sharp, points, basis, False, True, True)
    torch.testing.assert_close(grad_sharp, torch.ones_like(sharp))
    # The ramp grows by 1 a column, and each of two times counts half.
    torch.testing.assert_close(grad_points[0, 0, :, 1:-1], torch.full((4, 6), 0.5, dtype=torch.float32))

"""The motion-aware convolution on the CPU (eq. 16): samples gathered tile by tile, each tile one matrix product.

Features lie channels last, so that a bilinear sample is a few vector loads. A thousand pixels at a time, the nine
samples of each are gathered side by side into columns that stay in the cache, and meet the filter there: memory does
not grow with the image, and most time goes to the matrix product that an ordinary convolution consists of. Every
thread gathers and multiplies its own tiles, with PyTorch's own threads kept out. Where a CPU multiplies bfloat16,
samples of bfloat16 features are rounded to it for the product, as the input of an ordinary convolution is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..runtime.devices import cpu_multiplies_bfloat16
from .compilation import jit
from .threads import run_blocks

TAPS = 9
TILE = 1024  # pixels: with 32 channels the columns of a tile take 1.2 MB and stay in the second-level cache
# Unsigned indices spare the loops numba's test for negative ones.
ONE, TWO, NINE, PAIRS = np.uint64(1), np.uint64(2), np.uint64(TAPS), np.uint64(2 * TAPS)
_jit: Callable[..., Any] = functools.partial(jit, fastmath={"contract", "nsz", "arcp", "reassoc"})


@_jit()
def _place(offsets, shape, scale, start, stop, spots, weights):
    """The four pixels around each sample and how much they count.

    ``spots``: ``(4, n)``, pixel numbers, top left, top right, bottom left, bottom right, kept inside the image.
    ``weights``: ``(4, n)``, of the left and right column and of the upper and lower row, zero outside the image.
    """
    height, width, _ = shape
    real, area = offsets.dtype.type, height * width
    zero, one, low = real(0), real(1), real(-2)
    no, unit, last_x, last_y = np.int32(0), np.int32(1), np.int32(width - 1), np.int32(height - 1)
    begin = start
    while begin < stop:  # one image at a time
        image = begin // area
        end = min(stop, (image + 1) * area)
        y = (begin - image * area) // width
        x = begin - image * area - y * width
        pair, sample = np.uint64(begin) * PAIRS, np.uint64(begin - start) * NINE
        first = sample
        for _ in range(begin, end):
            for _ in range(TAPS):
                weights[0, sample] = real(x) + scale * offsets[pair]
                weights[2, sample] = real(y) + scale * offsets[pair + ONE]
                pair += TWO
                sample += ONE
            x += 1
            if x == width:
                x, y = 0, y + 1
        # Branchless on purpose: this loop becomes vector instructions.
        base, stride = np.int32(image * area), np.int32(width)
        for i in range(first, sample):
            # Written so that NaN lands on the low end. Beyond these ends both pixels are outside, so nothing is lost.
            px = min(max(weights[0, i], low), real(width + 1))
            py = min(max(weights[2, i], low), real(height + 1))
            floor_x, floor_y = np.floor(px), np.floor(py)
            x0, y0 = np.int32(floor_x), np.int32(floor_y)
            x1, y1 = np.int32(x0 + unit), np.int32(y0 + unit)
            weights[0, i] = one - (px - floor_x) if np.uint32(x0) <= np.uint32(last_x) else zero
            weights[1, i] = px - floor_x if np.uint32(x1) <= np.uint32(last_x) else zero
            weights[2, i] = one - (py - floor_y) if np.uint32(y0) <= np.uint32(last_y) else zero
            weights[3, i] = py - floor_y if np.uint32(y1) <= np.uint32(last_y) else zero
            x0, x1 = min(max(x0, no), last_x), min(max(x1, no), last_x)
            upper = np.int32(np.int32(min(max(y0, no), last_y) * stride) + base)
            lower = np.int32(np.int32(min(max(y1, no), last_y) * stride) + base)
            spots[0, i], spots[1, i] = np.int32(upper + x0), np.int32(upper + x1)
            spots[2, i], spots[3, i] = np.int32(lower + x0), np.int32(lower + x1)
        begin = end


@_jit()
def _gather(x, spots, weights, channels, samples, columns):
    """Bilinear samples, C channels each, one after the other."""
    count, target = np.uint64(channels), np.uint64(0)
    for i in range(np.uint64(samples)):
        p00, p01 = np.uint64(np.uint32(spots[0, i])) * count, np.uint64(np.uint32(spots[1, i])) * count
        p10, p11 = np.uint64(np.uint32(spots[2, i])) * count, np.uint64(np.uint32(spots[3, i])) * count
        w00, w01 = weights[2, i] * weights[0, i], weights[2, i] * weights[1, i]
        w10, w11 = weights[3, i] * weights[0, i], weights[3, i] * weights[1, i]
        for c in range(count):
            columns[target + c] = w00 * x[p00 + c] + w01 * x[p01 + c] + w10 * x[p10 + c] + w11 * x[p11 + c]
        target += count


@_jit()
def _scatter(grad_columns, spots, weights, channels, samples, grad_x):
    """The transpose of :func:`_gather`; only one thread at a time may work on an image."""
    count, source = np.uint64(channels), np.uint64(0)
    for i in range(np.uint64(samples)):
        for row in range(2):
            left = np.uint64(np.uint32(spots[2 * row, i])) * count
            right = np.uint64(np.uint32(spots[2 * row + 1, i])) * count
            w0, w1 = weights[2 + row, i] * weights[0, i], weights[2 + row, i] * weights[1, i]
            for c in range(count):
                grad_x[left + c] += w0 * grad_columns[source + c]
                grad_x[right + c] += w1 * grad_columns[source + c]
        source += count


@_jit()
def _slopes(grad_columns, x, spots, weights, channels, samples, scale, grad_offsets):
    """Gradient to the offsets: how each sample changes as its position moves right and down."""
    real = x.dtype.type
    count, source = np.uint64(channels), np.uint64(0)
    for i in range(np.uint64(samples)):
        p00, p01 = np.uint64(np.uint32(spots[0, i])) * count, np.uint64(np.uint32(spots[1, i])) * count
        p10, p11 = np.uint64(np.uint32(spots[2, i])) * count, np.uint64(np.uint32(spots[3, i])) * count
        s00 = s01 = s10 = s11 = real(0)
        for c in range(count):
            g = grad_columns[source + c]
            s00 += g * x[p00 + c]
            s01 += g * x[p01 + c]
            s10 += g * x[p10 + c]
            s11 += g * x[p11 + c]
        left, right, upper, lower = weights[0, i], weights[1, i], weights[2, i], weights[3, i]
        # Two equal neighbours mean that at most one is really inside: the one with a weight.
        apart_x, apart_y = p00 != p01, p00 != p10
        on_left, on_right = real(apart_x or left > 0), real(apart_x or right > 0)
        on_upper, on_lower = real(apart_y or upper > 0), real(apart_y or lower > 0)
        moved_x = upper * (on_right * s01 - on_left * s00) + lower * (on_right * s11 - on_left * s10)
        moved_y = left * (on_lower * s10 - on_upper * s00) + right * (on_lower * s11 - on_upper * s01)
        grad_offsets[i, 0], grad_offsets[i, 1] = scale * moved_x, scale * moved_y
        source += count


class _Problem:
    """One call's tensors in the kernels' layout; samples of half precision are computed in single."""

    def __init__(self, x: Tensor, weight: Tensor, motion_offsets: Tensor, scale: float) -> None:
        self.dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        batch, channels, height, width = x.shape
        self.out_channels, self.shape, self.area = weight.shape[0], (height, width, channels), height * width
        self.batch, self.pixels = batch, batch * height * width
        self.x = self.pixel_rows(x)
        offsets = motion_offsets.detach().to(self.dtype).permute(0, 3, 4, 1, 2)
        self.offsets = offsets.contiguous().view(-1).numpy()
        self.scale = self.x.numpy().dtype.type(scale)
        self.filter = weight.detach().to(self.dtype).permute(0, 2, 3, 1).reshape(self.out_channels, TAPS * channels)

    def pixel_rows(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` as ``(B * H * W, C)``."""
        return features.detach().to(self.dtype).permute(0, 2, 3, 1).reshape(-1, features.shape[1]).contiguous()

    def images(self, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """New ``(B, C, H, W)``, channels last in memory, and the same memory as ``(B * H * W, C)``."""
        # The images are the base and not the view: autograd refuses operators in place on a view.
        shape = (self.batch, channels, *self.shape[:2])
        images = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        return images, images.permute(0, 2, 3, 1).view(-1, channels)


class _Tile:
    """One thread's scratch memory: the places and columns of up to ``TILE`` pixels."""

    def __init__(self, problem: _Problem) -> None:
        self.problem, self.channels = problem, problem.shape[2]
        samples = min(TILE, problem.pixels) * TAPS
        self.rows = torch.empty(samples // TAPS, TAPS * self.channels, dtype=problem.dtype)
        self.columns = self.rows.view(-1).numpy()
        self.spots = np.empty((4, samples), np.int32)
        self.weights = np.empty((4, samples), self.columns.dtype)
        self.x = problem.x.view(-1).numpy()
        self.samples = 0

    def place(self, start: int, stop: int) -> Tensor:
        """Find the samples of these pixels; returns the columns that belong to them, not yet filled."""
        problem = self.problem
        self.samples = (stop - start) * TAPS
        _place(problem.offsets, problem.shape, problem.scale, start, stop, self.spots, self.weights)
        return self.rows[: stop - start]

    def gather(self) -> None:
        _gather(self.x, self.spots, self.weights, self.channels, self.samples, self.columns)

    def scatter(self, grad_x: np.ndarray) -> None:
        _scatter(self.columns, self.spots, self.weights, self.channels, self.samples, grad_x)

    def slopes(self, grad_offsets: np.ndarray) -> None:
        common = (self.spots, self.weights, self.channels, self.samples)
        _slopes(self.columns, self.x, *common, self.problem.scale, grad_offsets)


def _tiles(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + TILE, stop)) for first in range(start, stop, TILE))


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor, scale: float) -> Tensor:
    """``motion_offsets::motion_aware_conv2d`` on a CPU."""
    problem = _Problem(x, weight, motion_offsets, scale)
    dtype = x.dtype if x.dtype == torch.bfloat16 and cpu_multiplies_bfloat16() else problem.dtype
    out, out_rows = problem.images(problem.out_channels, dtype)
    taps = problem.filter.to(dtype).t()
    start_value = None if bias is None else bias.detach().to(dtype)

    def work(start: int, stop: int) -> None:
        tile = _Tile(problem)
        rounded = torch.empty_like(tile.rows, dtype=dtype) if dtype != problem.dtype else None
        for first, last in _tiles(start, stop):
            columns = tile.place(first, last)
            tile.gather()
            if rounded is not None:
                columns = rounded[: last - first].copy_(columns)
            if start_value is None:
                torch.mm(columns, taps, out=out_rows[first:last])
            else:
                torch.addmm(start_value, columns, taps, out=out_rows[first:last])

    run_blocks(work, problem.pixels, TILE, uses_torch=True)
    return out.to(x.dtype)


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    motion_offsets: Tensor,
    scale: float,
    want_x: bool,
    want_weight: bool,
    want_offsets: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """``motion_offsets::motion_aware_conv2d_backward`` on a CPU."""
    problem = _Problem(x, weight, motion_offsets, scale)
    grad_rows = problem.pixel_rows(grad)
    grad_x, grad_x_rows = problem.images(problem.shape[2], problem.dtype) if want_x else (x.new_empty(0), problem.x)
    if want_x:
        grad_x.zero_()
    grad_offsets = np.empty((problem.pixels * TAPS if want_offsets else 0, 2), problem.offsets.dtype)
    partial_filters: list[Tensor] = []

    def work(start: int, stop: int) -> None:
        tile = _Tile(problem)
        grad_filter = torch.zeros_like(problem.filter)
        for first, last in _tiles(start * problem.area, stop * problem.area):
            columns, rows = tile.place(first, last), grad_rows[first:last]
            if want_weight:
                tile.gather()
                grad_filter.addmm_(rows.t(), columns)
            if want_x or want_offsets:
                torch.mm(rows, problem.filter, out=columns)
            if want_x:
                tile.scatter(grad_x_rows.view(-1).numpy())
            if want_offsets:
                tile.slopes(grad_offsets[first * TAPS : last * TAPS])
        partial_filters.append(grad_filter)

    # Whole images, so that no two threads scatter into the same pixel.
    run_blocks(work, problem.batch, uses_torch=True)
    grad_weight = weight.new_empty(0)
    if want_weight:
        total = torch.stack(partial_filters).sum(0).view(problem.out_channels, 3, 3, -1)
        grad_weight = total.permute(0, 3, 1, 2).to(weight.dtype, memory_format=torch.contiguous_format, copy=True)
    moved = torch.from_numpy(grad_offsets).view(problem.batch, *problem.shape[:2], -1, 2).to(motion_offsets.dtype)
    return (
        grad_x.to(x.dtype),
        grad_weight,
        moved.permute(0, 3, 4, 1, 2) if want_offsets else motion_offsets.new_empty(0),
    )


def _tiny() -> tuple[Tensor, Tensor, Tensor]:
    """Features of 4x8 pixels, a filter of ones, and no motion."""
    x = torch.arange(32, dtype=torch.float32).view(1, 1, 4, 8)
    return x, torch.ones(1, 1, 3, 3, dtype=torch.float32), torch.zeros(1, TAPS, 2, 4, 8, dtype=torch.float32)


def check() -> None:
    """Raise unless nine taps at rest, each 1, sum to nine times the features."""
    x, weight, offsets = _tiny()
    for dtype in (torch.float32, torch.bfloat16):
        found = forward(x.to(dtype), weight.to(dtype), None, offsets, 1.0)
        torch.testing.assert_close(found, (TAPS * x).to(dtype), check_stride=False)


def check_backward() -> None:
    """Raise unless :func:`check` passes, and its gradients are right as well."""
    check()
    x, weight, offsets = _tiny()
    grad_x, grad_weight, _ = backward(torch.ones_like(x), x, weight, offsets, 1.0, True, True, True)
    torch.testing.assert_close(grad_x, torch.full_like(x, TAPS), check_stride=False)
    torch.testing.assert_close(grad_weight, torch.full_like(weight, float(x.sum())))

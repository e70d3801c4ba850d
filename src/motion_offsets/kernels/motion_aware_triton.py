"""The motion-aware convolution on a GPU with its gradients (eq. 16), in Triton.

Features lie channels last, so that a bilinear sample is four runs of memory. A program has a block of pixels: tap by
tap it gathers their samples into registers and multiplies them with that tap of the filter at once, adding up in
float32, so the columns of samples that a convolution by matrix product needs never reach memory. Backwards, one kernel
turns the gradient into that of each tap's samples, which it scatters to the features by atomic additions in float32
and reduces to the offsets' gradient; another multiplies samples and gradient for the filter, each program its share of
the pixels, and the shares are added up after it.

Products of float32 are made of three TF32 products each, which is as exact as float32 to about its last bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import alert_not_deterministic, tuned

TAPS = 9
PRECISION = "ieee" if torch.version.hip else "tf32x3"
FILTER_PROGRAMS = 1024  # for the gradient to the filter: enough for every GPU, few enough to be added up quickly


@triton.jit
def _axis(at, last):
    """Pixel before a coordinate, how far it is from there, and whether that pixel and the next are in ``0 ... last``.

    Two pixels outside everything is zero already; a coordinate stays there, which keeps huge offsets finite.
    """
    kept = tl.where(at > -2.0, at, -2.0)  # NaN, too, lands on the low end
    kept = tl.where(kept < last + 2.0, kept, last + 2.0)
    before = tl.floor(kept)
    first = before.to(tl.int32)
    return first, kept - before, (first >= 0) & (first <= last), (first >= -1) & (first < last)


@triton.jit
def _pixels(start, pixels, height, width, BLOCK_P: tl.constexpr):
    """Numbers of a block's pixels in the batch, whether there are such, their image and their position in it."""
    number = start + tl.arange(0, BLOCK_P)
    image = number // (height * width)
    place = number - image * (height * width)
    y = place // width
    return number, number < pixels, image, y, place - y * width


@triton.jit
def _place(offsets, tap, stride_tap, stride_axis, scale, live, image, y, x, height, width):
    """The corners of a tap's samples.

    Returns the number in the batch of each sample's upper left pixel, how far the sample is from it across and down,
    and whether the upper left, upper right, lower left and lower right pixels are inside the image.
    """
    offset = offsets + tap * stride_tap
    dx = tl.load(offset, mask=live, other=0.0).to(tl.float32)
    dy = tl.load(offset + stride_axis, mask=live, other=0.0).to(tl.float32)
    column, across, in_left, in_right = _axis(x.to(tl.float32) + scale * dx, width - 1)
    row, down, in_top, in_bottom = _axis(y.to(tl.float32) + scale * dy, height - 1)
    corner = (image * height + row) * width + column
    in_top, in_bottom = in_top & live, in_bottom & live
    return corner, across, down, in_top & in_left, in_top & in_right, in_bottom & in_left, in_bottom & in_right


@triton.jit
def _load(x, corner, inside, c, channels):
    """Features ``(P, C)`` in float32; zeros outside."""
    place = corner[:, None] * channels + c[None, :]
    return tl.load(x + place, mask=inside[:, None] & (c < channels)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _sample(x, corner, across, down, in00, in01, in10, in11, c, channels, width):
    """Bilinear samples ``(P, C)``."""
    w11 = across * down
    w01, w10 = across - w11, down - w11
    sampled = (1 - across - w10)[:, None] * _load(x, corner, in00, c, channels)
    sampled += w01[:, None] * _load(x, corner + 1, in01, c, channels)
    sampled += w10[:, None] * _load(x, corner + width, in10, c, channels)
    return sampled + w11[:, None] * _load(x, corner + width + 1, in11, c, channels)


@triton.jit
def _matrix(matrix, rows, columns, row_count, column_count):
    """A part of a matrix that lies row by row, zeros beyond its end."""
    inside = (rows < row_count)[:, None] & (columns < column_count)[None, :]
    return tl.load(matrix + rows[:, None] * column_count + columns[None, :], mask=inside, other=0.0)


@tuned(
    [
        triton.Config({"BLOCK_P": size}, num_warps=warps, num_stages=stages)
        for size, warps, stages in ((64, 4, 1), (64, 8, 1), (32, 4, 1), (128, 8, 1), (64, 4, 2))
    ],
    key=["channels", "out_channels"],
)
@triton.jit
def _forward(
    x,  # (B * H * W, Cin)
    taps,  # (9, Cin, Cout)
    bias,  # (Cout,)
    offsets,  # (B, 9, 2, H, W), in any order in memory
    out,  # (B * H * W, Cout)
    pixels,
    height,
    width,
    channels,
    out_channels,
    stride_image,
    stride_tap,
    stride_axis,
    stride_row,
    stride_column,
    scale,
    BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    start = tl.program_id(0).to(tl.int64) * BLOCK_P
    number, live, image, row, column = _pixels(start, pixels, height, width, BLOCK_P)
    offsets += image * stride_image + row * stride_row + column * stride_column
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    total = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)
    if BIAS:
        total += tl.load(bias + o, mask=o < out_channels, other=0.0).to(tl.float32)[None, :]
    for tap in range(9):
        corner, across, down, in00, in01, in10, in11 = _place(
            offsets, tap, stride_tap, stride_axis, scale, live, image, row, column, height, width
        )
        for first in range(0, channels, BLOCK_C):
            c = first + tl.arange(0, BLOCK_C)
            sampled = _sample(x, corner, across, down, in00, in01, in10, in11, c, channels, width)
            weight = _matrix(taps + tap * channels * out_channels, c, o, channels, out_channels)
            total = tl.dot(sampled.to(weight.dtype), weight, total, input_precision=PRECISION)
    place = number[:, None] * out_channels + o[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=live[:, None] & (o < out_channels)[None, :])


@triton.jit
def _scatter(grad_x, corner, inside, weight, grad, c, channels):
    place = corner[:, None] * channels + c[None, :]
    mask = inside[:, None] & (c < channels)[None, :]
    tl.atomic_add(grad_x + place, weight[:, None] * grad, mask=mask, sem="relaxed")


@tuned(
    [
        triton.Config({"BLOCK_P": size}, num_warps=warps, num_stages=1)
        for size, warps in ((64, 8), (32, 4), (64, 4), (32, 8))
    ],
    key=["channels", "out_channels", "WANT_X", "WANT_OFFSETS"],
    zeroed=["grad_x"],
)
@triton.jit
def _backward(
    grad,  # (B * H * W, Cout)
    x,  # (B * H * W, Cin)
    taps,  # (9, Cout, Cin)
    offsets,  # (B, 9, 2, H, W), in any order in memory
    grad_x,  # float32, (B * H * W, Cin)
    grad_offsets,  # (B * H * W, 9, 2)
    pixels,
    height,
    width,
    channels,
    out_channels,
    stride_image,
    stride_tap,
    stride_axis,
    stride_row,
    stride_column,
    scale,
    WANT_X: tl.constexpr,
    WANT_OFFSETS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    start = tl.program_id(0).to(tl.int64) * BLOCK_P
    number, live, image, row, column = _pixels(start, pixels, height, width, BLOCK_P)
    offsets += image * stride_image + row * stride_row + column * stride_column
    for tap in range(9):
        corner, across, down, in00, in01, in10, in11 = _place(
            offsets, tap, stride_tap, stride_axis, scale, live, image, row, column, height, width
        )
        w11 = across * down
        w01, w10 = across - w11, down - w11
        w00 = 1 - across - w10
        moved_x = tl.zeros((BLOCK_P,), tl.float32)
        moved_y = tl.zeros((BLOCK_P,), tl.float32)
        for first in range(0, channels, BLOCK_C):
            c = first + tl.arange(0, BLOCK_C)
            part = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)  # gradient to the tap's samples
            for first_out in range(0, out_channels, BLOCK_O):
                o = first_out + tl.arange(0, BLOCK_O)
                mask = live[:, None] & (o < out_channels)[None, :]
                rows = tl.load(grad + number[:, None] * out_channels + o[None, :], mask=mask, other=0.0)
                weight = _matrix(taps + tap * channels * out_channels, o, c, out_channels, channels)
                part = tl.dot(rows, weight, part, input_precision=PRECISION)
            if WANT_X:
                _scatter(grad_x, corner, in00, w00, part, c, channels)
                _scatter(grad_x, corner + 1, in01, w01, part, c, channels)
                _scatter(grad_x, corner + width, in10, w10, part, c, channels)
                _scatter(grad_x, corner + width + 1, in11, w11, part, c, channels)
            if WANT_OFFSETS:
                s00 = tl.sum(part * _load(x, corner, in00, c, channels), axis=1)
                s01 = tl.sum(part * _load(x, corner + 1, in01, c, channels), axis=1)
                s10 = tl.sum(part * _load(x, corner + width, in10, c, channels), axis=1)
                s11 = tl.sum(part * _load(x, corner + width + 1, in11, c, channels), axis=1)
                twist = s00 - s01 - s10 + s11
                moved_x += s01 - s00 + twist * down
                moved_y += s10 - s00 + twist * across
        if WANT_OFFSETS:
            target = grad_offsets + number * 18 + tap * 2
            kind = grad_offsets.dtype.element_ty
            tl.store(target, (scale * moved_x).to(kind), mask=live)
            tl.store(target + 1, (scale * moved_y).to(kind), mask=live)


@tuned(
    [
        triton.Config({"BLOCK_P": size}, num_warps=warps, num_stages=stages)
        for size, warps, stages in ((64, 4, 1), (64, 8, 1), (32, 4, 1), (64, 4, 2))
    ],
    key=["channels", "out_channels"],
)
@triton.jit
def _backward_filter(
    grad,  # (B * H * W, Cout)
    x,  # (B * H * W, Cin)
    offsets,  # (B, 9, 2, H, W), in any order in memory
    shares,  # float32, (shares, 9, Cin, Cout)
    pixels,
    height,
    width,
    channels,
    out_channels,
    stride_image,
    stride_tap,
    stride_axis,
    stride_row,
    stride_column,
    scale,
    PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    share, tap = tl.program_id(0).to(tl.int64), tl.program_id(1)
    blocks_o = tl.cdiv(out_channels, BLOCK_O)
    c = tl.program_id(2) // blocks_o * BLOCK_C + tl.arange(0, BLOCK_C)
    o = tl.program_id(2) % blocks_o * BLOCK_O + tl.arange(0, BLOCK_O)
    total = tl.zeros((BLOCK_C, BLOCK_O), tl.float32)
    for start in range(share * BLOCK_P, pixels, tl.num_programs(0) * BLOCK_P):
        number, live, image, row, column = _pixels(start, pixels, height, width, BLOCK_P)
        offset = offsets + image * stride_image + row * stride_row + column * stride_column
        corner, across, down, in00, in01, in10, in11 = _place(
            offset, tap, stride_tap, stride_axis, scale, live, image, row, column, height, width
        )
        sampled = _sample(x, corner, across, down, in00, in01, in10, in11, c, channels, width)
        mask = live[:, None] & (o < out_channels)[None, :]
        rows = tl.load(grad + number[:, None] * out_channels + o[None, :], mask=mask, other=0.0)
        total = tl.dot(tl.trans(sampled.to(rows.dtype)), rows, total, input_precision=PRECISION)
    target = shares + (share * 9 + tap) * channels * out_channels
    inside = (c < channels)[:, None] & (o < out_channels)[None, :]
    tl.store(target + c[:, None] * out_channels + o[None, :], total, mask=inside)


def _block(count: int, largest: int) -> int:
    """Side of a block of channels; ``tl.dot`` needs at least 16."""
    return min(largest, max(16, triton.next_power_of_2(count)))


def _pixel_rows(features: Tensor) -> Tensor:
    """``(B, C, H, W)`` as ``(B * H * W, C)``, which is free where it is channels last."""
    return features.detach().permute(0, 2, 3, 1).reshape(-1, features.shape[1]).contiguous()


class _Launch:
    """One call's tensors in the kernels' layout, and the sizes that all kernels are told."""

    def __init__(self, x: Tensor, weight: Tensor, motion_offsets: Tensor, scale: float) -> None:
        self.shape, self.out_channels = x.shape, weight.shape[0]
        batch, self.channels, height, width = x.shape
        self.pixels = batch * height * width
        self.x, self.offsets, self.filter = _pixel_rows(x), motion_offsets.detach(), weight.detach().to(x.dtype)
        sizes = (self.pixels, height, width, self.channels, self.out_channels)
        self.sizes = (*sizes, *motion_offsets.stride(), scale)

    def images(self, channels: int, dtype: torch.dtype) -> Tensor:
        """New ``(B, C, H, W)``, channels last in memory."""
        shape = (self.shape[0], channels, *self.shape[2:])
        return torch.empty(shape, dtype=dtype, device=self.x.device, memory_format=torch.channels_last)

    def run(
        self, kernel: Any, grid: Any, tensors: tuple[Tensor, ...], block_c: int, block_o: int, **rest: Any
    ) -> None:
        blocks = {"BLOCK_C": _block(self.channels, block_c), "BLOCK_O": _block(self.out_channels, block_o)}
        with torch.cuda.device_of(self.x):
            kernel[grid](*tensors, *self.sizes, PRECISION=PRECISION, **blocks, **rest)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, motion_offsets: Tensor, scale: float) -> Tensor:
    """``motion_offsets::motion_aware_conv2d`` on a GPU."""
    launch = _Launch(x, weight, motion_offsets, scale)
    out = launch.images(launch.out_channels, x.dtype)
    taps = launch.filter.permute(2, 3, 1, 0).contiguous()
    held = taps if bias is None else bias.detach()
    block_o = _block(launch.out_channels, 128)

    def grid(shape: dict[str, int]) -> tuple[int, int]:
        return triton.cdiv(launch.pixels, shape["BLOCK_P"]), triton.cdiv(launch.out_channels, block_o)

    launch.run(_forward, grid, (launch.x, taps, held, launch.offsets, out), 32, 128, BIAS=bias is not None)
    return out


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
    """``motion_offsets::motion_aware_conv2d_backward`` on a GPU; the gradient to ``x`` alone is not deterministic."""
    launch = _Launch(x, weight, motion_offsets, scale)
    rows = _pixel_rows(grad)
    grad_x, grad_weight = x.new_empty(0), weight.new_empty(0)
    grad_offsets = motion_offsets.new_empty(0)
    if want_x:
        alert_not_deterministic("the gradient of the motion-aware convolution to its features")
        grad_x = launch.images(launch.channels, torch.float32).zero_()
    if want_offsets:
        batch, taps, axes, height, width = motion_offsets.shape
        grad_offsets = motion_offsets.new_empty(batch, height, width, taps, axes)
    if want_x or want_offsets:
        taps_out = launch.filter.permute(2, 3, 0, 1).contiguous()
        tensors = (rows, launch.x, taps_out, launch.offsets, grad_x, grad_offsets)

        def grid(shape: dict[str, int]) -> tuple[int]:
            return (triton.cdiv(launch.pixels, shape["BLOCK_P"]),)

        launch.run(_backward, grid, tensors, 32, 64, WANT_X=want_x, WANT_OFFSETS=want_offsets)
    if want_weight:
        grad_weight = _filter_gradient(launch, rows).to(weight.dtype)
    return (
        grad_x.to(x.dtype),
        grad_weight,
        grad_offsets.permute(0, 3, 4, 1, 2) if want_offsets else grad_offsets,
    )


def _filter_gradient(launch: _Launch, rows: Tensor) -> Tensor:
    """``(Cout, Cin, 3, 3)``, float32."""
    block_c, block_o = _block(launch.channels, 64), _block(launch.out_channels, 64)
    blocks = triton.cdiv(launch.channels, block_c) * triton.cdiv(launch.out_channels, block_o)
    count = max(1, min(triton.cdiv(launch.pixels, 1024), FILTER_PROGRAMS // (TAPS * blocks)))
    shares = launch.x.new_empty(count, TAPS, launch.channels, launch.out_channels, dtype=torch.float32)
    launch.run(_backward_filter, (count, TAPS, blocks), (rows, launch.x, launch.offsets, shares), 64, 64)
    total = shares.sum(0).view(3, 3, launch.channels, launch.out_channels)
    return total.permute(3, 2, 0, 1).contiguous()

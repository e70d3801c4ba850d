"""The exposure average on a GPU with its gradients (eq. 3, 4 with 12-14), in Triton.

A program has a tile of pixels of one offset map and takes all N samples of each: the trajectory is evaluated from the
control points, up to three of which stay in registers, so neither offsets nor frames are ever in memory; of a
trajectory with more points, each sample reads those alone that its row of the basis names. Everything is computed in
float32. The gradient to the control points is summed in registers, the gradient to the image, in the same pass, by
atomic additions in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import alert_not_deterministic, tuned

GROUP = 4  # channels that a program takes
_SHAPES = [
    triton.Config({"BLOCK_Y": rows, "BLOCK_X": columns}, num_warps=warps, num_stages=1)
    for rows, columns, warps in ((4, 32, 4), (1, 128, 4), (8, 32, 8), (8, 16, 4), (4, 64, 4))
]
_KEY = ["samples", "POINTS", "CHANNELS", "ZEROS"]


@triton.jit
def _tile(batch, height, width, BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr):
    """This program's channel group, offset map and pixels; x changes fastest from program to program."""
    index = tl.program_id(0)
    across, down = tl.cdiv(width, BLOCK_X), tl.cdiv(height, BLOCK_Y)
    x = index % across * BLOCK_X + tl.arange(0, BLOCK_X)[None, :]
    index = index // across
    y = index % down * BLOCK_Y + tl.arange(0, BLOCK_Y)[:, None]
    index = index // down
    # In 64 bits, as are all places outside a plane that follow from it.
    return (index // batch).to(tl.int64), (index % batch).to(tl.int64), x, y


@triton.jit
def _nonzero(row, stride, count, WIDTH: tl.constexpr):
    """First entry of a row that is not zero, and one past the last."""
    index = tl.arange(0, WIDTH)
    values = tl.load(row + index * stride, mask=index < count, other=0.0)
    first = tl.min(tl.where(values != 0, index, count), axis=0)
    return first, tl.max(tl.where(values != 0, index + 1, 0), axis=0)


@triton.jit
def _point(points, row, live, POINTS: tl.constexpr, INDEX: tl.constexpr):
    """dx and dy of a control point that is held in registers; nothing is read for one that there is not."""
    if INDEX < POINTS and POINTS <= 3:
        x = tl.load(points + 2 * INDEX * row, mask=live, other=0.0).to(tl.float32)
        y = tl.load(points + (2 * INDEX + 1) * row, mask=live, other=0.0).to(tl.float32)
        return x, y
    else:
        nothing = tl.zeros(live.shape, tl.float32)
        return nothing, nothing


@triton.jit
def _coefficients(basis, n, POINTS: tl.constexpr):
    """The sample's row of the basis, for the points in registers."""
    c1 = tl.load(basis + n * POINTS)
    c2 = c1 * 0
    c3 = c1 * 0
    if POINTS > 1:
        c2 = tl.load(basis + n * POINTS + 1)
    if POINTS > 2:
        c3 = tl.load(basis + n * POINTS + 2)
    return c1, c2, c3


@triton.jit
def _from_memory(points, area, basis, n, live, POINTS: tl.constexpr, WIDTH: tl.constexpr):
    """A sample's offset from those points that count in it, read again."""
    dx = tl.zeros(live.shape, tl.float32)
    dy = tl.zeros(live.shape, tl.float32)
    first, last = _nonzero(basis + n * POINTS, 1, POINTS, WIDTH)
    for k in range(first, last):
        share = tl.load(basis + n * POINTS + k)
        point = points + tl.cast(k, tl.int64) * 2 * area
        dx += share * tl.load(point, mask=live, other=0.0).to(tl.float32)
        dy += share * tl.load(point + area, mask=live, other=0.0).to(tl.float32)
    return dx, dy


@triton.jit
def _cell(at, last, ZEROS: tl.constexpr):
    """Where a coordinate lies in ``0 ... last``.

    Returns the pixel before it and the one after, how far it is from the first to the second, whether each of the two
    is inside the image, and whether the sample follows its offset. Beyond the ends nothing changes any more.
    """
    low = -1.0 if ZEROS else 0.0
    high = (last + 1 if ZEROS else last) * 1.0
    kept = tl.where(at > low, at, low)  # NaN, too, lands on the low end
    kept = tl.where(kept < high, kept, high)
    before = tl.floor(kept)
    part = kept - before
    first = before.to(tl.int32)
    second = first + 1
    if ZEROS:
        return first, second, part, (first >= 0) & (first <= last), second <= last, (at >= low) & (at <= high)
    else:
        # The last pixel has none after it, and all that it would count there is zero.
        return first, tl.minimum(second, last), part, first >= 0, second >= 0, (at > low) & (at < high)


@triton.jit
def _pixel(plane, pixel, inside, ZEROS: tl.constexpr):
    if ZEROS:
        return tl.load(plane + pixel, mask=inside, other=0.0).to(tl.float32)
    else:
        return tl.load(plane + pixel).to(tl.float32)


@tuned(_SHAPES, _KEY)
@triton.jit
def _forward(
    image,  # (B / repeat, C, rows, columns)
    points,  # (B, 2K, height, width)
    basis,  # (N, K)
    out,  # (B, C, height, width)
    batch,
    channels,
    height,
    width,
    rows,
    columns,
    margin,
    samples,
    repeat,
    scale,
    ZEROS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    group, b, x, y = _tile(batch, height, width, BLOCK_Y, BLOCK_X)
    live = (x < width) & (y < height)
    pixel, area, image_area = y * width + x, height * width, rows * columns
    points += b * (2 * POINTS) * area + pixel
    x1, y1 = _point(points, area, live, POINTS, 0)
    x2, y2 = _point(points, area, live, POINTS, 1)
    x3, y3 = _point(points, area, live, POINTS, 2)
    channel = group * CHANNELS
    first_plane = image + (b // repeat * channels + channel) * image_area
    left, top = (x + margin).to(tl.float32), (y + margin).to(tl.float32)
    sum0 = tl.zeros(live.shape, tl.float32)
    sum1 = tl.zeros(live.shape, tl.float32)
    sum2 = tl.zeros(live.shape, tl.float32)
    sum3 = tl.zeros(live.shape, tl.float32)
    for n in range(samples):
        if POINTS <= 3:
            c1, c2, c3 = _coefficients(basis, n, POINTS)
            dx, dy = c1 * x1 + c2 * x2 + c3 * x3, c1 * y1 + c2 * y2 + c3 * y3
        else:
            dx, dy = _from_memory(points, area, basis, n, live, POINTS, WIDTH)
        column, next_column, across, in_left, in_right, _ = _cell(left + dx, columns - 1, ZEROS)
        row, next_row, down, in_top, in_bottom, _ = _cell(top + dy, rows - 1, ZEROS)
        upper, lower = row * columns, next_row * columns
        w11 = across * down
        w01, w10 = across - w11, down - w11
        w00 = 1 - across - w10
        for c in tl.static_range(CHANNELS):
            # A group that the channels do not fill reads its last one again.
            plane = first_plane + tl.minimum(c, channels - 1 - channel) * image_area
            value = w00 * _pixel(plane, upper + column, in_top & in_left, ZEROS)
            value += w01 * _pixel(plane, upper + next_column, in_top & in_right, ZEROS)
            value += w10 * _pixel(plane, lower + column, in_bottom & in_left, ZEROS)
            value += w11 * _pixel(plane, lower + next_column, in_bottom & in_right, ZEROS)
            if c == 0:
                sum0 += value
            elif c == 1:
                sum1 += value
            elif c == 2:
                sum2 += value
            else:
                sum3 += value
    target = out + (b * channels + channel) * area + pixel
    kind = out.dtype.element_ty
    tl.store(target, (sum0 * scale).to(kind), mask=live)
    if CHANNELS > 1:
        tl.store(target + area, (sum1 * scale).to(kind), mask=live & (channel + 1 < channels))
    if CHANNELS > 2:
        target += 2 * area
        tl.store(target, (sum2 * scale).to(kind), mask=live & (channel + 2 < channels))
    if CHANNELS > 3:
        tl.store(target + area, (sum3 * scale).to(kind), mask=live & (channel + 3 < channels))


@triton.jit
def _gradient(grad, channel, INDEX: tl.constexpr, channels, area, live, scale, CHANNELS: tl.constexpr):
    """The gradient to a sample's value in one channel of the group; zero where there is none."""
    if INDEX < CHANNELS:
        mask = live & (channel + INDEX < channels)
        return tl.load(grad + INDEX * area, mask=mask, other=0.0).to(tl.float32) * scale
    else:
        return tl.zeros(live.shape, tl.float32)


@triton.jit
def _add(plane, pixel, value, inside):
    tl.atomic_add(plane + pixel, value, mask=inside, sem="relaxed")


@triton.jit
def _store_point(target, area, x, y, live, POINTS: tl.constexpr, INDEX: tl.constexpr):
    if INDEX < POINTS:
        tl.store(target + 2 * INDEX * area, x, mask=live)
        tl.store(target + (2 * INDEX + 1) * area, y, mask=live)


@triton.jit
def _add_to_memory(
    target, area, basis, n, samples, x, y, live, POINTS: tl.constexpr, WIDTH: tl.constexpr, DEPTH: tl.constexpr
):
    """The transpose of :func:`_from_memory`; this program alone writes the gradients of its pixels."""
    first, last = _nonzero(basis + n * POINTS, 1, POINTS, WIDTH)
    for k in range(first, last):
        share = tl.load(basis + n * POINTS + k)
        begun, _ = _nonzero(basis + k, POINTS, samples, DEPTH)
        again = live & (n > begun)  # what no sample has added to yet need not be read
        point = target + tl.cast(k, tl.int64) * 2 * area
        tl.store(point, tl.load(point, mask=again, other=0.0) + share * x, mask=live)
        tl.store(point + area, tl.load(point + area, mask=again, other=0.0) + share * y, mask=live)
    tl.debug_barrier()  # another thread of the program may be the one that reads it


@tuned(_SHAPES, [*_KEY, "WANT_IMAGE", "WANT_POINTS"], zeroed=["grad_image", "grad_points"])
@triton.jit
def _backward(
    image,  # (B / repeat, C, rows, columns)
    points,  # (B, 2K, height, width)
    basis,  # (N, K)
    grad,  # (B, C, height, width)
    grad_image,  # float32, as image
    grad_points,  # float32, (groups, B, 2K, height, width)
    batch,
    channels,
    height,
    width,
    rows,
    columns,
    margin,
    samples,
    repeat,
    scale,
    ZEROS: tl.constexpr,
    POINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    WANT_IMAGE: tl.constexpr,
    WANT_POINTS: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    group, b, x, y = _tile(batch, height, width, BLOCK_Y, BLOCK_X)
    live = (x < width) & (y < height)
    pixel, area, image_area = y * width + x, height * width, rows * columns
    points += b * (2 * POINTS) * area + pixel
    grad_points += (group * batch + b) * (2 * POINTS) * area + pixel
    x1, y1 = _point(points, area, live, POINTS, 0)
    x2, y2 = _point(points, area, live, POINTS, 1)
    x3, y3 = _point(points, area, live, POINTS, 2)
    channel = group * CHANNELS
    grad += (b * channels + channel) * area + pixel
    g0 = _gradient(grad, channel, 0, channels, area, live, scale, CHANNELS)
    g1 = _gradient(grad, channel, 1, channels, area, live, scale, CHANNELS)
    g2 = _gradient(grad, channel, 2, channels, area, live, scale, CHANNELS)
    g3 = _gradient(grad, channel, 3, channels, area, live, scale, CHANNELS)
    first_plane = (b // repeat * channels + channel) * image_area
    left, top = (x + margin).to(tl.float32), (y + margin).to(tl.float32)
    gx1 = tl.zeros(live.shape, tl.float32)
    gy1 = tl.zeros(live.shape, tl.float32)
    gx2 = tl.zeros(live.shape, tl.float32)
    gy2 = tl.zeros(live.shape, tl.float32)
    gx3 = tl.zeros(live.shape, tl.float32)
    gy3 = tl.zeros(live.shape, tl.float32)
    for n in range(samples):
        c1, c2, c3 = 0.0, 0.0, 0.0
        if POINTS <= 3:
            c1, c2, c3 = _coefficients(basis, n, POINTS)
            dx, dy = c1 * x1 + c2 * x2 + c3 * x3, c1 * y1 + c2 * y2 + c3 * y3
        else:
            dx, dy = _from_memory(points, area, basis, n, live, POINTS, WIDTH)
        column, next_column, across, in_left, in_right, moves_x = _cell(left + dx, columns - 1, ZEROS)
        row, next_row, down, in_top, in_bottom, moves_y = _cell(top + dy, rows - 1, ZEROS)
        upper, lower = row * columns, next_row * columns
        w11 = across * down
        w01, w10 = across - w11, down - w11
        w00 = 1 - across - w10
        gx = tl.zeros(live.shape, tl.float32)
        gy = tl.zeros(live.shape, tl.float32)
        for c in tl.static_range(CHANNELS):
            plane = first_plane + tl.minimum(c, channels - 1 - channel) * image_area
            g = g0
            if c == 1:
                g = g1
            elif c == 2:
                g = g2
            elif c == 3:
                g = g3
            if WANT_POINTS:
                v00 = _pixel(image + plane, upper + column, in_top & in_left, ZEROS)
                v01 = _pixel(image + plane, upper + next_column, in_top & in_right, ZEROS)
                v10 = _pixel(image + plane, lower + column, in_bottom & in_left, ZEROS)
                v11 = _pixel(image + plane, lower + next_column, in_bottom & in_right, ZEROS)
                twist = v00 - v01 - v10 + v11
                gx += g * (v01 - v00 + twist * down)
                gy += g * (v10 - v00 + twist * across)
            if WANT_IMAGE:
                _add(grad_image + plane, upper + column, g * w00, live & in_top & in_left)
                _add(grad_image + plane, upper + next_column, g * w01, live & in_top & in_right)
                _add(grad_image + plane, lower + column, g * w10, live & in_bottom & in_left)
                _add(grad_image + plane, lower + next_column, g * w11, live & in_bottom & in_right)
        if WANT_POINTS:
            gx, gy = tl.where(moves_x, gx, 0.0), tl.where(moves_y, gy, 0.0)
            if POINTS <= 3:
                gx1, gy1 = gx1 + c1 * gx, gy1 + c1 * gy
                gx2, gy2 = gx2 + c2 * gx, gy2 + c2 * gy
                gx3, gy3 = gx3 + c3 * gx, gy3 + c3 * gy
            else:
                _add_to_memory(grad_points, area, basis, n, samples, gx, gy, live, POINTS, WIDTH, DEPTH)
    if WANT_POINTS and POINTS <= 3:
        _store_point(grad_points, area, gx1, gy1, live, POINTS, 0)
        _store_point(grad_points, area, gx2, gy2, live, POINTS, 1)
        _store_point(grad_points, area, gx3, gy3, live, POINTS, 2)


class _Launch:
    """One call's tensors in the kernels' layout, and the sizes that both kernels are told."""

    def __init__(self, sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> None:
        self.image, self.points = sharp.detach().contiguous(), control_points.detach().contiguous()
        self.basis = basis.detach().to(sharp.device, torch.float32).contiguous()
        self.batch, _, self.height, self.width = control_points.shape
        self.channels = sharp.shape[1]
        self.groups = triton.cdiv(self.channels, GROUP)
        rows, columns = sharp.shape[2:]
        samples, count = basis.shape
        inner = (self.batch, self.channels, self.height, self.width)
        margin, repeat = (rows - self.height) // 2, self.batch // sharp.shape[0]
        self.sizes = (*inner, rows, columns, margin, samples, repeat, 1 / samples)
        self.choices = {
            "ZEROS": zeros,
            "POINTS": count,
            "WIDTH": triton.next_power_of_2(count),
            "CHANNELS": min(self.channels, GROUP),
        }

    def grid(self, shape: dict[str, int]) -> tuple[int]:
        across, down = triton.cdiv(self.width, shape["BLOCK_X"]), triton.cdiv(self.height, shape["BLOCK_Y"])
        return (across * down * self.batch * self.groups,)

    def run(self, kernel: Any, tensors: tuple[Tensor, ...], **choices: Any) -> None:
        if self.batch * self.channels * self.height * self.width:
            with torch.cuda.device_of(self.image):
                kernel[self.grid](
                    self.image, self.points, self.basis, *tensors, *self.sizes, **self.choices, **choices
                )


def forward(sharp: Tensor, control_points: Tensor, basis: Tensor, zeros: bool) -> Tensor:
    """``motion_offsets::expose`` on a GPU."""
    launch = _Launch(sharp, control_points, basis, zeros)
    out = sharp.new_empty(launch.batch, launch.channels, launch.height, launch.width)
    launch.run(_forward, (out,))
    return out


def backward(
    grad: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    basis: Tensor,
    zeros: bool,
    want_sharp: bool,
    want_points: bool,
) -> tuple[Tensor, Tensor]:
    """``motion_offsets::expose_backward`` on a GPU. The gradient to the control points alone is deterministic."""
    if want_sharp:
        alert_not_deterministic("the gradient of the exposure to its image")
    launch = _Launch(sharp, control_points, basis, zeros)
    shape = launch.points.shape
    grad_image = launch.image.new_zeros(sharp.shape if want_sharp else 0, dtype=torch.float32)
    grad_points = launch.image.new_zeros((launch.groups, *shape) if want_points else 0, dtype=torch.float32)
    choices = {"DEPTH": triton.next_power_of_2(len(basis)), "WANT_IMAGE": want_sharp, "WANT_POINTS": want_points}
    launch.run(_backward, (grad.detach().contiguous(), grad_image, grad_points), **choices)
    total = grad_points.sum(0) if launch.groups > 1 and want_points else grad_points.view(shape if want_points else 0)
    return grad_image.to(sharp.dtype), total.to(control_points.dtype)

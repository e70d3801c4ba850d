"""Exposing a dynamic scene on the CPU: for each pixel and time, layers from front to back until one hides the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .compilation import jit
from .lanes import COUNT, load, splat, store
from .threads import run_blocks

CHANNELS = 4
_ZERO, _FOUR = np.uint64(0), np.uint64(CHANNELS)
_jit: Callable[..., Any] = functools.partial(jit, fastmath={"contract", "nsz", "arcp"})


@_jit()
def _expose(layers, boxes, back, labels, corner, limits, seen_at_0, total, valid, start, stop):
    """``layers``: ``(L, h + 1, w + 1, 4)``; ``labels``: ``(h, w)``, the layer alone in the sharp frame, or -1."""
    count, rows, columns, _ = layers.shape
    flat, width = layers.reshape(-1), total.shape[1]
    real, below = np.float32, np.uint64(columns * CHANNELS)
    whole, none = limits
    eight, slants = np.empty(COUNT, np.float32), np.empty(COUNT, np.float32)
    for lane in range(COUNT):
        slants[lane] = real(-1) if lane < CHANNELS else real(1)
    slant = load(slants, _ZERO)
    left = splat(real(0.5)) - splat(real(0.5)) * slant
    last_x, last_y = real(columns - 2), real(rows - 2)
    for y in range(start, stop):
        for x in range(width):
            px, py = real(x + corner[0]), real(y + corner[1])
            red = green = blue = real(0)
            good = True
            for t in range(back.shape[0]):
                light, seen, alone, covered = real(1), -1, True, False
                cell_x = cell_y = 0
                for layer in range(count - 1, -1, -1):
                    h = back[t, layer]
                    depth = real(1) / (h[2, 0] * px + h[2, 1] * py + h[2, 2])
                    qx = (h[0, 0] * px + h[0, 1] * py + h[0, 2]) * depth
                    qy = (h[1, 0] * px + h[1, 1] * py + h[1, 2]) * depth
                    if layer > 0 and not (
                        boxes[layer, 0] < qx < boxes[layer, 1] and boxes[layer, 2] < qy < boxes[layer, 3]
                    ):
                        continue
                    qx, qy = min(max(qx, real(0)), last_x), min(max(qy, real(0)), last_y)
                    x0, y0 = int(qx), int(qy)
                    p = np.uint64((layer * rows + y0) * columns + x0) * _FOUR
                    upper = load(flat, p)
                    mixed = upper + splat(qy - real(y0)) * (load(flat, p + below) - upper)
                    store(eight, _ZERO, mixed * (left + splat(qx - real(x0)) * slant))
                    alpha = eight[3] + eight[7] if layer > 0 else real(1)
                    share = light * alpha
                    red += share * (eight[0] + eight[4])
                    green += share * (eight[1] + eight[5])
                    blue += share * (eight[2] + eight[6])
                    light -= share
                    if seen < 0 and alpha >= real(0.5):
                        seen, cell_x, cell_y = layer, x0, y0
                        beside = int(qx > real(x0))
                        under = int(qy > real(y0))
                    covered = covered or alpha >= whole
                    if alpha > none and not covered:
                        alone = False
                    if light <= real(1e-6):
                        break
                if good:
                    good = alone and seen == seen_at_0[y, x]
                    good = good and labels[cell_y, cell_x] == seen and labels[cell_y, cell_x + beside] == seen
                    good = good and labels[cell_y + under, cell_x] == seen
                    good = good and labels[cell_y + under, cell_x + beside] == seen
            total[y, x, 0], total[y, x, 1], total[y, x, 2] = red, green, blue
            valid[y, x] = good


def expose_scene(
    layers: np.ndarray,
    back: np.ndarray,
    labels: np.ndarray,
    corner: tuple[int, int],
    seen_at_0: np.ndarray,
    limits: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """For one scene, the fused twin of :func:`motion_offsets.data.scenes.dynamic_scenes.render`'s loop over times.

    Args:
        layers: ``(L, 4, h, w)`` float32, linear colours and alpha, from back to front.
        back: ``(T, L, 3, 3)``, from the picture's pixels at t to those of the layers' grid.
        labels: ``(h, w)``, the layer that alone is seen there in the sharp frame, -1 where there is none.
        corner: x and y of the picture's first pixel on that grid.
        seen_at_0: ``(H, W)``, the layer seen at t = 0.
        limits: from which alpha on a layer covers wholly, and up to which it counts as not there.

    Returns:
        The sum of the frames ``(H, W, 3)``, and where offsets explain the pixel, ``(H, W)`` bool.
    """
    count, _, height, width = layers.shape
    held = np.empty((count, height + 1, width + 1, CHANNELS), np.float32)
    held[:, :height, :width] = layers.transpose(0, 2, 3, 1)
    held[:, height, :width], held[:, :, width] = held[:, height - 1, :width], held[:, :, width - 1]
    boxes = np.zeros((count, 4), np.float32)
    for layer in range(1, count):
        ys, xs = (np.flatnonzero(layers[layer, 3].any(axis)) for axis in (1, 0))
        if len(ys):
            boxes[layer] = xs[0] - 1, xs[-1] + 1, ys[0] - 1, ys[-1] + 1
    total = np.empty((*seen_at_0.shape, 3), np.float32)
    valid = np.empty(seen_at_0.shape, np.bool_)
    arguments = (held, boxes, back.astype(np.float32), labels.astype(np.int8), corner)
    outputs = (tuple(np.float32(limit) for limit in limits), seen_at_0.astype(np.int8), total, valid)
    run_blocks(functools.partial(_expose, *arguments, *outputs), len(total), 16)
    return total, valid


def check() -> None:
    """Raise unless a scene of one layer at rest, seen at two times, is twice its picture."""
    layers = np.arange(96, dtype=np.float32).reshape(1, 4, 4, 6)
    seen = np.zeros((4, 6), np.int64)
    back = np.broadcast_to(np.eye(3), (2, 1, 3, 3))
    total, valid = expose_scene(layers, back, seen, (0, 0), seen, (0.99, 0.01))
    np.testing.assert_allclose(total, 2 * layers[0, :3].transpose(1, 2, 0), rtol=1e-5)
    assert valid.all()

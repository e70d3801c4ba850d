"""The motion-flow blur as one loop on the CPU: every pixel gathers along its own line kernel."""

from __future__ import annotations

import numpy as np

from .compilation import jit
from .threads import run_blocks


@jit(fastmath=True)
def _blur_rows(pixels, index, starts, columns, rows, weights, margin_x, margin_y, out, start, stop):
    last_y, last_x = pixels.shape[0] - 1, pixels.shape[1] - 1
    for y in range(start, stop):
        for x in range(index.shape[1]):
            number = index[y, x]
            red = green = blue = np.float32(0)
            for tap in range(starts[number], starts[number + 1]):
                source_y = min(max(y + margin_y + rows[tap], 0), last_y)
                source_x = min(max(x + margin_x + columns[tap], 0), last_x)
                weight = weights[tap]
                red += weight * pixels[source_y, source_x, 0]
                green += weight * pixels[source_y, source_x, 1]
                blue += weight * pixels[source_y, source_x, 2]
            out[y, x, 0] = red
            out[y, x, 1] = green
            out[y, x, 2] = blue


def line_blur(pixels: np.ndarray, index: np.ndarray, kernels: list, margin: tuple[int, int]) -> np.ndarray:
    """Blur ``(H, W, 3)`` pixels with the kernel whose number ``index`` holds at each output pixel."""
    starts = np.cumsum([0, *(len(weights) for _, _, weights in kernels)])
    columns, rows, weights = (np.concatenate(parts) for parts in zip(*kernels, strict=True))
    out = np.empty((*index.shape, 3), np.float32)
    run_blocks(
        lambda i, j: _blur_rows(pixels, index, starts, columns, rows, weights, *margin, out, i, j), index.shape[0], 16
    )
    return out


def check() -> None:
    """Raise unless a kernel of one pixel leaves a picture as it is."""
    pixels = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    one = (np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))
    np.testing.assert_allclose(line_blur(pixels, np.zeros((2, 4), np.int32), [one], (0, 0)), pixels)

"""Synthetic linear blur with known motion, after Gong et al. 2017 (paper, section 6.2).

A flow holds one vector a pixel: the way the scene passed over that pixel during the exposure, in whole pixels. Each
pixel is the average of the sharp image along a centred, anti-aliased line of that length and direction.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...kernels import cpu_kernels, cpu_serves


@dataclass(frozen=True)
class FlowRanges:
    """Ranges of the generator; every parameter is drawn uniformly from ``[-maximum, maximum]``."""

    translation: float = 27.0
    """Largest translation along an axis, pixels."""
    translation_change: float = 0.3
    """Largest relative change of a translation from one side of the image to the other."""
    zoom: float = 5e-3
    """Largest forward motion ``tz``: radial length ``tz * r ** 1.5``."""
    rotation: float = math.pi / 70
    """Largest in-plane rotation ``a``, radians: tangential length ``tan(a) * r``."""
    centre_shift: float = 15.0
    """Largest distance of the centre of zoom and rotation from the middle of the image along an axis, pixels."""


@dataclass(frozen=True)
class FlowParameters:
    """One camera motion over an image of ``height`` x ``width`` pixels."""

    height: int
    width: int
    translation: tuple[float, float]
    change: tuple[float, float]
    zoom: float
    rotation: float
    centre: tuple[float, float]

    def flow(self, top: int = 0, left: int = 0, height: int | None = None, width: int | None = None) -> np.ndarray:
        """The ``(2, height, width)`` float32 flow of a window (by default the whole image), in whole pixels."""
        x = np.arange(left, left + (width or self.width), dtype=np.float64)[None]
        y = np.arange(top, top + (height or self.height), dtype=np.float64)[:, None]
        away_x, away_y = x - self.centre[0], y - self.centre[1]
        radius = np.hypot(away_x, away_y)
        # tz * r**1.5 along the unit vector away from the centre is tz * sqrt(r) times that vector.
        growth, turn = self.zoom * np.sqrt(radius), math.tan(self.rotation)
        across = self.translation[0] * (1 + self.change[0] * (x / self.width - 0.5))
        down = self.translation[1] * (1 + self.change[1] * (y / self.height - 0.5))
        return (
            np.stack([across + growth * away_x - turn * away_y, down + growth * away_y + turn * away_x])
            .round()
            .astype(np.float32)
        )


def sample_parameters(
    height: int, width: int, generator: np.random.Generator, ranges: FlowRanges = FlowRanges()
) -> FlowParameters:
    """Draw a camera motion over an image of the given size."""

    def draw(maximum: float) -> float:
        return float(generator.uniform(-maximum, maximum))

    return FlowParameters(
        height=height,
        width=width,
        translation=(draw(ranges.translation), draw(ranges.translation)),
        change=(draw(ranges.translation_change), draw(ranges.translation_change)),
        zoom=draw(ranges.zoom),
        rotation=draw(ranges.rotation),
        centre=(width / 2 + draw(ranges.centre_shift), height / 2 + draw(ranges.centre_shift)),
    )


def sample_flow(
    height: int, width: int, generator: np.random.Generator, ranges: FlowRanges = FlowRanges()
) -> np.ndarray:
    """A random ``(2, height, width)`` float32 flow in whole pixels: dx right, dy down."""
    return sample_parameters(height, width, generator, ranges).flow()


def valid_window(flow: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a photo that no motion of a ``(2, H, W)`` flow fills from outside of it.

    A centred line reaches half its extent to either side; inside that border none leaves the photo (the smoothed end
    of a slanted one may, by a pixel, with next to no weight).
    """
    left, top = (int(np.abs(component).max()) // 2 for component in flow)
    height, width = flow.shape[1:]
    return slice(top, max(top, height - top)), slice(left, max(left, width - left))


def line_kernel(dx: int, dy: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The anti-aliased line kernel of a motion of ``(dx, dy)`` pixels.

    A line of length ``|(dx, dy)| - 1`` through the origin, one pixel wide to either side with weights falling linearly
    with the distance from it, normalised: the classical ``fspecial("motion")``.

    Returns:
        The taps' columns, rows and weights, three ``(T,)`` arrays.
    """
    length = max(1.0, math.hypot(dx, dy))
    half = (length - 1) / 2
    cosine, sine = (dx / length, dy / length) if dx or dy else (1.0, 0.0)
    reach_x, reach_y = int(half * abs(cosine) + 1), int(half * abs(sine) + 1)
    columns, rows = np.meshgrid(np.arange(-reach_x, reach_x + 1), np.arange(-reach_y, reach_y + 1))
    along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
    beyond = np.where(np.hypot(columns, rows) >= half, half - np.abs(along), 0.0)
    weights = np.maximum(1 - np.hypot(across, beyond), 0)
    taken = weights > 1e-9
    weights = weights[taken] / weights[taken].sum()
    return columns[taken].astype(np.int32), rows[taken].astype(np.int32), weights.astype(np.float32)


@functools.lru_cache(maxsize=8192)
def _cached_kernel(dx: int, dy: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return line_kernel(dx, dy)


def blur_with_flow(image: Tensor, flow: np.ndarray, margin: tuple[int, int] = (0, 0)) -> Tensor:
    """Blur an image along a flow of whole pixels.

    Args:
        image: ``(3, H + 2 * my, W + 2 * mx)`` float.
        flow: ``(2, H, W)``, pixels.
        margin: ``(mx, my)``, how much more of the image there is on each side than of the flow; beyond the image its
            border pixels are repeated.

    Returns:
        ``(3, H, W)`` float32.
    """
    whole = flow.round().astype(np.int64)
    # A motion and its reversal blur alike: each kernel is looked up once, in the half-plane dx >= 0.
    keys = np.where(whole[0] < 0, -whole, whole)
    span = 2 * int(np.abs(keys[1]).max(initial=0)) + 1
    codes, index = np.unique(keys[0] * span + keys[1] + span // 2, return_inverse=True)
    kernels = [_cached_kernel(int(code // span), int(code % span - span // 2)) for code in codes]
    pixels = np.ascontiguousarray(image.detach().permute(1, 2, 0).numpy(), dtype=np.float32)
    index = index.reshape(flow.shape[1:]).astype(np.int32)
    blur = cpu_kernels("line_blur_cpu").line_blur if cpu_serves("line_blur_cpu") else _blur_plain
    return torch.from_numpy(blur(pixels, index, kernels, margin)).permute(2, 0, 1)


def _blur_plain(pixels: np.ndarray, index: np.ndarray, kernels: list, margin: tuple[int, int]) -> np.ndarray:
    out = np.empty((*index.shape, pixels.shape[2]), np.float32)
    for number, (columns, rows, weights) in enumerate(kernels):
        y, x = np.nonzero(index == number)
        source_y = np.clip(y[:, None] + margin[1] + rows, 0, pixels.shape[0] - 1)
        source_x = np.clip(x[:, None] + margin[0] + columns, 0, pixels.shape[1] - 1)
        out[y, x] = np.einsum("ptc,t->pc", pixels[source_y, source_x], weights)
    return out

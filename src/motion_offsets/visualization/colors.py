"""The two colour scales of the pictures: exposure time, and the Middlebury wheel for motion."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..exposure.srgb import linear_to_srgb

# Lightness, chroma and hue (OKLCH) of the time colours: blue over magenta and orange to pale yellow, ever lighter.
_TIME_STOPS = ((0.67, 0.18, 262.0), (0.68, 0.24, 322.0), (0.74, 0.18, 390.0), (0.84, 0.16, 435.0), (0.94, 0.14, 465.0))

# Middlebury wheel: colours between red, yellow, green, cyan, blue, magenta and red again; 55 together.
_WHEEL_STEPS = (15, 6, 4, 11, 13, 6)
_HUE_STEPS = 64  # finer colours between two of the 55
_WHEEL_CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0))


def time_colors(times: np.ndarray) -> np.ndarray:
    """Colours for exposure times.

    Args:
        times: any shape, in ``[-1, 1]``.

    Returns:
        uint8 RGB, ``times.shape + (3,)``; from blue (-1) to pale yellow (1), perceptually even and ever lighter.
    """
    ramp = _time_ramp()
    index = np.clip(np.rint((np.asarray(times) + 1) / 2 * (len(ramp) - 1)), 0, len(ramp) - 1).astype(int)
    return ramp[index]


@lru_cache(maxsize=1)
def _wheel() -> np.ndarray:
    """(55, 3) float32 colours of the wheel in [0, 1], counted from red."""
    pieces = []
    for steps, start, end in zip(_WHEEL_STEPS, _WHEEL_CORNERS, _WHEEL_CORNERS[1:], strict=False):
        # As in the definition, the moving channel takes whole levels of 255.
        ramp = np.floor(255 * np.arange(steps) / steps)[:, None] / 255
        rising = np.maximum(np.array(end) - start, 0) * ramp
        falling = np.minimum(np.array(end) - start, 0) * ramp
        pieces.append(np.array(start) + rising + falling)
    return np.concatenate(pieces).astype(np.float32)


@lru_cache(maxsize=1)
def _missing_light() -> np.ndarray:
    """(55 * 64 + 1, 3) float32: 255 minus the wheel's colour, from red all the way round to red."""
    wheel = _wheel()
    closed = np.concatenate([wheel, wheel[:1]])
    at = np.arange(len(wheel) * _HUE_STEPS + 1) / _HUE_STEPS
    colors = [np.interp(at, np.arange(len(closed)), closed[:, channel]) for channel in range(3)]
    return (255 * (1 - np.stack(colors, axis=-1))).astype(np.float32)


def wheel_colors(field: np.ndarray) -> np.ndarray:
    """Middlebury colours of vectors.

    Args:
        field: float ``(2, ...)``, channel 0 = right, 1 = down; length 1 is the fullest colour, longer ones are
            darkened, and those that are not finite turn black.

    Returns:
        uint8 RGB, ``(..., 3)``; white means no motion.
    """
    known = np.isfinite(field).all(axis=0)
    right, down = field if known.all() else np.where(known, field, 0)
    table = _missing_light()
    # Red is on the right and the wheel turns with y pointing down; the angle is counted from there. The original
    # leaves a seam of one colour at red, which shows as an edge in smooth fields; here the circle is closed.
    position = (np.arctan2(-down, -right) / np.float32(math.pi) + 1) * np.float32((len(table) - 1) / 2)
    missing = np.take(table, np.rint(position).astype(np.int32), axis=0)
    length = np.sqrt(right * right + down * down)[..., None]
    color = 255 - length * missing
    beyond = length[..., 0] > 1 + 1e-5
    if beyond.any():
        color[beyond] = 0.75 * (255 - missing[beyond])
    color[~known] = 0
    return np.clip(color, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _time_ramp() -> np.ndarray:
    """(256, 3) uint8: the stops interpolated evenly in OKLCH."""
    stops = np.array(_TIME_STOPS)
    at = np.linspace(0, len(stops) - 1, 256)
    lightness, chroma, hue = (np.interp(at, np.arange(len(stops)), stops[:, axis]) for axis in range(3))
    radians = np.deg2rad(hue)
    return _oklab_to_srgb(np.stack([lightness, chroma * np.cos(radians), chroma * np.sin(radians)], axis=-1))


def _oklab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """Oklab (..., 3) to 8-bit sRGB; colours outside sRGB are clipped. Matrices: Bjorn Ottosson's definition."""
    to_cone_roots = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_cone_roots.T) ** 3 @ to_linear.T, 0, 1)
    encoded = linear_to_srgb(linear)
    return np.rint(encoded * 255).astype(np.uint8)

"""What a longer exposure records: the average of consecutive frames, in linear light or as encoded (eq. 1)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..errors import BadInputError
from .srgb import linear_to_srgb, srgb_to_linear

Gamma: TypeAlias = float | str | None
"""``None`` averages the encoded values, a number the values to its power, ``"srgb"`` linear light by sRGB's curve."""


def check_gamma(gamma: Gamma) -> Gamma:
    """Refuse what is no :data:`Gamma`."""
    usable = gamma is None or gamma == "srgb" or (isinstance(gamma, int | float) and 0 < gamma < math.inf)
    if not usable or isinstance(gamma, bool):
        raise BadInputError(f"gamma is {gamma!r}; it must be a positive number such as 2.2, 'srgb' or None")
    return gamma


def average_frames(frames: Sequence[np.ndarray], gamma: Gamma = None) -> np.ndarray:
    """The average of frames ``(H, W, 3)`` uint8 of one size, rounded to uint8."""
    levels = linear_levels(gamma)
    total = np.zeros(frames[0].shape, np.float32)
    for frame in frames:
        total += levels[frame]
    return np.rint(encode(total / len(frames), gamma) * 255).astype(np.uint8)


def linear_levels(gamma: Gamma) -> np.ndarray:
    """What each of the 256 levels stands for, ``(256,)`` float32 from 0 to 1."""
    return _linear_levels(check_gamma(gamma))


@functools.lru_cache(maxsize=8)
def _linear_levels(gamma: Gamma) -> np.ndarray:
    encoded = np.arange(256) / 255
    if gamma is None:
        linear = encoded
    elif isinstance(gamma, str):
        linear = srgb_to_linear(encoded)
    else:
        linear = encoded**gamma
    return linear.astype(np.float32)


def encode(linear: np.ndarray, gamma: Gamma) -> np.ndarray:
    """The way back from linear values to encoded ones, float in [0, 1]."""
    if gamma is None:
        return linear
    linear = np.clip(linear, 0, 1)
    if isinstance(gamma, str):
        return linear_to_srgb(linear)
    return linear ** (1 / gamma)

"""The transfer function of sRGB (IEC 61966-2-1): encoded values to linear light and back."""

from __future__ import annotations

import numpy as np


def srgb_to_linear(encoded: np.ndarray) -> np.ndarray:
    """Linear light of encoded values; both in [0, 1], any shape, of the same floating-point type."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Encoded values of linear light; the inverse of :func:`srgb_to_linear`."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

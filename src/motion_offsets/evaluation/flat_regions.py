"""Regions without texture, and the motion that is estimated there: what the regularisation loss is for (Table 4)."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

# A region is flat where the blurred picture's grey values deviate by no more than two of 255 levels in 15x15 pixels.
FLAT_DEVIATION, FLAT_WINDOW = 2 / 255, 15


def flat_regions(blurred: Tensor) -> Tensor:
    """``(1, H, W)`` bool: where nothing in a ``(1, 3, H, W)`` picture tells how it moved."""
    grey = blurred[0].mean(0).double().numpy()
    mean, square = (ndimage.uniform_filter(values, FLAT_WINDOW) for values in (grey, grey**2))
    return torch.from_numpy(square - mean**2 <= FLAT_DEVIATION**2)[None]


def mean_length(displacement: Tensor, where: Tensor) -> float | None:
    """Mean length in pixels of a ``(1, 2, H, W)`` displacement where a ``(1, H, W)`` map is true, or ``None``."""
    return float(displacement.norm(dim=1)[where].mean()) if where.any() else None

"""What every deblurrer returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class DeblurringOutput(ModelOutput):
    """What [`MaDmphnForImageDeblurring`] and [`MaximForImageDeblurring`] return.

    Args:
        loss: scalar, the sum of ``losses``; only with ``sharp_pixel_values``.
        losses: the terms of ``loss``, ``{name: scalar}``; only with ``sharp_pixel_values``.
        sharp: ``(B, 3, H, W)``, the deblurred image, nominally in [0, 1] but not clamped.
        stack_outputs: the image after each network, each ``(B, 3, H, W)``; the last is ``sharp``.
        motion_offsets: ``(B, 9, 2, H, W)``, pixels, the offsets that were used; ``None`` without motion.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    sharp: Tensor | None = None
    stack_outputs: tuple[Tensor, ...] | None = None
    motion_offsets: Tensor | None = None

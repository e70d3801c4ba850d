"""What drawings share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw

ArrayLike: TypeAlias = torch.Tensor | np.ndarray


Color: TypeAlias = tuple[int, int, int]
INK: Color = (38, 42, 48)


def to_numpy(values: ArrayLike) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def paste_rounded(
    canvas: Image.Image, box: tuple[int, int, int, int], radius: float, color: Color, opacity: float
) -> None:
    mask = rounded_mask((box[2] - box[0], box[3] - box[1]), radius).point(lambda value: value * opacity)
    canvas.paste(color, box, mask=mask)


def rounded_mask(size: tuple[int, int], radius: float) -> Image.Image:
    mask = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), radius=radius * 4, fill=255)
    return mask.reduce(4)

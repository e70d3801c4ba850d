"""Motion fields in colours."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import BadInputError
from .canvas import INK, ArrayLike, paste_rounded, to_numpy
from .colors import wheel_colors


def flow_to_image(flow: ArrayLike, max_length: float | None = None) -> Image.Image:
    """Colour a flow field with the Middlebury wheel: hue is direction, saturation is length, white means no motion.

    Args:
        flow: ``(2, H, W)``, channel 0 = right, 1 = down, in pixels. Values that are not finite turn black.
        max_length: length of the fullest colour, in pixels; longer vectors are darkened. By default the longest
            vector, but at least 1 pixel, so that the noise of a still photo stays white.

    Returns:
        RGB picture ``(W, H)``.

    Raises:
        BadInputError: the flow has another shape, or ``max_length`` is not above 0.
    """
    field = _checked_flow(flow)
    scale = np.float32(_max_length(field, max_length))
    picture = np.empty((*field.shape[1:], 3), np.uint8)
    rows = max(1, 200_000 // field.shape[2])
    for start in range(0, field.shape[1], rows):
        picture[start : start + rows] = wheel_colors(field[:, start : start + rows] / scale)
    return Image.fromarray(picture)


def flow_wheel(size: int = 151) -> Image.Image:
    """The Middlebury wheel as a key: the colour of a vector from the centre; transparent outside.

    Args:
        size: side of the square picture in pixels, at least 8.

    Returns:
        RGBA picture ``(size, size)``.
    """
    if size < 8:
        raise BadInputError(f"size: {size!r}; give at least 8 pixels")
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * size / (size - 1)
    field = np.stack(np.meshgrid(axis, axis))
    radius = np.hypot(*field)
    colors = wheel_colors(field / np.maximum(radius, 1))
    alpha = np.clip((1 - radius) * size / 2 + 0.5, 0, 1)  # one pixel of soft edge
    return Image.fromarray(np.dstack([colors, np.rint(alpha * 255).astype(np.uint8)]))


def draw_flow(motion: ArrayLike, max_length: float | None = None, *, wheel: bool = True) -> Image.Image:
    """Flow picture with its key: the wheel in a corner, and the length in pixels that its rim stands for.

    Args:
        motion: a flow ``(2, H, W)``, or motion offsets ``(N, 2, H, W)`` whose flow from the first to the last sample
            is drawn. Its sign is a convention: one photo cannot tell it from its opposite.
        max_length: as for :func:`flow_to_image`.
        wheel: draw the key, where there is room.

    Returns:
        RGB picture ``(W, H)``.
    """
    field = to_numpy(motion)
    if field.ndim == 4:
        field = field[-1] - field[0]
    field = _checked_flow(field)
    length = _max_length(field, max_length)
    picture = flow_to_image(field, length)
    if wheel:
        _draw_wheel_key(picture, length)
    return picture


def _checked_flow(flow: ArrayLike) -> np.ndarray:
    field = to_numpy(flow)
    if field.ndim != 3 or field.shape[0] != 2 or field.size == 0:
        raise BadInputError(f"flow: shape {field.shape}; give (2, H, W)")
    return field


def _max_length(field: np.ndarray, max_length: float | None) -> float:
    if max_length is None:
        squared = np.square(field[0]) + np.square(field[1])
        return max(1.0, math.sqrt(float(np.max(squared, where=np.isfinite(squared), initial=0))))
    if not (max_length > 0 and math.isfinite(max_length)):
        raise BadInputError(f"max_length: {max_length!r}; give a length in pixels above 0")
    return float(max_length)


def _draw_wheel_key(canvas: Image.Image, length: float) -> None:
    """A white card in the lower right corner with the wheel and the length of its rim."""
    short = min(canvas.size)
    if short < 120:
        return
    size = round(max(44, 0.17 * short))
    text_height = max(10.0, 0.19 * size)
    pad = round(0.12 * size)
    margin = round(0.14 * size)
    label = f"rim {length:.3g} px"
    font = ImageFont.load_default(text_height)
    card_width = max(size, math.ceil(font.getlength(label))) + 2 * pad
    card_height = size + round(1.3 * text_height) + 2 * pad
    left, top = canvas.width - margin - card_width, canvas.height - margin - card_height
    box = (left, top, left + card_width, top + card_height)
    paste_rounded(canvas, box, pad, (255, 255, 255), 0.88)
    wheel = flow_wheel(size)
    canvas.paste(wheel, (left + (card_width - size) // 2, top + pad), mask=wheel)
    centre = left + card_width / 2
    ImageDraw.Draw(canvas).text((centre, top + card_height - 0.8 * pad), label, fill=INK, font=font, anchor="ms")

"""Pictures of motion: trajectories drawn over the photo, and optical flow in the colours of the Middlebury wheel.

One blurred photo cannot tell a motion from its reversal in time. A trajectory's two ends are therefore labelled
"one end" and "the other", never "start" and "finish", and in a flow picture a colour and the one opposite it on the
wheel may stand for the same blur.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from .colors import time_colors, wheel_colors
from .errors import BadInputError

ArrayLike: TypeAlias = torch.Tensor | np.ndarray
Color: TypeAlias = tuple[int, int, int]

STILL_PIXELS = 1.0
"""A trajectory that stays within this many pixels is drawn as a dot: nothing moved that one could see."""

_STILL_COLOR: Color = (226, 230, 236)
_INK: Color = (38, 42, 48)
_CELLS_ALONG_SIDE = 24  # on a square picture
_PIECES = 56  # coloured pieces a curve
_FOURFOLD_BELOW, _TWOFOLD_BELOW = 4_000_000, 50_000_000  # pixels of the photo; wide lines need less super-sampling


def draw_trajectories(
    image: Image.Image,
    motion_offsets: ArrayLike,
    *,
    cell: float | None = None,
    density: float = 1,
    line_width: float | None = None,
    backdrop: float = 0.62,
    legend: bool = True,
    mirror: bool = False,
) -> Image.Image:
    """Draw one motion trajectory for each cell of a grid over the dimmed photo, coloured by time.

    The curve of the cell centred at p runs through ``p + offset_t(p)`` (eq. 2), sampled at the centre and not
    averaged; between two samples it is straight. Cells that do not move get a dot.

    Args:
        image: the photo, ``(W, H)``.
        motion_offsets: ``(N, 2, h, w)``, N >= 2, channel 0 = dx (right), 1 = dy (down), in pixels of the photo.
            ``(h, w)`` may be smaller than ``(H, W)``, such as every 8th pixel; cells look up the nearest value.
        cell: side of a grid cell in pixels; by default about 24 cells along a square picture, fewer on an
            axis where the motion is so long that neighbouring curves would run into each other.
        density: how many times as many curves along a side as by default; without effect where ``cell`` is given.
        line_width: in pixels; by default it grows with the picture.
        backdrop: brightness of the photo below the curves, 0 (black) to 1 (untouched).
        legend: show which colour is which end of the exposure, where there is room.
        mirror: draw ``p - offset_t(p)``, the path that a point of the scene takes in the photo (its light streak).
            For a straight motion that is the same curve reversed.

    Returns:
        RGB picture of the photo's size.

    Raises:
        BadInputError: offsets of another shape or not finite, or a cell, width or brightness out of range.

    Example:
        >>> t = np.linspace(-1, 1, 15, dtype=np.float32)
        >>> offsets = np.zeros((15, 2, 320, 480), np.float32)
        >>> offsets[:, 0] = (12 * t)[:, None, None]  # everything moves 24 pixels sideways
        >>> picture = draw_trajectories(Image.new("RGB", (480, 320)), offsets)
    """
    offsets = _checked_offsets(motion_offsets)
    width, height = image.size
    width_of_line = _default_line_width(width, height) if line_width is None else line_width
    if not 0 < width_of_line <= min(width, height):
        raise BadInputError(f"line_width: {line_width!r}; give a number of pixels above 0")
    if not 0 <= backdrop <= 1:
        raise BadInputError(f"backdrop: {backdrop!r}; give a brightness from 0 to 1")
    if cell is not None and not cell >= 2:
        raise BadInputError(f"cell: {cell!r}; give a side of at least 2 pixels")
    if not 0 < density <= 10:
        raise BadInputError(f"density: {density!r}; give a number above 0, up to 10")
    cell_size = _default_cell(width, height, offsets, density) if cell is None else (cell, cell)
    centres = _cell_centres(width, height, cell_size)
    paths = _paths(offsets, centres, width, height, -1 if mirror else 1)
    canvas = _dimmed(image, backdrop)
    _draw_curves(canvas, paths, width_of_line)
    if legend:
        _draw_legend(canvas)
    return canvas


def flow_to_image(flow: ArrayLike, max_length: float | None = None) -> Image.Image:
    """Colour a flow field with the Middlebury wheel: hue is direction, saturation is length, white is no motion.

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
    field = _numpy(motion)
    if field.ndim == 4:
        field = field[-1] - field[0]
    field = _checked_flow(field)
    length = _max_length(field, max_length)
    picture = flow_to_image(field, length)
    if wheel:
        _draw_wheel_key(picture, length)
    return picture


def _numpy(values: ArrayLike) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _checked_offsets(motion_offsets: ArrayLike) -> ArrayLike:
    """The offsets as they are: only the grid's values are ever converted, so a large field costs no copy."""
    shape = tuple(motion_offsets.shape)
    if len(shape) != 4 or shape[1] != 2 or shape[0] < 2 or min(shape) < 1:
        raise BadInputError(f"motion_offsets: shape {shape}; give (N, 2, H, W) of one photo, N at least 2")
    return motion_offsets


def _checked_flow(flow: ArrayLike) -> np.ndarray:
    field = _numpy(flow)
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


# Trajectories


def _default_line_width(width: int, height: int) -> float:
    return 0.8 + 0.0021 * math.sqrt(width * height)


def _default_cell(width: int, height: int, offsets: ArrayLike, density: float) -> tuple[float, float]:
    """(width, height) of a cell: stretched along the axis on which neighbouring curves would meet."""
    base = max(22.0, math.sqrt(width * height) / _CELLS_ALONG_SIDE)
    paths = _paths(offsets, _cell_centres(width, height, (base, base)), width, height, 1)
    typical = np.percentile(paths.max(axis=1) - paths.min(axis=1), 90, axis=0)
    cell_width, cell_height = np.clip(1.15 * typical + base / 4, base, 2.5 * base).tolist()
    return max(2.0, cell_width / density), max(2.0, cell_height / density)


def _cell_centres(width: int, height: int, cell: tuple[float, float]) -> np.ndarray:
    """(M, 2) centres (x, y), in pixels, of equal cells that fill the picture."""
    columns, rows = max(1, round(width / cell[0])), max(1, round(height / cell[1]))
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _paths(offsets: ArrayLike, centres: np.ndarray, width: int, height: int, sign: int) -> np.ndarray:
    """(M, N, 2) points (x, y) of every cell's curve."""
    columns = ((centres[:, 0] + 0.5) * offsets.shape[3] / width).astype(int)
    rows = ((centres[:, 1] + 0.5) * offsets.shape[2] / height).astype(int)
    at_centres = _numpy(offsets[:, :, rows, columns])
    if not np.isfinite(at_centres).all():
        raise BadInputError("motion_offsets: some are not finite numbers; give pixels")
    return centres[:, None] + sign * at_centres.transpose(2, 0, 1)


def _extents(paths: np.ndarray) -> np.ndarray:
    """(M,) diagonal of every curve's bounding box."""
    return np.linalg.norm(paths.max(axis=1) - paths.min(axis=1), axis=-1)


def _dimmed(image: Image.Image, brightness: float) -> Image.Image:
    grey = ImageEnhance.Color(image.convert("RGB")).enhance(0.25 + 0.75 * brightness**2)
    return ImageEnhance.Brightness(grey).enhance(brightness)


def _draw_curves(canvas: Image.Image, paths: np.ndarray, line_width: float) -> None:
    """A dark rim below everything, then the curves in their colours, then the dots of the still cells."""
    still = _extents(paths) < STILL_PIXELS
    moving, resting = paths[~still], paths[still].mean(axis=1)
    rim = _stroke_mask(canvas.size, moving, resting, line_width + 2 * max(0.6, 0.35 * line_width))
    canvas.paste((0, 0, 0), mask=rim.point(lambda value: value * 0.6))
    if len(moving):
        core = _stroke_mask(canvas.size, moving, resting[:0], line_width)
        canvas.paste(_color_layer(canvas.size, moving, line_width + 2), mask=core)
    if len(resting):
        canvas.paste(_STILL_COLOR, mask=_stroke_mask(canvas.size, moving[:0], resting, line_width))


def _stroke_mask(size: tuple[int, int], paths: np.ndarray, dots: np.ndarray, width: float) -> Image.Image:
    """Anti-aliased coverage of round-capped strokes and of dots, drawn enlarged and scaled down."""
    pixels = size[0] * size[1]
    zoom = 4 if pixels < _FOURFOLD_BELOW else 2 if pixels < _TWOFOLD_BELOW else 1
    mask = Image.new("L", (size[0] * zoom, size[1] * zoom))
    draw = ImageDraw.Draw(mask)
    stroke = max(1, round(width * zoom))
    radius = stroke / 2
    for path in (paths + 0.5) * zoom - 0.5:
        points = [tuple(point) for point in path.tolist()]
        draw.line(points, fill=255, width=stroke, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    radius *= 1.15
    for x, y in ((dots + 0.5) * zoom - 0.5).tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return mask.reduce(zoom)


def _color_layer(size: tuple[int, int], paths: np.ndarray, width: float) -> Image.Image:
    """Time colours along the curves, a little wider than the curves; their edges come from the mask."""
    layer = Image.new("RGB", size)
    draw = ImageDraw.Draw(layer)
    samples = np.linspace(0, 1, paths.shape[1])
    steps = np.linspace(0, 1, max(_PIECES, paths.shape[1]) + 1)
    sample_colors = _time_color_tuples(samples)
    piece_colors = _time_color_tuples((steps[:-1] + steps[1:]) / 2)
    radius, stroke = width / 2, math.ceil(width)
    for path in paths:
        for (x, y), color in zip(path.tolist(), sample_colors, strict=True):  # round ends and bends
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        points = np.stack([np.interp(steps, samples, path[:, axis]) for axis in (0, 1)], axis=-1)
        for piece, color in zip(np.hstack([points[:-1], points[1:]]).tolist(), piece_colors, strict=True):
            draw.line(piece, fill=color, width=stroke)
    return layer


def _time_color_tuples(fractions: np.ndarray) -> list[Color]:
    return [(red, green, blue) for red, green, blue in time_colors(2 * fractions - 1).tolist()]


def _draw_legend(canvas: Image.Image) -> None:
    """A pill in the lower left corner: one end of the exposure, the ramp, the other."""
    text_height = max(10.0, 0.011 * math.sqrt(canvas.width * canvas.height) + 3)
    font = ImageFont.load_default(text_height)
    left, right = "one end of the exposure", "the other"
    gap, bar_width, bar_height = 0.6 * text_height, 5.5 * text_height, 0.42 * text_height
    widths = font.getlength(left), font.getlength(right)
    pill_width = math.ceil(sum(widths) + bar_width + 4 * gap)
    pill_height = math.ceil(1.9 * text_height)
    margin = math.ceil(0.9 * text_height)
    if pill_width + 2 * margin > canvas.width or pill_height + 2 * margin > canvas.height / 3:
        return
    corner = (margin, canvas.height - margin - pill_height)
    _paste_rounded(
        canvas, (*corner, corner[0] + pill_width, corner[1] + pill_height), pill_height / 2, (0, 0, 0), 0.62
    )
    middle = corner[1] + pill_height / 2
    draw = ImageDraw.Draw(canvas)
    draw.text((corner[0] + gap * 1.2, middle), left, fill=_STILL_COLOR, font=font, anchor="lm")
    bar_left = round(corner[0] + widths[0] + gap * 2.1)
    bar_box = (bar_left, round(middle - bar_height / 2), bar_left + round(bar_width), round(middle + bar_height / 2))
    ramp = time_colors(np.linspace(-1, 1, bar_box[2] - bar_box[0]))
    bar = Image.fromarray(np.repeat(ramp[None], bar_box[3] - bar_box[1], axis=0))
    canvas.paste(bar, bar_box[:2], mask=_rounded_mask(bar.size, bar_height / 2))
    draw.text((bar_box[2] + gap * 0.9, middle), right, fill=_STILL_COLOR, font=font, anchor="lm")


def _paste_rounded(
    canvas: Image.Image, box: tuple[int, int, int, int], radius: float, color: Color, opacity: float
) -> None:
    mask = _rounded_mask((box[2] - box[0], box[3] - box[1]), radius).point(lambda value: value * opacity)
    canvas.paste(color, box, mask=mask)


def _rounded_mask(size: tuple[int, int], radius: float) -> Image.Image:
    mask = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), radius=radius * 4, fill=255)
    return mask.reduce(4)


# Flow


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
    _paste_rounded(canvas, box, pad, (255, 255, 255), 0.88)
    wheel = flow_wheel(size)
    canvas.paste(wheel, (left + (card_width - size) // 2, top + pad), mask=wheel)
    centre = left + card_width / 2
    ImageDraw.Draw(canvas).text((centre, top + card_height - 0.8 * pad), label, fill=_INK, font=font, anchor="ms")

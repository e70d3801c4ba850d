"""Pictures of motion: trajectories drawn over the photo, and optical flow in the colours of the Middlebury wheel.

One blurred photo cannot tell a motion from its reversal in time. A trajectory's two ends are therefore labelled
"one end" and "the other", never "start" and "finish", and in a flow picture a colour and the one opposite it on the
wheel may stand for the same blur.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from ..errors import BadInputError
from .canvas import ArrayLike, Color, paste_rounded, rounded_mask, to_numpy
from .colors import time_colors

STILL_PIXELS = 1.0
"""A trajectory that stays within this many pixels is drawn as a dot: nothing moved that one could see."""

_STILL_COLOR: Color = (226, 230, 236)
_CELLS_ALONG_SIDE = 24  # on a square picture
# Uncertainty over length of a curve from which it fades, and from which it is at its faintest.
_SURE, _UNSURE, _FAINTEST = 0.25, 1.0, 0.25
_PIECES = 56  # coloured pieces a curve
_FOURFOLD_BELOW, _TWOFOLD_BELOW = 4_000_000, 50_000_000  # pixels of the photo; wide lines need less super-sampling


def draw_trajectories(
    image: Image.Image,
    motion_offsets: ArrayLike,
    *,
    uncertainty: ArrayLike | None = None,
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
        uncertainty: ``(h, w)``, pixels, how far the ends of the paths are expected to be off. Curves fade from where
            that is a quarter of their length to where it is their whole length.
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
    _draw_curves(canvas, paths, width_of_line, _opacities(uncertainty, offsets, centres, paths, width, height))
    if legend:
        _draw_legend(canvas)
    return canvas


def _checked_offsets(motion_offsets: ArrayLike) -> ArrayLike:
    """The offsets as they are: only the grid's values are ever converted, so a large field costs no copy."""
    shape = tuple(motion_offsets.shape)
    if len(shape) != 4 or shape[1] != 2 or shape[0] < 2 or min(shape) < 1:
        raise BadInputError(f"motion_offsets: shape {shape}; give (N, 2, H, W) of one photo, N at least 2")
    return motion_offsets


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
    rows, columns = _looked_up(offsets, centres, width, height)
    at_centres = to_numpy(offsets[:, :, rows, columns])
    if not np.isfinite(at_centres).all():
        raise BadInputError("motion_offsets: some are not finite numbers; give pixels")
    return centres[:, None] + sign * at_centres.transpose(2, 0, 1)


def _looked_up(offsets: ArrayLike, centres: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """(M,) rows and (M,) columns of the offsets' grid that lie nearest to the centres."""
    columns = ((centres[:, 0] + 0.5) * offsets.shape[3] / width).astype(int)
    rows = ((centres[:, 1] + 0.5) * offsets.shape[2] / height).astype(int)
    return rows, columns


def _opacities(
    uncertainty: ArrayLike | None, offsets: ArrayLike, centres: np.ndarray, paths: np.ndarray, width: int, height: int
) -> np.ndarray:
    """(M,) how much is seen of every cell's curve, from :data:`_FAINTEST` to 1."""
    if uncertainty is None:
        return np.ones(len(paths))
    if tuple(uncertainty.shape) != tuple(offsets.shape[2:]):
        raise BadInputError(
            f"uncertainty: shape {tuple(uncertainty.shape)}; give that of the offsets, {tuple(offsets.shape[2:])}"
        )
    rows, columns = _looked_up(offsets, centres, width, height)
    ratio = to_numpy(uncertainty[rows, columns]) / np.maximum(_extents(paths), STILL_PIXELS)
    doubt = np.clip((ratio - _SURE) / (_UNSURE - _SURE), 0, 1)
    return 1 - (1 - _FAINTEST) * doubt


def _extents(paths: np.ndarray) -> np.ndarray:
    """(M,) diagonal of every curve's bounding box."""
    return np.linalg.norm(paths.max(axis=1) - paths.min(axis=1), axis=-1)


def _dimmed(image: Image.Image, brightness: float) -> Image.Image:
    grey = ImageEnhance.Color(image.convert("RGB")).enhance(0.25 + 0.75 * brightness**2)
    return ImageEnhance.Brightness(grey).enhance(brightness)


def _draw_curves(canvas: Image.Image, paths: np.ndarray, line_width: float, opacities: np.ndarray) -> None:
    """A dark rim below everything, then the curves in their colours, then the dots of the still cells."""
    order = np.argsort(opacities, kind="stable")  # the faintest first, so that what is sure lies on top
    paths, fills = paths[order], np.rint(255 * opacities[order]).astype(int)
    still = _extents(paths) < STILL_PIXELS
    moving, resting = (paths[~still], fills[~still]), (paths[still].mean(axis=1), fills[still])
    no_strokes, no_dots = (paths[:0], fills[:0]), (paths[:0, 0], fills[:0])
    rim = _stroke_mask(canvas.size, moving, resting, line_width + 2 * max(0.6, 0.35 * line_width))
    canvas.paste((0, 0, 0), mask=rim.point(lambda value: value * 0.6))
    if not still.all():
        core = _stroke_mask(canvas.size, moving, no_dots, line_width)
        canvas.paste(_color_layer(canvas.size, moving[0], line_width + 2), mask=core)
    if still.any():
        canvas.paste(_STILL_COLOR, mask=_stroke_mask(canvas.size, no_strokes, resting, line_width))


def _stroke_mask(
    size: tuple[int, int], strokes: tuple[np.ndarray, np.ndarray], dots: tuple[np.ndarray, np.ndarray], width: float
) -> Image.Image:
    """Anti-aliased coverage, to a value from 0 to 255 for each, of round-capped strokes ``(M, N, 2)`` and of dots
    ``(M, 2)``, drawn enlarged and scaled down."""
    pixels = size[0] * size[1]
    zoom = 4 if pixels < _FOURFOLD_BELOW else 2 if pixels < _TWOFOLD_BELOW else 1
    mask = Image.new("L", (size[0] * zoom, size[1] * zoom))
    draw = ImageDraw.Draw(mask)
    stroke = max(1, round(width * zoom))
    radius = stroke / 2
    for path, fill in zip((strokes[0] + 0.5) * zoom - 0.5, strokes[1].tolist(), strict=True):
        points = [tuple(point) for point in path.tolist()]
        draw.line(points, fill=fill, width=stroke, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    radius *= 1.15
    for (x, y), fill in zip(((dots[0] + 0.5) * zoom - 0.5).tolist(), dots[1].tolist(), strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
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
    paste_rounded(canvas, (*corner, corner[0] + pill_width, corner[1] + pill_height), pill_height / 2, (0, 0, 0), 0.62)
    middle = corner[1] + pill_height / 2
    draw = ImageDraw.Draw(canvas)
    draw.text((corner[0] + gap * 1.2, middle), left, fill=_STILL_COLOR, font=font, anchor="lm")
    bar_left = round(corner[0] + widths[0] + gap * 2.1)
    bar_box = (bar_left, round(middle - bar_height / 2), bar_left + round(bar_width), round(middle + bar_height / 2))
    ramp = time_colors(np.linspace(-1, 1, bar_box[2] - bar_box[0]))
    bar = Image.fromarray(np.repeat(ramp[None], bar_box[3] - bar_box[1], axis=0))
    canvas.paste(bar, bar_box[:2], mask=rounded_mask(bar.size, bar_height / 2))
    draw.text((bar_box[2] + gap * 0.9, middle), right, fill=_STILL_COLOR, font=font, anchor="lm")


# Flow

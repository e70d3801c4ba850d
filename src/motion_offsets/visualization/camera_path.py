"""A small picture of the camera's own motion: where it pointed during the exposure."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..exposure.camera import CameraFit
from ..exposure.camera_modes import AUTO
from .canvas import INK
from .colors import time_colors

SIDE = 360  # pixels
_ZOOM = 4  # drawn so many times larger and scaled down
_SAMPLES = 61
_MARGIN, _FOOT = 28, 58
_GRID = (224, 226, 230)


def draw_camera(fit: CameraFit, focal_length: float | None = None, mode: str = AUTO) -> Image.Image:
    """The camera's path at the middle of the photo, coloured by time as trajectories are, on a grid of whole pixels.

    Args:
        fit: the camera's motion.
        focal_length: in millimetres of the 35 mm format; with it the turns are told in degrees.
        mode: the camera mode, which tells whether the fit is used.

    Returns:
        RGB, 360x360.
    """
    path = fit.path(torch.linspace(-1, 1, _SAMPLES, dtype=torch.float64)).numpy()
    low, high = path.min(0), path.max(0)
    step = _grid_step(max(4.0, float((high - low).max())))
    shown = max(4.0, 1.15 * float((high - low).max()))
    scale = (SIDE - 2 * _MARGIN - _FOOT) / shown * _ZOOM
    middle = np.array([SIDE / 2, (SIDE - _FOOT) / 2]) * _ZOOM

    def place(points: np.ndarray) -> np.ndarray:
        return (points - (low + high) / 2) * scale + middle

    large = Image.new("RGB", (SIDE * _ZOOM, SIDE * _ZOOM), "white")
    draw = ImageDraw.Draw(large)
    bottom = (SIDE - _FOOT) * _ZOOM
    centre = (low + high) / 2
    for number in range(math.floor((centre.min() - shown) / step), math.ceil((centre.max() + shown) / step) + 1):
        x, y = place(np.array([number * step, number * step]))
        if 0 <= x < SIDE * _ZOOM:
            draw.line((x, 0, x, bottom), fill=_GRID, width=_ZOOM)
        if 0 <= y < bottom:
            draw.line((0, y, SIDE * _ZOOM, y), fill=_GRID, width=_ZOOM)
    _draw_path(draw, place(path), 5 * _ZOOM)
    picture = large.reduce(_ZOOM)
    _write(picture, fit, focal_length, mode, step)
    return picture


def _grid_step(span: float) -> float:
    """1, 2 or 5 times a power of ten: three to eight lines across the span."""
    rough = span / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _draw_path(draw: ImageDraw.ImageDraw, points: np.ndarray, width: int) -> None:
    colors = time_colors(np.linspace(-1, 1, len(points)))
    for grown, rim in ((1.4, True), (1.0, False)):
        radius = width * grown / 2
        for number, (x, y) in enumerate(points.tolist()):
            fill = INK if rim else tuple(colors[number].tolist())
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
            if number:
                draw.line((*points[number - 1].tolist(), x, y), fill=fill, width=round(2 * radius))


def _write(picture: Image.Image, fit: CameraFit, focal_length: float | None, mode: str, step: float) -> None:
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    if not fit.moved:
        lines = ["The camera did not move.", "", ""]
    else:
        ends = fit.path([-1.0, 1.0])
        length = float((ends[1] - ends[0]).norm())
        up, right, roll = (fit.rotation([1.0], focal_length) - fit.rotation([-1.0], focal_length))[0].tolist()
        turn = f"turned {math.hypot(up, right):.2f}°, " if focal_length is not None else ""
        used = "" if fit.used(mode) else ", too little to be used"
        lines = [
            f"Camera: {length:.1f} px from end to end, {turn}roll {roll:+.2f}°",
            f"explains {fit.explained:.0%} of what is textured{used}",
            f"grid: {step:g} px; one end of the exposure is dark, the other light",
        ]
    for row, line in enumerate(lines):
        draw.text((10, SIDE - _FOOT + 4 + 17 * row), line, fill=INK, font=font)

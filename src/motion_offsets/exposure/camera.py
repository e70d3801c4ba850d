"""The camera's own motion: one affine field of paths, fitted robustly to the estimate of every pixel.

Most blurred photos are of a shaken camera. Where its motion explains a pixel's estimate, or where nothing in the photo
tells how the pixel moved, the path is the camera's; where a textured region disagrees, it stays the region's own.

A pixel's path may be estimated backwards in time, so each is compared in the direction that fits better. The distance
of two paths is the root mean square of the distance between their offsets over the exposure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .camera_modes import AUTO, ONLY, check_camera_mode
from .trajectories import offsets_at, reverse_time, sample_times

STILL = 1.0  # pixels; a camera whose longest path over the photo is shorter stood still
CELL = 8  # pixels between the places at which estimates are compared
_LEAST_EXPLAINED = 0.3  # below this share the camera's motion is not known well enough to be used
_ROWS = 128
_TIMES = 9  # of a report


@dataclass(frozen=True)
class CameraFit:
    """A camera's motion, fitted to the paths of one photo.

    Args:
        coefficients: ``(2K, 3)`` float64: each channel of the camera's control points is ``c0 + c1 x + c2 y`` pixels,
            where x and y are distances from the middle of the photo in units of half its longer side.
        trajectory: of the control points.
        height: of the photo, pixels.
        width: likewise.
        moved: whether the camera moved. It did not if the photo has no texture or the longest path is shorter than
            one pixel; its coefficients are 0 then.
        explained: share of what is textured that the camera's motion explains, 0 to 1; 0 without texture.
        scale: median distance of the estimates from the camera's paths, pixels.
        weight: ``(1, 1, h, w)`` float32 in [0, 1], every :data:`CELL` pixels: 1 where the path is the camera's.
    """

    coefficients: Tensor
    trajectory: str
    height: int
    width: int
    moved: bool
    explained: float
    scale: float
    weight: Tensor = field(repr=False)

    @property
    def trusted(self) -> bool:
        """Whether the camera's motion explains enough of the photo to be used, or there is nothing to explain."""
        return self.explained >= _LEAST_EXPLAINED or bool((self.weight == 1).all())

    def used(self, mode: str) -> bool:
        """Whether paths are the camera's in this camera mode: in ``"auto"`` if the fit is trusted."""
        return check_camera_mode(mode) == ONLY or (mode == AUTO and self.trusted)

    def control_points(self, rows: slice = slice(None)) -> Tensor:
        """The camera's control points ``(1, 2K, H, W)``, float32, pixels; of some rows only if these are given."""
        across = _places(torch.arange(self.width, dtype=torch.float64), self.width, self)
        down = _places(torch.arange(self.height, dtype=torch.float64)[rows], self.height, self)
        constant, by_x, by_y = self.coefficients.unbind(1)
        along_x = constant[:, None] + by_x[:, None] * across
        return (along_x[:, None] + (by_y[:, None] * down)[:, :, None])[None].float()

    def path(self, times: Any) -> Tensor:
        """Where the camera pointed at T times in [-1, 1], ``(T, 2)`` float64: pixels right and down of where it
        pointed at t = 0, which is the offset at the middle of the photo."""
        return offsets_at(self.coefficients[:, 0].view(1, -1, 1, 1), times, self.trajectory)[0, :, :, 0, 0]

    def rotation(self, times: Any, focal_length: float | None = None) -> Tensor:
        """The camera's turn at T times in [-1, 1], ``(T, 3)`` float64, degrees about its axes x (to the right; up is
        positive), y (downwards; right is positive) and z (the line of sight; clockwise is positive).

        Args:
            times: T times in [-1, 1].
            focal_length: in millimetres of the 35 mm format, as EXIF tells it. Without it, the turns about x and y
                are not known and are NaN.
        """
        unit = max(self.height, self.width) / 2
        slopes = self.coefficients[:, 1:].T.reshape(2, -1, 1, 1) / unit
        by_x, by_y = offsets_at(slopes, times, self.trajectory)[..., 0, 0]
        roll = (by_x[:, 1] - by_y[:, 0]) / 2
        path = self.path(times)
        focal = math.nan if focal_length is None else focal_length * math.hypot(self.height, self.width) / _DIAGONAL
        return torch.stack([-path[:, 1] / focal, path[:, 0] / focal, roll], 1).atan().rad2deg()

    def report(self, focal_length: float | None = None, mode: str = AUTO) -> dict[str, Any]:
        """The fit as plain values for a JSON file; ``rotation_degrees`` about x and y are ``None`` without a focal
        length. ``used`` tells whether the paths follow it in this camera mode."""
        times = sample_times(_TIMES, torch.float64)
        turns = [[None if math.isnan(turn) else round(turn, 4) for turn in row] for row in
                 self.rotation(times, focal_length).tolist()]  # fmt: skip
        return {
            "moved": self.moved,
            "used": self.used(mode),
            "explained": round(self.explained, 4),
            "scale": round(self.scale, 4),
            "times": times.tolist(),
            "path_pixels": [[round(value, 3) for value in point] for point in self.path(times).tolist()],
            "rotation_degrees": turns,
            "focal_length_35mm": focal_length,
            "coefficients": self.coefficients.tolist(),
        }


_DIAGONAL = math.hypot(36, 24)  # millimetres, of the 35 mm format


def follow_camera(control_points: Tensor, fit: CameraFit, mode: str = AUTO) -> Tensor:
    """The paths of one photo where they stay its own, the camera's where that explains them, smoothly between.

    Args:
        control_points: ``(1, 2K, H, W)``, pixels.
        fit: of these, from :func:`~motion_offsets.exposure.camera_fit.fit_camera`.
        mode: ``"auto"``; ``"only"``: the camera's path everywhere; ``"off"``: the paths as they are.

    Returns:
        ``(1, 2K, H, W)`` float32, run in the camera's direction of time; the paths as they are if the mode is
        ``"off"``, or ``"auto"`` and the fit is not :attr:`~CameraFit.trusted`.
    """
    if not fit.used(mode):
        return control_points
    followed = torch.empty_like(control_points, dtype=torch.float32)
    height, width = control_points.shape[2:]
    # In strips: a large photo's maps are not to be in memory several times.
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        camera = fit.control_points(rows).to(control_points.device)
        if mode == ONLY:
            followed[:, :, rows] = camera
            continue
        own = control_points[:, :, rows].float()
        own = _aligned(own, camera, fit.trajectory)
        followed[:, :, rows] = torch.lerp(own, camera, _rows_of(fit.weight, rows, width, own))
    return followed


def _places(pixels: Tensor, side: int, fit: CameraFit) -> Tensor:
    return (pixels + 0.5 - side / 2) / (max(fit.height, fit.width) / 2)


def _aligned(own: Tensor, camera: Tensor, trajectory: str) -> Tensor:
    """Each path in the direction of time in which it is closer to the camera's."""
    backwards = reverse_time(own, trajectory)
    closer = _distance(backwards - camera, trajectory) < _distance(own - camera, trajectory)
    return torch.where(closer, backwards, own)


def _distance(difference: Tensor, trajectory: str) -> Tensor:
    """Mean square of the offsets over the exposure, ``(1, 1, h, W)``; five times tell which of two is smaller."""
    return offsets_at(difference, [-1.0, -0.5, 0.0, 0.5, 1.0], trajectory).square().mean(1).sum(1, keepdim=True)


def _rows_of(weight: Tensor, rows: slice, width: int, like: Tensor) -> Tensor:
    """Some rows of a map of cells, bilinearly between their middles: ``(1, 1, h, width)``."""
    down = ((torch.arange(rows.start, rows.stop) + 0.5) / CELL - 0.5).clamp(0, weight.shape[2] - 1)
    across = ((torch.arange(width) + 0.5) / CELL - 0.5).clamp(0, weight.shape[3] - 1)
    top, left = down.floor().long(), across.floor().long()
    below, right = (top + 1).clamp(max=weight.shape[2] - 1), (left + 1).clamp(max=weight.shape[3] - 1)
    columns = torch.lerp(weight[..., left], weight[..., right], across - left)
    return torch.lerp(columns[:, :, top], columns[:, :, below], (down - top)[:, None]).to(like)

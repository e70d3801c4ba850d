"""Fitting the camera's motion to the estimated paths of a photo; see :mod:`motion_offsets.exposure.camera`."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import BadInputError
from .camera import CELL, STILL, CameraFit
from .trajectories import (
    num_control_points,
    offsets_at,
    reverse_time,
    sample_times,
    split_control_points,
    trajectory_basis,
)

_MOST_CELLS = 3000  # of the fit
# Root mean square of the differences between neighbours, at half size, at which half a pixel's estimate is believed:
# at first sight, and where the estimator itself tells how sure it is.
_TEXTURE, _TEXTURE_IF_SURE = 8 / 255, 1 / 255
_UNSURE = 2.0  # pixels of uncertainty at which half an estimate is believed
_NO_TEXTURE = 0.05  # if no more than one cell in a hundred is believed more than this, nothing tells of any motion
_TOLERANCE = (1.0, 0.25)  # pixels, and share of the camera's own path: estimates this close to it are explained by it
_STEPS, _SEEDS = 12, 6
_SCALE, _LEAST_SCALE = 2.5, 0.5  # of the median distance; pixels
_FAR = 5.0  # pixels from a seed to the estimates that start with it
_RIDGE = 0.01  # keeps the slopes of the field defined where few estimates count
_WINDOW = 5  # cells over which estimates that disagree must do so together


@torch.no_grad()
def fit_camera(control_points: Tensor, photo: Tensor, trajectory: str, uncertainty: Tensor | None = None) -> CameraFit:
    """Fit the camera's motion to the estimated paths of one photo.

    Iteratively reweighted least squares with Geman-McClure weights, from several directions and from no motion; the
    fit of the lowest cost is taken. Estimates count as far as the photo is textured there.

    Args:
        control_points: ``(1, 2K, H, W)``, pixels.
        photo: the blurred photo, ``(1, 3, H, W)`` in [0, 1].
        trajectory: of the control points, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`.
        uncertainty: ``(1, 1, H, W)``, the scale of the error of each estimate, pixels, if the estimator gives one.

    Raises:
        BadInputError: shapes do not fit each other or the trajectory, or a value is not a finite number.
    """
    _check(control_points, photo, trajectory, uncertainty)
    height, width = photo.shape[2:]
    trust = _trust(photo, uncertainty)
    still = torch.zeros(control_points.shape[1], 3, dtype=torch.float64)
    if float(trust.quantile(0.99)) <= _NO_TEXTURE:
        return CameraFit(still, trajectory, height, width, False, 0.0, 0.0, torch.ones_like(trust).float())
    times = max(1, math.ceil(math.sqrt(height * width / _MOST_CELLS) / CELL))
    believed = functional.avg_pool2d(trust, times, ceil_mode=True, count_include_pad=False).flatten()
    paths = _Paths(control_points, trajectory, times * CELL)
    coefficients = _fitted(paths, believed, _affine_terms(height, width, times * CELL))
    fit = CameraFit(coefficients, trajectory, height, width, True, 0.0, 0.0, trust)
    if _longest(fit) < STILL:
        fit = replace(fit, coefficients=still, moved=False)
    return _weighed(fit, control_points, trust)


def _check(control_points: Tensor, photo: Tensor, trajectory: str, uncertainty: Tensor | None) -> None:
    found = split_control_points(control_points).shape[1]
    # Whatever the number of control points of zero-constraint is, it is the number of samples.
    needed = num_control_points(trajectory, found)
    if found != needed:
        raise BadInputError(f"control points have {2 * found} channels; a {trajectory} trajectory needs {2 * needed}")
    for name, given, channels in (("photo", photo, 3), ("uncertainty", uncertainty, 1)):
        expected = (1, channels, *control_points.shape[2:])
        if given is not None and (tuple(given.shape) != expected or control_points.shape[0] != 1):
            raise BadInputError(
                f"{name} has shape {tuple(given.shape)} and the control points {tuple(control_points.shape)}; "
                f"a camera is fitted to one photo, {expected} here"
            )
    for name, given in (("control_points", control_points), ("photo", photo), ("uncertainty", uncertainty)):
        # The smallest and the largest value, as a map of what is finite would be as large as the photo.
        if given is not None and not all(torch.isfinite(end) for end in given.aminmax()):
            raise BadInputError(f"{name} holds values that are not finite numbers")


class _Paths:
    """Paths at the middle of each cell, whitened so that the distance of two is that of their rows.

    Attributes:
        root: ``(2K, 2K)`` float64; a row of control points times it is a whitened row.
        onward: ``(n, 2K)``, the whitened paths as they are.
        backward: ``(n, 2K)``, reversed in time.
        displacement: ``(n, 2)``, offset at t = 1 less that at t = -1, pixels.
    """

    def __init__(self, control_points: Tensor, trajectory: str, cell: int) -> None:
        points = _at_cells(control_points, cell)
        number = points.shape[1] // 2
        samples = number if trajectory == "zero-constraint" else 15
        basis = trajectory_basis(trajectory, sample_times(samples, torch.float64), samples)
        root = torch.linalg.cholesky(basis.T @ basis / samples).contiguous()
        self.root = torch.kron(root, torch.eye(2, dtype=torch.float64))
        self.shape = points.shape[2:]
        self.onward = points[0].flatten(1).T @ self.root
        self.backward = reverse_time(points, trajectory)[0].flatten(1).T @ self.root
        ends = offsets_at(points, [-1.0, 1.0], trajectory)[0]
        self.displacement = (ends[1] - ends[0]).flatten(1).T

    def compared(self, camera: Tensor) -> tuple[Tensor, Tensor]:
        """The paths ``(..., n, 2K)`` in the direction of time that is closer to the camera's ``(..., n, 2K)``, all
        whitened, and their squared distances ``(..., n)`` from it."""
        onward = (self.onward - camera).square().sum(-1)
        backward = (self.backward - camera).square().sum(-1)
        turned = torch.where((backward < onward)[..., None], self.backward, self.onward)
        return turned, torch.minimum(onward, backward)


def _fitted(paths: _Paths, trust: Tensor, terms: Tensor) -> Tensor:
    """The coefficients ``(2K, 3)`` of the camera that explains the paths best."""
    fields = torch.zeros(_SEEDS, 3, paths.root.shape[0], dtype=torch.float64)
    fields[1:, 0] = _starts(paths, trust)
    products = (terms[:, :, None] * terms[:, None, :]).flatten(1)
    ridge = torch.diag(torch.tensor([1e-9, _RIDGE, _RIDGE], dtype=torch.float64))
    for _ in range(_STEPS):
        turned, square = paths.compared(terms @ fields)
        scale = (_SCALE * _median(square.sqrt(), trust)).clamp(min=_LEAST_SCALE)
        weights = trust / (1 + square / scale[:, None] ** 2) ** 2
        total = weights.sum(1)[:, None, None]
        normal = (weights @ products).view(-1, 3, 3) / total + ridge
        fields = torch.linalg.solve(normal, terms.T @ (weights[..., None] * turned) / total)
    _, square = paths.compared(terms @ fields)
    # All of them by one measure, that of the closest.
    lowest = (_SCALE * _median(square.sqrt(), trust)).clamp(min=_LEAST_SCALE).min()
    costs = (trust * square / (square + lowest**2)).sum(1)
    return (fields[int(costs.argmin())] @ torch.linalg.inv(paths.root)).T.contiguous()


def _starts(paths: _Paths, trust: Tensor) -> Tensor:
    """Whitened paths ``(SEEDS - 1, 2K)`` to start from: the mean estimate in the most common directions of motion."""
    dx, dy = paths.displacement.unbind(1)
    bins = 8
    directions = (torch.atan2(dy, dx) / math.pi * bins).floor().long() % bins
    mass = torch.zeros(bins, dtype=torch.float64).index_add(0, directions, trust * torch.hypot(dx, dy))
    angles = (mass.argsort(descending=True)[: _SEEDS - 1].double() + 0.5) / bins * math.pi
    along = torch.stack([angles.cos(), angles.sin()], 1)
    onto = along @ paths.displacement.T
    turned = torch.where((onto < 0)[..., None], paths.backward, paths.onward)
    # The mean of a direction, and of what lies near it.
    signed = paths.displacement * onto.sign()[..., None]
    inside = trust * (onto.abs() > math.cos(math.pi / 2 / bins) * torch.hypot(dx, dy))
    centre = (inside[..., None] * signed).sum(1) / (inside.sum(1) + 1e-12)[:, None]
    near = trust * torch.exp(-(signed - centre[:, None]).square().sum(-1) / (2 * _FAR**2))
    return (near[..., None] * turned).sum(1) / (near.sum(1) + 1e-12)[:, None]


def _weighed(fit: CameraFit, control_points: Tensor, trust: Tensor) -> CameraFit:
    """The fit with what it explains: its share, its scale and its weight in each cell."""
    paths = _Paths(control_points, fit.trajectory, CELL)
    camera = _affine_terms(fit.height, fit.width, CELL) @ fit.coefficients.T @ paths.root
    turned, square = paths.compared(camera)
    tolerance = _TOLERANCE[0] + _TOLERANCE[1] * float(camera.square().sum(1).sqrt().mean())
    believed = trust.flatten()
    explained = float((believed * (square <= tolerance**2)).sum() / believed.sum())
    # Errors of single estimates cancel over a window; a region that moves by itself disagrees as a whole.
    difference = (turned - camera).T.view(1, -1, *paths.shape)
    around = _smooth(trust)
    common = _smooth(difference * trust) / around.clamp(min=1e-9)
    # A camera that explains less of the photo is given less room: there may be several motions.
    room = (tolerance * max(explained, 0.05) ** 2) ** 2
    against = common.square().sum(1, keepdim=True) / room * around
    scale = float(_median(square.sqrt()[None], believed))
    return replace(fit, explained=explained, scale=scale, weight=(1 / (1 + against.square())).float())


def _longest(fit: CameraFit) -> float:
    """The longest way from one end of the camera's path to the other, over the corners of the photo, pixels."""
    x, y = fit.width / max(fit.width, fit.height), fit.height / max(fit.width, fit.height)
    corners = torch.tensor([[1, sx * x, sy * y] for sx in (-1, 0, 1) for sy in (-1, 0, 1)], dtype=torch.float64)
    offsets = offsets_at((corners @ fit.coefficients.T).T[None, :, :, None], sample_times(15), fit.trajectory)[0]
    return float((offsets.amax(0) - offsets.amin(0)).norm(dim=0).max())


def _trust(photo: Tensor, uncertainty: Tensor | None) -> Tensor:
    """How far the estimates of each cell are believed, ``(1, 1, h, w)`` float64 in [0, 1]."""
    grey = photo.mean(1, keepdim=True, dtype=torch.float32)
    height, width = grey.shape[2:]
    grey = functional.pad(grey, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    half = functional.avg_pool2d(grey, 2)
    across = functional.pad(half.diff(dim=3).square(), (0, 1))
    down = functional.pad(half.diff(dim=2).square(), (0, 0, 0, 1))
    energy = functional.avg_pool2d(across + down, CELL // 2)
    energy = functional.avg_pool2d(energy, 3, 1, 1, count_include_pad=False).cpu().double()
    if uncertainty is None:
        return energy / (energy + _TEXTURE**2)
    unsure = _at_cells(uncertainty, CELL)
    return energy / (energy + _TEXTURE_IF_SURE**2) * _UNSURE**2 / (_UNSURE**2 + unsure**2)


def _at_cells(maps: Tensor, cell: int) -> Tensor:
    """``(1, C, H, W)`` maps at the middle of each cell, ``(1, C, h, w)`` float64 in ordinary memory: looked up, as the
    mean of a path and its reversal is not a path."""
    rows, columns = (
        (torch.arange(0, side, cell) + cell // 2).clamp(max=side - 1).to(maps.device) for side in maps.shape[2:]
    )
    return maps[:, :, rows][:, :, :, columns].cpu().double()  # in this order: not all devices have float64


def _affine_terms(height: int, width: int, cell: int) -> Tensor:
    """``(n, 3)``: 1, x and y of the middle of each cell; see :class:`CameraFit`."""
    unit = max(height, width) / 2
    down, across = (
        ((torch.arange(0, side, cell, dtype=torch.float64) + cell // 2).clamp(max=side - 1) + 0.5 - side / 2) / unit
        for side in (height, width)
    )
    y, x = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([torch.ones_like(x), x, y], -1).flatten(0, 1)


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted median of each row of ``(S, n)`` values; ``(S,)``."""
    ordered, order = values.sort(-1)
    reached = weights[order].cumsum(-1)
    middle = (reached < reached[:, -1:] / 2).sum(-1, keepdim=True).clamp(max=values.shape[1] - 1)
    return ordered.gather(-1, middle)[:, 0]


def _smooth(maps: Tensor) -> Tensor:
    return functional.avg_pool2d(maps, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)

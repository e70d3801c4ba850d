"""Exposure trajectories: from control points to the offset at any time of the exposure (eq. 12-14).

Every trajectory is linear in its control points, so each is given by its *basis*: a ``(T, K)`` matrix with
``offset(t_i) = sum_k basis[i, k] * p_k``. Time ``t`` runs from -1 (the shutter opens) over 0 (the sharp frame) to 1
(the shutter closes); control points are ``(B, 2K, H, W)``, in pixels, ordered ``p_1 x, p_1 y, p_2 x, ...``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import BadInputError
from .full_precision import without_autocast

TRAJECTORIES = ("zero-constraint", "linear", "bidirectional-linear", "quadratic", "cubic")
MOST_SAMPLES = 63
_CONTROL_POINTS = {"linear": 1, "bidirectional-linear": 2, "quadratic": 2, "cubic": 3}


def check_num_samples(num_samples: int) -> int:
    """Return ``num_samples`` if it is an odd number of at least 3, else raise :class:`BadInputError`."""
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 3 or num_samples % 2 == 0:
        raise BadInputError(f"num_samples is {num_samples!r}; it must be an odd number of at least 3, such as 15")
    return num_samples


def num_control_points(trajectory: str, num_samples: int) -> int:
    """Number K of control points of a trajectory; that of ``zero-constraint`` is ``num_samples``."""
    if trajectory not in TRAJECTORIES:
        raise BadInputError(f"trajectory is {trajectory!r}; it must be one of {', '.join(TRAJECTORIES)}")
    return _CONTROL_POINTS.get(trajectory) or check_num_samples(num_samples)


def sample_times(
    num_samples: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """The ``(N,)`` times ``t_n = 2n / (N - 1) - 1`` at which an exposure of N samples is averaged."""
    check_num_samples(num_samples)
    # From the whole numbers, so that t = 0 is exact and the times are symmetric to the bit.
    steps = torch.arange(1 - num_samples, num_samples, 2, dtype=dtype or torch.get_default_dtype(), device=device)
    return steps / (num_samples - 1)


def samples_needed(control_points: Tensor, trajectory: str, at_least: int = 15, most: int = MOST_SAMPLES) -> int:
    """How many samples of the exposure the longest path takes: one per pixel of its length, an odd number.

    Fewer leave gaps between the copies of the sharp frame that are averaged. The paths of every fourth pixel are
    looked at, across and down.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: one of :data:`TRAJECTORIES`; ``zero-constraint`` takes N = K.
        at_least: the fewest, odd, such as the N of the model.
        most: the most, odd, unless ``at_least`` is more.

    Raises:
        BadInputError: ``at_least`` is not an odd number of at least 3, or the control points are not of this
            trajectory.
    """
    check_num_samples(at_least)
    grid = control_points[..., ::4, ::4].detach().float()
    if grid.numel() == 0:
        return at_least
    longest = float(path_lengths(grid, trajectory).max())
    # L + 1 samples are one pixel apart on a path of L pixels, but for rounding errors.
    needed = math.ceil(min(longest, most) - 0.01) + 1 if math.isfinite(longest) else at_least
    return max(at_least, min(needed + 1 - needed % 2, most))


def path_lengths(control_points: Tensor, trajectory: str) -> Tensor:
    """Length of each path, bends included: ``(B, 1, H, W)`` in pixels, of control points ``(B, 2K, H, W)``.

    The sum of the distances between 15 points of a path, or N of one of ``zero-constraint``.
    """
    number = control_points.shape[1] // 2 if trajectory == "zero-constraint" else 15
    length = control_points.new_zeros(len(control_points), 1, *control_points.shape[2:])
    before: Tensor | None = None
    for time in sample_times(number).tolist():
        now = offsets_at(control_points, [time], trajectory)[:, 0]
        if before is not None:
            length = length + (now - before).norm(dim=1, keepdim=True)
        before = now
    return length


def trajectory_basis(trajectory: str, timestamps: Sequence[float] | Tensor, num_samples: int | None = None) -> Tensor:
    """The ``(T, K)`` basis of a trajectory at T times in [-1, 1].

    Args:
        trajectory: one of :data:`TRAJECTORIES`.
        timestamps: T times in [-1, 1], a sequence or a 1-D tensor (which gives dtype and device).
        num_samples: N, wanted by ``zero-constraint`` only, which is interpolated linearly between its N samples.

    Raises:
        BadInputError: an unknown trajectory, a time outside [-1, 1], or ``zero-constraint`` without N.
    """
    t = torch.as_tensor(timestamps)
    if not t.is_floating_point():
        t = t.to(torch.get_default_dtype())
    if t.ndim != 1:
        raise BadInputError(f"timestamps have shape {tuple(t.shape)}; they must be one-dimensional")
    if trajectory == "linear":
        return -t[:, None]
    if trajectory == "bidirectional-linear":
        return torch.stack([(-t).clamp(min=0), t.clamp(min=0)], dim=1)
    if trajectory in ("quadratic", "cubic"):
        columns = [(t * t - t) / 2, (t * t + t) / 2]
        if trajectory == "cubic":
            columns.append(t**3 - t)
        return torch.stack(columns, dim=1)
    if num_samples is None:
        num_control_points(trajectory, 3)
        raise BadInputError("zero-constraint offsets are defined at their samples only; num_samples must be given")
    position = (t + 1) / 2 * (check_num_samples(num_samples) - 1)
    samples = torch.arange(num_samples, dtype=t.dtype, device=t.device)
    return (1 - (position[:, None] - samples).abs()).clamp(min=0)


def check_timestamps(timestamps: Sequence[float] | Tensor) -> None:
    """Raise :class:`BadInputError` for a time outside [-1, 1]."""
    if isinstance(timestamps, Tensor):
        if torch.compiler.is_compiling():  # a graph holds no values to look at
            return
        timestamps = timestamps.reshape(-1).tolist()
    for value in timestamps:
        if not -1 <= value <= 1:
            raise BadInputError(f"timestamp {value} is outside the exposure; times run from -1 to 1")


def split_control_points(control_points: Tensor) -> Tensor:
    """View ``(B, 2K, H, W)`` control points as ``(B, K, 2, H, W)``."""
    if control_points.ndim != 4 or control_points.shape[1] % 2:
        raise BadInputError(f"control points have shape {tuple(control_points.shape)}; they must be (B, 2K, H, W)")
    return control_points.unflatten(1, (-1, 2))


def offsets_at(control_points: Tensor, timestamps: Sequence[float] | Tensor, trajectory: str) -> Tensor:
    """Motion offsets at any times of the exposure (eq. 12, 13, 14).

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        timestamps: T times in [-1, 1].
        trajectory: one of :data:`TRAJECTORIES`; ``zero-constraint`` takes N = K.

    Returns:
        ``(B, T, 2, H, W)`` offsets, dx and dy, pixels.

    Example:
        >>> points = torch.tensor([-4.0, 0.0, 2.0, 0.0]).view(1, 4, 1, 1)
        >>> offsets_at(points, [-1.0, 0.0, 1.0], "quadratic")[0, :, 0, 0, 0].tolist()
        [-4.0, 0.0, 2.0]
    """
    check_timestamps(timestamps)
    points = split_control_points(control_points)
    # Not blocking: a GPU would have to finish all its work before the few numbers were sent.
    times = torch.as_tensor(timestamps, dtype=control_points.dtype).to(control_points.device, non_blocking=True)
    basis = trajectory_basis(trajectory, times, points.shape[1])
    if basis.shape[1] != points.shape[1]:
        raise BadInputError(
            f"a {trajectory} trajectory has {basis.shape[1]} control points; {points.shape[1]} were given"
        )
    return weigh(basis, points)


def fit_control_points(
    offsets: Tensor, timestamps: Sequence[float] | Tensor, trajectory: str, num_samples: int | None = None
) -> Tensor:
    """The control points whose path is nearest to given offsets, in least squares: what undoes :func:`offsets_at`.

    Args:
        offsets: ``(B, T, 2, H, W)``, dx and dy, pixels.
        timestamps: their T times in [-1, 1], at least as many as there are control points.
        trajectory: one of :data:`TRAJECTORIES`.
        num_samples: N, wanted by ``zero-constraint`` only.

    Returns:
        ``(B, 2K, H, W)``, pixels.

    Raises:
        BadInputError: see :func:`trajectory_basis`; or the times are not those of the offsets, or too few.
    """
    check_timestamps(timestamps)
    basis = trajectory_basis(trajectory, torch.as_tensor(timestamps, dtype=torch.float64), num_samples)
    if offsets.ndim != 5 or offsets.shape[1] != len(basis):
        raise BadInputError(
            f"offsets have shape {tuple(offsets.shape)}; at {len(basis)} times they must be (B, {len(basis)}, 2, H, W)"
        )
    if len(basis) < basis.shape[1]:
        raise BadInputError(
            f"{len(basis)} timestamps do not determine a {trajectory} trajectory; give at least {basis.shape[1]}"
        )
    inverse = torch.linalg.pinv(basis).to(offsets)
    return weigh(inverse, offsets).flatten(1, 2)


def weigh(basis: Tensor, points: Tensor) -> Tensor:
    """``(T, K)`` basis times ``(B, K, 2, H, W)`` points, ``(B, T, 2, H, W)``; full precision under autocast too."""
    with without_autocast(points):
        return torch.einsum("tk,bkchw->btchw", basis, points)


def reverse_time(control_points: Tensor, trajectory: str) -> Tensor:
    """The control points ``(B, 2K, H, W)`` of the same path run backwards in time: ``offset'(t) = offset(-t)``."""
    points = split_control_points(control_points)
    if trajectory == "linear":
        return -control_points
    if trajectory == "cubic":
        return torch.stack([points[:, 1], points[:, 0], -points[:, 2]], dim=1).flatten(1, 2)
    num_control_points(trajectory, 3)
    return points.flip(1).flatten(1, 2)


def align_time_to(control_points: Tensor, reference: Tensor, trajectory: str) -> Tensor:
    """Reverse each pixel's path in time where that brings it closer to another estimate of it.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels; ``reference`` likewise.
        trajectory: one of :data:`TRAJECTORIES`.
    """
    backwards = reverse_time(control_points, trajectory)
    as_it_is = (control_points - reference).square().sum(1, keepdim=True)
    closer = (backwards - reference).square().sum(1, keepdim=True) < as_it_is
    return torch.where(closer, backwards, control_points)


def align_time(control_points: Tensor, trajectory: str, cell: int = 16) -> Tensor:
    """Run the paths of neighbouring pixels in the same direction of time.

    One photo cannot tell a path from its reversal, so an estimate may change direction from one region to the next; a
    clip made from it would tear there. The prevailing axis of motion ``offset(1) - offset(-1)`` is found in each cell,
    the cells are joined along the tree of strongest agreement between neighbours, each taking the sign that agrees
    with the cell it hangs on, and each pixel is then reversed where it runs against that field.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: one of :data:`TRAJECTORIES`.
        cell: side of the cells, pixels.

    Returns:
        ``(B, 2K, H, W)``: each pixel as it was or reversed in time. Blur made from it is unchanged.
    """
    height, width = control_points.shape[-2:]
    # In strips of whole cells: a large photo's maps are not to be in memory several times.
    strips = [(..., slice(top, top + 16 * cell), slice(None)) for top in range(0, height, 16 * cell)]
    axes = torch.cat([_cell_axes(_motion(control_points[rows], trajectory), cell) for rows in strips], dim=2)
    field = torch.stack([_signed(each) for each in axes])
    smooth = functional.interpolate(field, size=(height, width), mode="bilinear", align_corners=False)
    aligned = torch.empty_like(control_points)
    for rows in strips:
        points = control_points[rows]
        against = (smooth[rows] * _motion(points, trajectory)).sum(1, keepdim=True) < 0
        aligned[rows] = torch.where(against, reverse_time(points, trajectory), points)
    return aligned


def _motion(control_points: Tensor, trajectory: str) -> Tensor:
    """``offset(1) - offset(-1)``, ``(B, 2, H, W)``."""
    ends = offsets_at(control_points.float(), [-1.0, 1.0], trajectory)
    return ends[:, 1] - ends[:, 0]


def _cell_axes(motion: Tensor, cell: int) -> Tensor:
    """The prevailing axis of motion in each cell, a ``(B, 2, h, w)`` vector of its mean length and arbitrary sign."""
    # Doubling the angle makes v and -v the same vector, so that opposite directions add up.
    dx, dy = motion[:, 0], motion[:, 1]
    length = torch.hypot(dx, dy).clamp(min=1e-6)
    doubled = torch.stack([(dx * dx - dy * dy) / length, 2 * dx * dy / length], dim=1)
    doubled = functional.avg_pool2d(doubled, cell, ceil_mode=True, count_include_pad=False)
    angle = torch.atan2(doubled[:, 1], doubled[:, 0]) / 2
    mean_length = torch.linalg.vector_norm(doubled, dim=1)
    return torch.stack([mean_length * angle.cos(), mean_length * angle.sin()], dim=1)


def _signed(axes: Tensor) -> Tensor:
    """Choose the sign of each cell's vector ``(2, h, w)`` along the tree of strongest agreement between neighbours."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    vectors = axes.detach().flatten(1).T.double().cpu().numpy()
    cells = np.arange(len(vectors)).reshape(axes.shape[1:])
    first = np.concatenate([cells[:, :-1].ravel(), cells[:-1].ravel()])
    second = np.concatenate([cells[:, 1:].ravel(), cells[1:].ravel()])
    agreement = np.abs((vectors[first] * vectors[second]).sum(1))
    # The tree of least cost, so the strongest agreement must cost least; a cost of 0 would mean no edge.
    cost = agreement.max(initial=0) - agreement + 1
    tree = minimum_spanning_tree(coo_array((cost, (first, second)), shape=(len(vectors),) * 2))
    order, parents = breadth_first_order(tree, int(np.linalg.norm(vectors, axis=1).argmax()), directed=False)
    parents[order[0]] = order[0]
    signs = np.where((vectors * vectors[parents]).sum(1) < 0, -1.0, 1.0)  # of each cell beside its parent's
    signs[order[0]] = 1.0
    # Each round doubles the part of the way to the root whose signs are multiplied.
    for _ in range(len(vectors).bit_length()):
        signs, parents = signs * signs[parents], parents[parents]
    return axes * torch.from_numpy(signs).to(axes).view(axes.shape[1:])

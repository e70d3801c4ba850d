"""Control points as numbers that a path and its reversal in time have in common.

A photo cannot tell a path from its reversal, so a network that predicts paths has two right answers per pixel and must
choose one by a convention, such as ``dx >= 0``; along the border of any such half-plane its answer jumps. Here a path
is split into the parts that reversal keeps (even in time) and those whose sign it changes (odd in time):

- even parts stay as they are;
- the first odd part ``v``, for all trajectories but one half of the way from the path's beginning to its end, becomes
  ``z = |v| (cos 2a, sin 2a)``, where ``a`` is its angle: the same for ``v`` and ``-v``, and without a jump;
- further odd parts are given along and across ``v``, which change sign together with it.

The way back takes half the angle of ``z``, so that ``v`` points to the right, ``dx >= 0``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .trajectories import num_control_points, split_control_points

# Keeps square roots differentiable at rest, pixels squared.
_REST = 1e-12


def parts_of_time(trajectory: str, num_samples: int) -> tuple[Tensor, Tensor]:
    """The ``(K, E)`` and ``(K, O)`` float32 matrices that make control points of even and odd parts of a path.

    ``points = even_matrix @ even + odd_matrix @ odd``; ``E + O`` is K, but for ``linear``, whose paths are odd alone.
    """
    count = num_control_points(trajectory, num_samples)
    if trajectory == "linear":  # offset(t) = -t p
        return torch.zeros(1, 0), -torch.ones(1, 1)
    if trajectory == "cubic":
        return torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pairs, middle = divmod(count, 2)
    even, odd = torch.zeros(count, pairs + middle), torch.zeros(count, pairs)
    for pair in range(pairs):  # from the ends inwards
        even[pair, pair] = even[count - 1 - pair, pair] = 1
        odd[pair, pair], odd[count - 1 - pair, pair] = -1, 1
    if middle:
        even[pairs, pairs] = 1
    return even, odd


def to_doubled_angle(control_points: Tensor, trajectory: str) -> Tensor:
    """What :func:`from_doubled_angle` makes these control points of, up to the direction of time.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: the one that they belong to.

    Returns:
        ``(B, 2K, H, W)``, pixels: ``z``, the odd parts along and across ``v``, the even parts.
    """
    points = split_control_points(control_points)
    even_matrix, odd_matrix = (one.to(points) for one in parts_of_time(trajectory, points.shape[1]))
    # Columns of each matrix are orthogonal, so that a projection gives the parts.
    odd = torch.einsum("ko,bkchw->bochw", odd_matrix / odd_matrix.square().sum(0), points)
    even = torch.einsum("ke,bkchw->bechw", even_matrix / even_matrix.square().sum(0), points)
    across, down = odd[:, 0, 0], odd[:, 0, 1]
    length = (across.square() + down.square() + _REST).sqrt()
    doubled = torch.stack([(across.square() - down.square()) / length, 2 * across * down / length], 1)
    along = _turned(odd[:, 1:], across / length, -down / length)
    return torch.cat([doubled, along.flatten(1, 2), even.flatten(1, 2)], 1)


def from_doubled_angle(code: Tensor, trajectory: str) -> Tensor:
    """Control points ``(B, 2K, H, W)`` of the paths, in the direction of time in which ``v`` points to the right.

    Args:
        code: ``(B, 2K, H, W)``, pixels, as :func:`to_doubled_angle` gives it.
        trajectory: the one that the control points are to belong to.
    """
    parts = split_control_points(code)
    even_matrix, odd_matrix = (one.to(parts) for one in parts_of_time(trajectory, parts.shape[1]))
    x, y = parts[:, 0, 0], parts[:, 0, 1]
    length = (x.square() + y.square() + _REST).sqrt()
    # (length + x, y) has half the angle. Where it is short, near the negative axis, the same direction in other words.
    right = x >= 0
    cosine = torch.where(right, length + x, y.abs())
    sine = torch.where(right, y, torch.where(y < 0, x - length, length - x))
    scale = (cosine.square() + sine.square()).rsqrt()
    cosine, sine = cosine * scale, sine * scale
    velocity = torch.stack([length * cosine, length * sine], 1)[:, None]
    odd = torch.cat([velocity, _turned(parts[:, 1 : odd_matrix.shape[1]], cosine, sine)], 1)
    points = torch.einsum("ko,bochw->bkchw", odd_matrix, odd)
    if even_matrix.shape[1]:
        points = points + torch.einsum("ke,bechw->bkchw", even_matrix, parts[:, odd_matrix.shape[1] :])
    return points.flatten(1, 2)


def _turned(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """``(B, O, 2, H, W)`` turned by an angle per pixel, ``(B, H, W)``."""
    x, y = vectors[:, :, 0], vectors[:, :, 1]
    cosine, sine = cosine[:, None], sine[:, None]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], 2)

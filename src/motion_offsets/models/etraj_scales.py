"""Estimates of one photo at several resolutions, joined pixel by pixel.

A network knows motion up to the longest it was trained on, in photos as sharp as those. In a photo of half the size,
motion is half as long and softness half as wide, so that one network, run at several sizes, covers motion and photos
of several sizes. Each estimate comes with its uncertainty, and their mean weighted by the inverse square of it is the
best linear one of independent estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..exposure.trajectories import align_time_to


@dataclass(frozen=True)
class ScaleEstimate:
    """What a network makes of a photo at one size, in pixels of the photo.

    Args:
        control_points: ``(B, 2K, H, W)``.
        uncertainty: ``(B, 1, H, W)``, how far the ends of the path are expected to be off.
    """

    control_points: Tensor
    uncertainty: Tensor


def reduced(image: Tensor, factor: int) -> Tensor:
    """``(B, 3, H, W)``, sides multiples of the factor, as ``(B, 3, H / factor, W / factor)``: means of its cells."""
    return image if factor == 1 else functional.avg_pool2d(image, factor)


def brought_up(maps: Tensor, factor: int) -> Tensor:
    """Lengths in pixels of a reduced photo, ``(B, C, h, w)``, as ``(B, C, h * factor, w * factor)`` in the photo's."""
    if factor == 1:
        return maps
    size = (maps.shape[2] * factor, maps.shape[3] * factor)
    return factor * functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def average(paths: Sequence[Tensor], scales: Sequence[int], trajectory: str) -> Tensor:
    """:func:`fuse` of control points ``(B, 2K, H, W)`` whose uncertainty is not known: it is taken for the same at
    every scale, in pixels of the reduced photo."""
    shares = [scale**-2 for scale in scales]
    joined = paths[0] * (shares[0] / sum(shares))
    for path, share in zip(paths[1:], shares[1:], strict=True):
        joined = joined + align_time_to(path, paths[0], trajectory) * (share / sum(shares))
    return joined


def fuse(estimates: Sequence[ScaleEstimate], trajectory: str) -> ScaleEstimate:
    """``sum_s w_s x_s`` with ``w_s ~ 1 / u_s^2``, each path in the direction of time nearest the surest one's.

    The uncertainty is ``sum_s w_s u_s``: estimates of one photo share their errors, so joining them makes none of them
    much surer.
    """
    surest = estimates[0]
    for other in estimates[1:]:
        better = other.uncertainty < surest.uncertainty
        surest = ScaleEstimate(
            torch.where(better, other.control_points, surest.control_points),
            torch.where(better, other.uncertainty, surest.uncertainty),
        )
    weights = torch.stack([-2 * one.uncertainty.log() for one in estimates]).softmax(0)
    paths = [align_time_to(one.control_points, surest.control_points, trajectory) for one in estimates]
    return ScaleEstimate(
        torch.stack([weight * path for weight, path in zip(weights, paths, strict=True)]).sum(0),
        torch.stack([weight * one.uncertainty for weight, one in zip(weights, estimates, strict=True)]).sum(0),
    )

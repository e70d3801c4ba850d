"""Long motion, found and undone in the reduced photo.

Networks know motion up to the length that they were trained on, in photos of the sizes that they were trained on. In a
photo of half the size, motion is half as long. So of a large photo, where paths are long, motion and sharp frame come
from the photo at half the size, and there, if it is still large, from a quarter of it, and so on. Where paths are of
middle length, both answers are averaged, as their errors differ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .trajectories import align_time, align_time_to, path_lengths

# The networks were trained and measured on photos of up to about so many pixels; only larger ones are reduced.
USUAL_PIXELS = 1_500_000
# Length of a path, pixels, from which on the reduced photo has a share, and from which on it has all of it.
SHORT, LONG = 10.0, 50.0
# A photo in which no more than this share of paths is longer than SHORT does without: nobody sees the difference.
FEW = 0.01


def estimate_in_octaves(
    estimate: Callable[[Tensor], Tensor], photos: Tensor, control_channels: int, trajectory: str
) -> Tensor:
    """The estimator's maps ``(B, C, H, W)``, all of them lengths in pixels, of photos of any size.

    ``E(y) = (1 - w) e(y) + w 2 up(E(y / 2))``, with ``e`` the estimator and ``w`` from 0 to 1 as the paths of
    ``E(y / 2)`` get longer; ``E = e`` for photos of up to :data:`USUAL_PIXELS`.

    Args:
        estimate: from photos ``(B, 3, h, w)`` of any size to maps ``(B, C, h, w)``.
        photos: ``(B, 3, H, W)`` in [0, 1].
        control_channels: how many of the maps, the first ones, are control points.
        trajectory: of these, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`.
    """
    size = photos.shape[2:]
    if size.numel() <= USUAL_PIXELS:
        return estimate(photos)
    found = estimate_in_octaves(estimate, _reduced(photos), control_channels, trajectory)
    # Between neighbours that run in opposite directions of time, no path can be interpolated.
    found = torch.cat([align_time(found[:, :control_channels], trajectory), found[:, control_channels:]], 1)
    share = _brought_up(_share_of_reduced(2 * path_lengths(found[:, :control_channels], trajectory)), size)
    long = 2 * _brought_up(found, size)
    if share.min() == 1:
        return long
    maps = estimate(photos)
    points = align_time_to(maps[:, :control_channels], long[:, :control_channels], trajectory)
    return torch.cat([points, maps[:, control_channels:]], 1).lerp_(long, share)


def sharpen_in_octaves(
    sharpen: Callable[[Tensor, Tensor], Tensor], photos: Tensor, control_points: Tensor, trajectory: str
) -> Tensor:
    """Sharp frames ``(B, 3, H, W)``, not clamped.

    ``S(y, p) = (1 - w) f(y, p) + w (y + up(S(y / 2, p / 2) - y / 2))``, with ``f`` the deblurrer and ``w`` from 0 to 1
    as paths get longer; ``S = f`` for photos of up to :data:`USUAL_PIXELS`.

    Args:
        sharpen: from photos and control points, of any one size, to sharp frames.
        photos: ``(B, 3, H, W)`` in [0, 1].
        control_points: ``(B, 2K, H, W)``, pixels.
        trajectory: their kind, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`.
    """
    size = photos.shape[2:]
    if size.numel() <= USUAL_PIXELS:
        return sharpen(photos, control_points)
    # Nor have such paths a mean.
    reduced_points = _reduced(align_time(control_points, trajectory)) / 2
    share = _share_of_reduced(2 * path_lengths(reduced_points, trajectory))
    if not share.any():
        return sharpen(photos, control_points)
    reduced = _reduced(photos)
    change = sharpen_in_octaves(sharpen, reduced, reduced_points, trajectory) - reduced
    frames = functional.interpolate(change, size, mode="bicubic", align_corners=False).add_(photos)
    if share.min() == 1:
        return frames
    return sharpen(photos, control_points).lerp_(frames, _brought_up(share, size))


def _share_of_reduced(lengths: Tensor) -> Tensor:
    """``w``, from 0 to 1, of paths of so many pixels, both ``(B, 1, H, W)``."""
    share = ((lengths - SHORT) / (LONG - SHORT)).clamp(0, 1)
    is_blurred = (share > 0).float().mean((1, 2, 3), keepdim=True) > FEW
    return share * is_blurred


def _reduced(maps: Tensor) -> Tensor:
    height, width = maps.shape[2:]
    return functional.interpolate(maps, (-(-height // 2), -(-width // 2)), mode="area")


def _brought_up(maps: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)

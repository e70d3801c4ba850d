"""Feature points followed through the true frames of an exposure, and how far trajectories are from them (Fig. 9).

Corners of the middle frame (Shi and Tomasi) are followed to both ends of the exposure (Kanade, Lucas and Tomasi, on
pyramids) and back again; those that do not return are dropped. A track tells where a point of the sharp frame goes:
one from q in the middle frame to r in the frame at t means ``offset_t(r) = q - r`` in the backward convention (eq. 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import BadInputError
from ..runtime.extras import require

MOST_TRACKS, QUALITY, SPACING = 400, 0.01, 7  # Shi-Tomasi: corners, of the best one's strength, pixels between them
WINDOW, LEVELS = 21, 3  # KLT: side of the window in pixels, halvings of the picture
RETURNS_WITHIN = 0.5  # pixels from the corner, there and back again


def check_opencv() -> None:
    """Refuse where nothing can be followed with."""
    require("following features", "cv2")


def follow_features(frames: Tensor) -> Tensor:
    """Shi-Tomasi corners of the middle frame, followed by KLT through all frames.

    Args:
        frames: ``(T, 3, H, W)`` in [0, 1], evenly over the exposure; T is odd, at least 3.

    Returns:
        ``(T, M, 2)`` float32, x and y in pixels of each of M points in each frame; M may be 0.

    Raises:
        BadInputError: the frames have another shape or number, or OpenCV, of the extra ``eval``, is not installed.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) < 3 or len(frames) % 2 == 0:
        raise BadInputError(f"frames have shape {tuple(frames.shape)}; they must be (T, 3, H, W), T odd, at least 3")
    check_opencv()
    import cv2

    pictures = (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    middle = len(grey) // 2
    corners = cv2.goodFeaturesToTrack(grey[middle], MOST_TRACKS, QUALITY, SPACING)
    if corners is None:
        return torch.zeros(len(grey), 0, 2)
    corners = corners.reshape(-1, 2)
    later, after = _there_and_back(grey[middle:], corners)
    earlier, before = _there_and_back(grey[middle::-1], corners)
    tracks = np.stack([*earlier[:0:-1], *later])
    height, width = grey[0].shape
    inside = ((tracks >= 0) & (tracks <= [width - 1, height - 1])).all(axis=(0, 2))
    return torch.from_numpy(tracks[:, after & before & inside])


def _there_and_back(grey: Sequence[np.ndarray], corners: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The points in each of the pictures, and which of them come back to the corners when followed backwards."""
    there, found = _followed(grey, corners)
    back, found_again = _followed(grey[::-1], there[-1])
    return there, found & found_again & (np.linalg.norm(back[-1] - corners, axis=1) <= RETURNS_WITHIN)


def _followed(grey: Sequence[np.ndarray], points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    import cv2

    positions, found = [points], np.ones(len(points), dtype=bool)
    for one, following in zip(grey[:-1], grey[1:], strict=True):
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            one, following, positions[-1], np.empty_like(points), winSize=(WINDOW, WINDOW), maxLevel=LEVELS
        )
        positions.append(moved)
        found &= status[:, 0] == 1
    return positions, found


def where_valid(tracks: Tensor, valid: Tensor) -> Tensor:
    """The tracks ``(T, M, 2)`` that lie on pixels of a ``(1, 1, H, W)`` bool map all the time."""
    shares = _read(valid[0].float().expand(len(tracks), -1, -1, -1), tracks)
    return tracks[:, (shares > 0.999).all(dim=(0, 2))]


def paths_beside(tracks: Tensor, motion_offsets: Tensor) -> Tensor:
    """Where motion offsets take the points of tracks: ``q - offset_t(r)``, read where the track is at the time.

    Args:
        tracks: ``(T, M, 2)``.
        motion_offsets: ``(T, 2, H, W)`` at the times of the frames, dx and dy in pixels.

    Returns:
        ``(T, M, 2)``, each path in the direction of time in which it is closer to its track.
    """
    start = tracks[len(tracks) // 2]
    both = torch.stack([start - _read(offsets, tracks) for offsets in (motion_offsets, motion_offsets.flip(0))])
    distances = (both - tracks).norm(dim=3).mean(1)
    return torch.where((distances[1] < distances[0])[:, None], both[1], both[0])


def track_distance(tracks: Tensor, motion_offsets: Tensor) -> float | None:
    """Mean distance in pixels over frames and tracks of :func:`paths_beside` from the tracks; ``None`` without any.

    It is invariant to time reversal: each track takes the better direction, all its frames together.
    """
    if tracks.shape[1] == 0:
        return None
    return float((paths_beside(tracks, motion_offsets) - tracks).norm(dim=2).mean(dtype=torch.float64))


def track_figures(
    tracks: Tensor, motion_offsets: Tensor, true_offsets: Tensor | None = None
) -> dict[str, float | None]:
    """Figures of one photo: the distance of an estimate from the tracks, of no motion and, if known, of the truth.

    Args:
        tracks: ``(T, M, 2)``.
        motion_offsets: ``(T, 2, H, W)``.
        true_offsets: the same shape.
    """
    figures: dict[str, float | None] = {
        "tracks": tracks.shape[1],
        "track_distance": track_distance(tracks, motion_offsets),
        "track_distance_zero": track_distance(tracks, torch.zeros_like(motion_offsets)),
    }
    if true_offsets is not None:
        figures["track_distance_true"] = track_distance(tracks, true_offsets)
    return figures


def _read(maps: Tensor, positions: Tensor) -> Tensor:
    """Values ``(T, M, C)`` of maps ``(T, C, H, W)`` at places ``(T, M, 2)`` in pixels, bilinearly."""
    height, width = maps.shape[2:]
    grid = 2 * positions / torch.tensor([width - 1, height - 1]) - 1
    return functional.grid_sample(maps, grid[:, :, None], align_corners=True)[..., 0].transpose(1, 2)

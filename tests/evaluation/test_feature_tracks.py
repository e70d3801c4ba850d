"""Feature tracks of frames whose motion is known, and the distance of trajectories from them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("cv2", reason="the extra `eval` is not installed")

from motion_offsets.data.scenes.cutouts import Cutout
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.dynamic_cases import dynamic_case
from motion_offsets.evaluation.feature_tracks import (
    follow_features,
    paths_beside,
    track_distance,
    track_figures,
    where_valid,
)
from motion_offsets.exposure.blur import warp

TIMES = torch.linspace(-1, 1, 7)
TRANSLATION = torch.stack([9 * TIMES, -4 * TIMES], dim=1)
CURVE = torch.stack([8 * TIMES, 6 * TIMES**2], dim=1)


def rendered(photo: torch.Tensor, path: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames ``(7, 3, H, W)`` of a photo whose every pixel has the offsets ``(7, 2)``, and these as a field."""
    offsets = path[:, :, None, None].expand(-1, -1, *photo.shape[2:]).contiguous()
    return warp(photo, offsets[None])[0], offsets


@pytest.mark.parametrize("path", [TRANSLATION, CURVE])
def test_tracks_follow_a_known_motion(astronaut: torch.Tensor, path: torch.Tensor) -> None:
    frames, offsets = rendered(astronaut[..., 100:300, 100:360], path)
    tracks = follow_features(frames)
    assert tracks.shape[0] == 7
    assert tracks.shape[1] > 100
    # A pixel at r reads the sharp frame at r + offset, so the point q of the sharp frame is seen at r = q - offset.
    error = (tracks - (tracks[3] - path[:, None])).norm(dim=2)
    assert error.median() < 0.05
    assert error.mean() < 0.15
    assert track_distance(tracks, offsets) == pytest.approx(error.mean().item(), abs=1e-4)
    still = track_distance(tracks, torch.zeros_like(offsets))
    assert still == pytest.approx(path.norm(dim=1).mean().item(), abs=0.15)


def test_time_may_run_backwards_but_a_bend_may_not_point_the_other_way(astronaut: torch.Tensor) -> None:
    frames, offsets = rendered(astronaut[..., 100:300, 100:360], CURVE)
    tracks = follow_features(frames)
    exact = track_distance(tracks, offsets)
    assert exact is not None
    assert track_distance(tracks, offsets.flip(0)) == exact < 0.15
    assert torch.equal(paths_beside(tracks, offsets.flip(0)), paths_beside(tracks, offsets))
    # What one gets by taking an offset for where the point goes.
    forwards = track_distance(tracks, -offsets)
    assert forwards == pytest.approx((12 * TIMES**2).mean().item(), abs=0.2)


def test_each_track_takes_the_direction_that_is_better_for_it(astronaut: torch.Tensor) -> None:
    frames, offsets = rendered(astronaut[..., 100:300, 100:360], CURVE)
    tracks = follow_features(frames)
    mixed = offsets.clone()
    mixed[..., 130:] = offsets.flip(0)[..., 130:]
    away = (tracks[..., 0] < 129).all(0) | (tracks[..., 0] > 131).all(0)
    assert away.sum() > 100
    assert track_distance(tracks[:, away], mixed) == pytest.approx(track_distance(tracks[:, away], offsets), abs=1e-5)


def test_the_truth_of_a_rendered_scene_is_where_its_tracks_are(astronaut: torch.Tensor) -> None:
    photo = (astronaut[0].permute(1, 2, 0) * 255).byte().numpy()[100:300, 100:340]
    ball = Cutout(np.full((40, 40, 3), 90, np.uint8), np.ones((40, 40), np.float32))
    case = dynamic_case(photo, "a-photo.png", [ball])
    tracks = where_valid(follow_features(case.frames[0]), case.valid)
    figures = track_figures(tracks, torch.zeros_like(case.offsets_of_frames()[0]), case.offsets_of_frames()[0])
    assert figures["tracks"] > 30
    assert figures["track_distance"] == figures["track_distance_zero"] > 1
    assert figures["track_distance_true"] < 0.25


def test_tracks_that_leave_the_valid_pixels_are_dropped() -> None:
    tracks = torch.tensor([[[2.0, 2.0], [6.0, 2.0]], [[3.0, 2.0], [7.0, 2.0]], [[4.0, 2.0], [8.0, 2.0]]])
    valid = torch.zeros(1, 1, 5, 12, dtype=torch.bool)
    valid[..., :8] = True
    assert torch.equal(where_valid(tracks, valid), tracks[:, :1])


def test_nothing_to_follow_is_no_track() -> None:
    tracks = follow_features(torch.full((3, 3, 64, 64), 0.5))
    assert tracks.shape == (3, 0, 2)
    figures = track_figures(tracks, torch.zeros(3, 2, 64, 64))
    assert figures == {"tracks": 0, "track_distance": None, "track_distance_zero": None}


@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (1, 3, 32, 32), (3, 1, 32, 32), (3, 32, 32)])
def test_bad_frames_are_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="they must be .T, 3, H, W., T odd, at least 3"):
        follow_features(torch.zeros(shape))


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(BadInputError, match='features needs opencv-python-headless: pip install "opencv-python'):
        follow_features(torch.zeros(3, 3, 32, 32))

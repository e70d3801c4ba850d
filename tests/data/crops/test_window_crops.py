"""Crops of windows of sharp frames: real folders and a real video, averaged as asked."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import save

pytest.importorskip("av", reason="the extra `video` is not installed")

from motion_offsets.data.crops.flow_crops import CropRecipe
from motion_offsets.data.crops.window_crops import FrameWindowCrops
from motion_offsets.errors import BadInputError
from motion_offsets.io.video import write_video

WHOLE = CropRecipe(crop_size=24, margin=8)


@pytest.fixture
def walk(tmp_path: Path, scene: Callable[[int], np.ndarray]) -> Path:
    """Nine frames of a scene that moves to the right by a pixel per frame."""
    for number in range(9):
        save(tmp_path / "walk" / f"{number:06d}.png", scene(number))
    return tmp_path / "walk"


def flashes(folder: Path, levels: list[int]) -> Path:
    """Frames of one grey each."""
    for number, level in enumerate(levels):
        save(folder / f"{number:06d}.png", np.full((40, 64, 3), level, np.uint8))
    return folder


@pytest.mark.parametrize(("linear_share", "gamma", "expected"), [(0.0, 1.0, 85), (1.0, 2.2, 255 / 3 ** (1 / 2.2))])
def test_one_white_frame_of_three(tmp_path: Path, linear_share: float, gamma: float, expected: float) -> None:
    crops = FrameWindowCrops(flashes(tmp_path / "a", [0, 255, 0]), 2, WHOLE, (3, 3), linear_share)
    item = crops[0]
    assert item["gamma"] == gamma
    assert (item["blurred"] * 255 - expected).abs().max() <= 0.5
    assert (item["sharp"] == 1).all()
    assert item["ends"].shape == (2, 2, 24, 24)
    assert not item["ends"].any()
    assert item["known"].shape == (1, 24, 24)
    assert not item["known"].any()


def test_all_frames_are_cropped_turned_and_mirrored_alike(walk: Path) -> None:
    crops = FrameWindowCrops(walk, 16, WHOLE, (5, 7), 0.0)
    for item in (crops[index] for index in range(16)):
        sharp = item["sharp"]
        assert sharp.shape == (3, 40, 40)
        assert item["blurred"].shape == (3, 24, 24)
        # The scene moves along an axis, so in its own direction the crop is a box blur of the sharp frame.
        errors = []
        for axis in (1, 2):
            for reach in (2, 3):
                moved = torch.stack([sharp.roll(shift, axis) for shift in range(-reach, reach + 1)]).mean(0)
                errors.append((moved[:, 8:-8, 8:-8] - item["blurred"]).abs().max())
        assert min(errors) <= 1.01 / 255
        assert max(errors) > 4 / 255


def test_windows_vary_and_depend_on_seed_and_number_alone(walk: Path) -> None:
    first, again = (FrameWindowCrops([walk, walk], 8, WHOLE, (3, 7), seed=3) for _ in range(2))
    again[1]
    copied = pickle.loads(pickle.dumps(again))
    for name in ("blurred", "sharp"):
        assert torch.equal(first[5][name], again[5][name])
        assert torch.equal(first[5][name], copied[5][name])
    assert not torch.equal(first[5]["sharp"], FrameWindowCrops(walk, 8, WHOLE, (3, 7), seed=4)[5]["sharp"])
    assert {first[index]["gamma"] for index in range(8)} == {1.0, 2.2}


def test_the_decoded_frames_are_removed_with_their_owner_alone(walk: Path) -> None:
    crops = FrameWindowCrops(walk, 1, WHOLE, (3, 3))
    folder = Path(crops.runs._folder)
    copied = pickle.loads(pickle.dumps(crops))
    del copied
    assert folder.is_dir()
    del crops
    assert not folder.exists()


def test_no_window_reaches_over_a_gap(tmp_path: Path) -> None:
    folder = flashes(tmp_path / "a", [0, 0, 0, 0, 255, 255, 255])
    (folder / "000003.png").unlink()
    crops = FrameWindowCrops(folder, 12, WHOLE, (3, 3))
    assert {float(crops[index]["blurred"].mean()) for index in range(12)} == {0.0, 1.0}


def test_a_video_is_a_source(tmp_path: Path, scene: Callable[[int], np.ndarray]) -> None:
    frames = [np.repeat(np.repeat(scene(number), 2, 0), 2, 1) for number in range(12)]
    video = write_video(frames, tmp_path / "clip.mp4", 240)
    item = FrameWindowCrops(video, 1, WHOLE, (7, 7), 0.0)[0]
    assert item["sharp"].shape == (3, 40, 40)
    assert 0 < (item["blurred"] - item["sharp"][:, 8:-8, 8:-8]).abs().max() < 0.5
    slow = write_video(frames, tmp_path / "slow.mp4", 30)
    with pytest.raises(BadInputError, match="slow.mp4: has 30 frames per second, and at least 200 are needed"):
        FrameWindowCrops(slow, 1)


def test_bad_sources(tmp_path: Path, walk: Path) -> None:
    with pytest.raises(BadInputError, match="walk: its longest run of consecutive frames has 9, and a window 13"):
        FrameWindowCrops(walk, 1)
    save(walk / "000009.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(BadInputError, match="000009.png is 30x20, but .*000000.png is 64x40; all frames"):
        FrameWindowCrops(walk, 1, window=(3, 3))
    (walk / "000009.png").write_bytes(b"no picture")
    with pytest.raises(BadInputError, match="000009.png"):
        FrameWindowCrops(walk, 1, window=(3, 3))
    with pytest.raises(BadInputError, match="gone: no such folder or video"):
        FrameWindowCrops(tmp_path / "gone", 1)
    with pytest.raises(BadInputError, match="the window is 4 to 4 frames"):
        FrameWindowCrops(walk, 1, window=(4, 4))

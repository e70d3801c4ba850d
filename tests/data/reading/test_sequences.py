"""Windows of consecutive frames: which frames are in them, and what their average is."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from picture_files import save, zipped

from motion_offsets.data import load_sequences
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.frame_average import average_frames

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])


@pytest.fixture
def load(tmp_path: Path):
    """``load_sequences`` with a cache of the test's own."""
    return lambda source, split="train", **more: load_sequences(source, split, cache_dir=tmp_path / "cache", **more)


@pytest.fixture
def frames(tmp_path: Path, scene) -> Path:
    """GOPRO_Large_all in miniature: frame n is the scene shifted by n; frame 31 is missing."""
    for number in (*range(20, 31), *range(32, 38)):
        save(tmp_path / "all" / "train" / "GOPR0372_07_00" / f"{number:06d}.png", scene(number))
    for number in range(3):
        save(tmp_path / "all" / "test" / "GOPR0384_11_00" / f"{number:06d}.png", scene(number))
    return tmp_path / "all"


def test_average_of_black_and_white():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    for gamma, level in ((None, 128), (2.2, 186), ("srgb", 188)):
        assert np.abs(average_frames([black, white], gamma).astype(int) - level).max() <= 1
        for frame in (black, white):
            np.testing.assert_array_equal(average_frames([frame] * 3, gamma), frame)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    for gamma in (None, 2.2, "srgb"):
        np.testing.assert_array_equal(average_frames([levels] * 13, gamma), levels)


@both_ways
@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("gamma", [None, 2.2])
def test_gopro_large_all(load, frames, scene, streaming, archive, gamma):
    data = load(zipped(frames) if archive else frames, window=5, stride=2, gamma=gamma, streaming=streaming)
    assert data.features["frames"] == datasets.List(data.features["sharp"])
    rows = list(data)
    assert [row["frame"] for row in rows] == [22, 24, 26, 28, 34]  # none reaches over the gap
    assert {row["sequence"] for row in rows} == {"GOPR0372_07_00"}
    for row in rows:
        shown = [scene(row["frame"] + shift) for shift in (-2, -1, 0, 1, 2)]
        assert len(row["frames"]) == 5
        for frame, expected in zip(row["frames"], shown, strict=True):
            np.testing.assert_array_equal(np.asarray(frame), expected)
        np.testing.assert_array_equal(np.asarray(row["sharp"]), shown[2])
        linear = np.mean([(frame / 255) ** (gamma or 1) for frame in shown], axis=0)
        blurred = np.asarray(row["blurred"]).astype(float)
        assert np.abs(blurred - 255 * linear ** (1 / (gamma or 1))).max() < 0.51


@both_ways
def test_any_folder_of_frames(load, tmp_path, scene, streaming):
    for number in range(0, 70, 10):
        save(tmp_path / "walk" / f"frame_{number}.jpg", scene(number))
    rows = list(load(tmp_path / "walk", window=3, streaming=streaming))
    assert [(row["sequence"], row["frame"]) for row in rows] == [("frame", 10), ("frame", 40)]
    for name in "abcde":
        save(tmp_path / "unnumbered" / f"{name}.png", scene(ord(name)))
    rows = list(load(tmp_path / "unnumbered", window=5, streaming=streaming))
    assert [(row["sequence"], row["frame"]) for row in rows] == [("unnumbered", 2)]
    np.testing.assert_array_equal(np.asarray(rows[0]["sharp"]), scene(ord("c")))


def test_faulty_frames_are_listed(load, frames, scene):
    folder = frames / "train" / "GOPR0372_07_00"
    save(folder / "000021.png", scene(0)[:30])
    (folder / "000034.png").write_bytes(b"no picture")
    with pytest.raises(BadInputError) as caught:
        load(frames, window=5)
    assert "2 windows cannot be used" in str(caught.value)
    assert "000021.png is 64x30, but " in str(caught.value)
    assert "000034.png cannot be read" in str(caught.value)
    with pytest.raises(BadInputError, match="000021.png is 64x30"):
        list(load(frames, window=5, streaming=True))


def test_what_has_no_windows(load, frames, gopro, scene):
    for source, more, words in (
        (frames, {"split": "test", "window": 5}, "longest run of consecutive frames has 3"),
        (frames, {"split": "validation"}, "holds no split 'validation'"),
        (frames, {"window": 4}, "window is 4"),
        (frames, {"window": 1}, "window is 1"),
        (frames, {"stride": 0}, "stride is 0"),
        (frames, {"gamma": -1}, "gamma is -1"),
        (frames / "gone", {}, "no such folder"),
        (gopro, {"window": 3}, "not consecutive; give GOPRO_Large_all"),
    ):
        with pytest.raises(BadInputError, match=words) as caught:
            load(source, **more)
        assert "\n" not in str(caught.value)
    save(frames / "train" / "GOPR0372_07_00" / "000020.jpg", scene(0))
    with pytest.raises(BadInputError, match="the same frame by name"):
        load(frames)

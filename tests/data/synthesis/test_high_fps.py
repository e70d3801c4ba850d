"""Windows of real MP4 files: which frames they hold, and what is left out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from motion_offsets.data.synthesis.high_fps import Skipped, video_windows
from motion_offsets.errors import BadInputError
from motion_offsets.io.video import write_video


def pan(path: Path, count: int, step: int = 2) -> list[np.ndarray]:
    """Frames of a camera that pans over a photo, by ``step`` pixels per frame."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((300, 200)))
    return [pixels[20:116, 10 + step * number : 138 + step * number].copy() for number in range(count)]


@pytest.fixture
def frames(sample_photo) -> list[np.ndarray]:
    return pan(sample_photo("astronaut"), 30)


def windows(path: Path, window: int = 7, stride: int = 7, min_fps: float = 200) -> tuple[list, Skipped]:
    skipped = Skipped()
    return list(video_windows(path, window, stride, min_fps, skipped)), skipped


def assert_same(shown: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Equally bright but for the compression; neighbouring frames differ by far more."""
    shown, expected = (np.mean(frames, axis=-1) for frames in (shown, expected))
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean(axis=(1, 2)).max() < 4
    assert np.abs(expected[0] - expected[1]).mean() > 6


@pytest.mark.parametrize(
    ("window", "stride", "middles"), [(7, 7, [3, 10, 17, 24]), (9, 4, [4, 8, 12, 16, 20, 24]), (7, 10, [3, 13, 23])]
)
def test_windows_of_a_clip(tmp_path, frames, window, stride, middles):
    found, skipped = windows(write_video(frames, tmp_path / "clip.mp4", 240), window, stride)
    assert [item.frame for item in found] == middles
    for item in found:
        assert_same(item.frames, frames[item.frame - window // 2 : item.frame + window // 2 + 1])
    assert skipped == Skipped()


def test_no_window_reaches_over_a_cut(tmp_path, frames, sample_photo):
    other = pan(sample_photo("coffee"), 20)
    path = write_video([*frames[:10], *other, *frames[10:19]], tmp_path / "cuts.mp4", 240)
    found, skipped = windows(path)
    assert [item.frame for item in found] == [3, 13, 20, 33]
    assert skipped == Skipped(cuts=2)


def test_a_fast_pan_is_no_cut(tmp_path, sample_photo):
    found, skipped = windows(write_video(pan(sample_photo("astronaut"), 16, step=10), tmp_path / "clip.mp4", 240))
    assert len(found) == 2
    assert skipped == Skipped()


def test_repeated_frames_are_dropped(tmp_path, frames, generator):
    noisy = [np.uint8(np.clip(frame + generator.normal(0, 3, frame.shape), 0, 255)) for frame in frames]
    # One frame was stored twice: a window around it holds it once, and is still fast enough.
    found, skipped = windows(write_video([*noisy[:4], *noisy[3:]], tmp_path / "one.mp4", 240), stride=20)
    assert skipped == Skipped(duplicates=1)
    assert_same(found[0].frames, noisy[:7])
    # All frames were stored twice: 120 frames per second that call themselves 240.
    path = write_video([frame for frame in noisy for _ in range(2)], tmp_path / "twice.mp4", 240)
    found, skipped = windows(path)
    assert not found
    assert skipped.duplicates == len(noisy)
    assert skipped.slow_windows == 4
    found, _ = windows(path, min_fps=120)
    assert [item.frame for item in found] == [6, 20, 34, 48]
    assert_same(found[1].frames, noisy[7:14])


def test_slow_footage_is_refused_with_the_reason(tmp_path, frames):
    path = write_video(frames, tmp_path / "slow.mp4", 30)
    with pytest.raises(BadInputError, match=r"slow.mp4: has 30 frames per second.*at least 200.*ghosts.*`min_fps`"):
        windows(path)
    assert len(windows(path, min_fps=30)[0]) == 4


def test_slow_motion_of_a_phone_counts_as_filmed(tmp_path, frames):
    plain = write_video(frames, tmp_path / "plain.mp4", 30)
    options = {"movflags": "use_metadata_tags"}
    with av.open(str(plain)) as source, av.open(str(tmp_path / "phone.mp4"), "w", container_options=options) as target:
        target.metadata["com.android.capture.fps"] = "240.000000"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert len(windows(tmp_path / "phone.mp4")[0]) == 4
    with pytest.raises(BadInputError, match="has 240 frames per second, and at least 300"):
        windows(tmp_path / "phone.mp4", min_fps=300)


def test_frames_of_a_phone_held_upright_are_turned(tmp_path, frames):
    path = write_video(frames, tmp_path / "phone.mp4", 240)
    data = bytearray(path.read_bytes())
    # The track's matrix, nine numbers of 32 bits: a quarter turn clockwise, which takes right to down, down to left.
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack_from(">5i", data, matrix) == (0x10000, 0, 0, 0, 0x10000)
    struct.pack_into(">5i", data, matrix, 0, 0x10000, 0, -0x10000, 0)
    path.write_bytes(data)
    found, _ = windows(path)
    assert_same(found[0].frames, [np.rot90(frame, -1) for frame in frames[:7]])


def test_broken_video_gives_what_comes_before_the_damage(tmp_path, frames):
    whole = write_video(frames, tmp_path / "whole.mp4", 240).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    found = []

    def collect() -> None:
        for item in video_windows(tmp_path / "cut.mp4", 7, 7):
            found.append(item.frame)
            assert_same(item.frames, frames[item.frame - 3 : item.frame + 4])

    with pytest.raises(BadInputError, match=r"cut.mp4: .*damaged.* intact video file"):
        collect()
    assert found == [3, 10, 17, 24][: len(found)]
    assert 0 < len(found) < 4
    (tmp_path / "words.mp4").write_text("no video")
    for name, words in (("words.mp4", "no video"), ("gone.mp4", "no such file"), (".", "no video")):
        with pytest.raises(BadInputError, match=words) as caught:
            windows(tmp_path / name)
        assert "\n" not in str(caught.value)

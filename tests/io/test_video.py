"""Clips written and read back; nothing half-written stays behind."""

from __future__ import annotations

import os
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from motion_offsets.errors import BadInputError
from motion_offsets.io.atomic import whole_file
from motion_offsets.io.video import ping_pong, read_video, write_animation, write_video


def moving_square(width: int = 64, height: int = 48, count: int = 6) -> list[np.ndarray]:
    """A bright square on a smooth background, four pixels further in each frame."""
    y, x = np.mgrid[0:height, 0:width]
    background = np.stack([40 + x * 80 // width, 60 + y * 80 // height, 90 + 0 * x], axis=-1).astype(np.uint8)
    frames = []
    for index in range(count):
        frame = background.copy()
        frame[height // 4 : height // 2, 4 * index : 4 * index + 16] = (230, 220, 60)
        frames.append(frame)
    return frames


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return -10 * np.log10(np.mean((one.astype(float) - other) ** 2) / 255**2 + 1e-12)


def atoms(path) -> list[bytes]:
    """Names of an MP4's top-level boxes in order."""
    data, names, position = path.read_bytes(), [], 0
    while position < len(data):
        names.append(data[position + 4 : position + 8])
        position += int.from_bytes(data[position : position + 4], "big")
    return names


def test_mp4_comes_back(tmp_path):
    frames = moving_square()
    path = write_video([Image.fromarray(frames[0]), *frames[1:]], tmp_path / "clip.mp4", fps=15)
    assert path == tmp_path / "clip.mp4"
    back, fps = read_video(path)
    assert fps == 15
    assert len(back) == len(frames)
    assert min(psnr(a, b) for a, b in zip(back, frames, strict=True)) > 32
    assert len(read_video(path, max_frames=2)[0]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_mp4_is_what_a_phone_plays(tmp_path):
    path = write_video(moving_square(), tmp_path / "clip.mp4", fps=29.97)
    names = atoms(path)
    assert names.index(b"moov") < names.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.name == "h264"
        assert context.profile == "High"
        assert context.pix_fmt == "yuv420p"
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert float(stream.average_rate) == pytest.approx(29.97, rel=1e-3)
        assert context.sample_aspect_ratio in (None, Fraction(0), Fraction(1))
        pictures = [frame.pts * frame.time_base for frame in container.decode(stream)]
        assert pictures[0] == 0
        assert np.allclose(np.diff([float(p) for p in pictures]), 1 / 29.97, rtol=1e-2)


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (120, 130, 200)])
def test_colours_are_bt709(tmp_path, color):
    """The stored luma is BT.709's, limited range, computed here from its definition."""
    path = write_video([np.full((32, 32, 3), color, np.uint8)] * 2, tmp_path / "plain.mp4")
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:32]
    expected = 16 + 219 * np.dot([0.2126, 0.7152, 0.0722], color) / 255
    assert luma.mean() == pytest.approx(expected, abs=1.5)
    np.testing.assert_allclose(read_video(path)[0][0][16, 16], color, atol=5)


@pytest.mark.parametrize(("width", "height"), [(63, 47), (64, 47), (63, 48), (17, 16), (3, 5), (1, 1)])
def test_odd_sides_grow_by_replication(tmp_path, width, height):
    frame = np.full((height, width, 3), (90, 140, 60), np.uint8)
    back, _ = read_video(write_video([frame] * 3, tmp_path / "odd.mp4"))
    assert back[0].shape == (height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(back[0], np.broadcast_to([90, 140, 60], back[0].shape), atol=6)


def test_large_frames_are_scaled_down(tmp_path):
    frames = moving_square(200, 101, 2)
    back, _ = read_video(write_video(frames, tmp_path / "small.mp4", max_side=100))
    assert back[0].shape == (50, 100, 3)
    # 4000x3000 would fit neither 3840 pixels nor, scaled to them, the macroblocks of level 5.1
    with av.open(str(write_video([np.zeros((3000, 4000, 3), np.uint8)], tmp_path / "large.mp4"))) as container:
        stream = container.streams.video[0]
        blocks = -(-stream.width // 16) * -(-stream.height // 16)
        assert 35_000 < blocks <= 36_864
        assert stream.width / stream.height == pytest.approx(4 / 3, abs=0.002)
        frame = next(container.decode(stream))
        assert frame.width == stream.width


def test_frames_are_taken_one_by_one(tmp_path):
    alive = []

    def stream():
        for index, frame in enumerate(moving_square(count=4)):
            alive.append(index)
            yield frame

    write_video(stream(), tmp_path / "lazy.mp4")
    assert alive == [0, 1, 2, 3]


@pytest.mark.parametrize("fps", [0, -1, 241, float("nan"), float("inf"), "15", None, True])
def test_frame_rates_that_are_none(tmp_path, fps):
    for write, name in ((write_video, "clip.mp4"), (write_animation, "clip.gif")):
        with pytest.raises(BadInputError, match="fps"):
            write(moving_square(), tmp_path / name, fps=fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp"])
def test_frames_that_cannot_be_written(tmp_path, name):
    write = write_video if name.endswith("mp4") else write_animation
    good = moving_square(count=2)
    wrong = {
        "none": [],
        "first is": [*good, good[0][:20]],
        "frame 2": [good[0], good[0].astype(float)],
        "frame 1": ["picture.png"],
    }
    for words, frames in wrong.items():
        with pytest.raises(BadInputError, match=words):
            write(frames, tmp_path / name)
    with pytest.raises(BadInputError, match="max_side"):
        write(good, tmp_path / name, max_side=0)
    assert not list(tmp_path.iterdir())


def test_an_error_half_way_keeps_the_old_file(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the old one")

    def failing():
        yield from moving_square(count=3)
        raise KeyError("of the caller's")

    with pytest.raises(KeyError):
        write_video(failing(), path)
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    write_video(moving_square(), path)
    assert len(read_video(path)[0]) == 6


def test_places_that_cannot_be_written(tmp_path):
    frames = moving_square(count=2)
    (tmp_path / "folder.mp4").mkdir()
    for path, words in (
        (tmp_path / "nowhere" / "clip.mp4", "does not exist"),
        (tmp_path / "folder.mp4", "is a folder"),
        (tmp_path / "clip.avi", ".mp4"),
        (tmp_path / "clip", ".mp4"),
        (tmp_path / ("x" * 300 + ".mp4"), "shorter"),
    ):
        with pytest.raises(BadInputError, match=words) as caught:
            write_video(frames, path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError, match=".gif or .webp"):
        write_animation(frames, tmp_path / "clip.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everything")
def test_write_protected(tmp_path):
    (tmp_path / "clip.mp4").touch(0o400)
    with pytest.raises(BadInputError, match="write-protected"):
        write_video(moving_square(), tmp_path / "clip.mp4")
    tmp_path.chmod(0o500)
    with pytest.raises(BadInputError, match="cannot be written"):
        write_video(moving_square(), tmp_path / "other.mp4")
    tmp_path.chmod(0)
    with pytest.raises(BadInputError, match="cannot be written"):
        write_video(moving_square(), tmp_path / "other.mp4")
    tmp_path.chmod(0o700)


def test_whole_file(tmp_path):
    with whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("all of it")
        assert not (tmp_path / "a.txt").exists()
        assert partial.parent == tmp_path
        assert partial.suffix == ".txt"
    assert (tmp_path / "a.txt").read_text() == "all of it"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def fill_the_disk(path) -> None:
    with whole_file(path) as partial:
        partial.write_text("some of it")
        with open("/dev/full", "w", buffering=1) as full:
            full.write("the rest\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /dev/full and /proc")
def test_full_disk_and_forbidden_folder(tmp_path):
    with pytest.raises(BadInputError, match="no space left"):
        fill_the_disk(tmp_path / "b.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInputError, match="/proc/clip.mp4: cannot be written"):  # the superuser may not either
        write_video(moving_square(), "/proc/clip.mp4")


@pytest.mark.parametrize(("name", "worst"), [("clip.gif", 28), ("clip.webp", 30)])
def test_animation_comes_back(tmp_path, name, worst):
    frames = moving_square()
    write_animation(frames, tmp_path / name, fps=15)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == len(frames)
        assert image.info["loop"] == 0
        total = 0
        for index, frame in enumerate(frames):
            image.seek(index)
            image.load()
            total += image.info["duration"]
            assert psnr(np.asarray(image.convert("RGB")), frame) > worst
    assert total == 400  # 6 frames at 15 a second, although a GIF counts in hundredths


def test_still_pixels_do_not_flicker_in_a_gif(tmp_path):
    write_animation(moving_square(), tmp_path / "clip.gif")
    with Image.open(tmp_path / "clip.gif") as image:
        corners = []
        for index in range(6):
            image.seek(index)
            corners.append(np.asarray(image.convert("RGB"))[:10].copy())
    assert all(np.array_equal(corner, corners[0]) for corner in corners)


def test_animation_sizes_and_speeds(tmp_path):
    frames = moving_square(200, 100, 3)
    write_animation(frames, tmp_path / "small.webp", max_side=50)
    with Image.open(tmp_path / "small.webp") as image:
        assert image.size == (50, 25)
    write_animation(frames[:2], tmp_path / "fast.GIF", fps=240)
    with Image.open(tmp_path / "fast.GIF") as image:
        assert image.info["duration"] == 20  # faster ones are slowed down to a tenth of a second by browsers
    write_animation(frames[:1], tmp_path / "one.gif")
    with Image.open(tmp_path / "one.gif") as image:
        assert image.size == (200, 100)


def test_ping_pong():
    assert ping_pong("abcd") == list("abcdcb")
    assert ping_pong("ab") == ["a", "b"]
    assert ping_pong("a") == ["a"]
    assert ping_pong([]) == []


def test_what_is_no_video(tmp_path):
    (tmp_path / "words.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    whole = write_video(moving_square(), tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:300])
    for name in ("gone.mp4", "words.mp4", "empty.mp4", "cut.mp4", "."):
        with pytest.raises(BadInputError) as caught:
            read_video(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

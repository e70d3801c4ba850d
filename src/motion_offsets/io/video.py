"""Clips: H.264 MP4 that a phone plays, looping GIF and WebP, and the way back from a video to frames.

Every file appears whole or not at all: it is written under another name in the same folder and then renamed.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import av
import numpy as np
from PIL import Image

from ..errors import BadInputError
from .atomic import whole_file

Frame: TypeAlias = Image.Image | np.ndarray
_Item = TypeVar("_Item")

MIN_FPS = 0.1
MAX_FPS = 240
MAX_VIDEO_SIDE = 3840
MAX_ANIMATION_SIDE = 960

# H.264 level 5.1, the highest that phones can be relied on to decode: this many 16x16 macroblocks a frame.
_MAX_MACROBLOCKS = 36_864
_BT709 = 1  # primaries, transfer and matrix all have number 1 in the standard
_LIMITED_RANGE = 1
_GIF_MIN_CENTISECONDS = 2  # browsers slow anything shorter down to a tenth of a second


def write_video(
    frames: Iterable[Frame], path: str | os.PathLike[str], fps: float = 15, *, max_side: int = MAX_VIDEO_SIDE
) -> Path:
    """Write an MP4 that phones and browsers play: H.264 High, yuv420p, BT.709, index at the front.

    Frames are taken from the iterable one by one. Odd sides grow by one pixel, the last row or column repeated;
    larger frames are scaled down to ``max_side`` and to what H.264 level 5.1 holds (about 9.4 megapixels).

    Args:
        frames: at least one RGB frame: PIL images or uint8 arrays ``(H, W, 3)``, all of one size.
        path: file to write, ``.mp4``; an existing one is replaced.
        fps: frames per second, from 0.1 to 240.
        max_side: longest side of the video in pixels.

    Returns:
        The path written.

    Raises:
        BadInputError: no frames, frames that do not fit together, a bad ``fps``, ``max_side`` or path, or a PyAV
            without an H.264 encoder. Nothing is left at ``path`` that was not there before.
    """
    rate = Fraction(_checked_fps(fps)).limit_denominator(1001)
    max_side = _checked_side(max_side)
    arrays, (width, height) = _checked_frames(frames)
    size = _fit(width, height, max_side, _MAX_MACROBLOCKS)
    with whole_file(path, (".mp4",)) as partial:
        try:
            _encode(arrays, partial, rate, size)
        except av.codec.codec.UnknownCodecError:
            raise BadInputError(
                f"{path}: this PyAV has no H.264 encoder (libx264); install PyAV from PyPI, or write a .webp or .gif"
            ) from None
    return Path(path)


def write_animation(
    frames: Iterable[Frame], path: str | os.PathLike[str], fps: float = 15, *, max_side: int = MAX_ANIMATION_SIDE
) -> Path:
    """Write an endlessly looping GIF or WebP, chosen by the suffix.

    A GIF gets one palette for all its frames, so that colours do not flicker, and at most 50 frames per second, the
    fastest that viewers honour.

    Args:
        frames: as for :func:`write_video`.
        path: file to write, ``.gif`` or ``.webp``; an existing one is replaced.
        fps: frames per second, from 0.1 to 240.
        max_side: longest side in pixels; larger frames are scaled down.

    Returns:
        The path written.

    Raises:
        BadInputError: as for :func:`write_video`.
    """
    fps = _checked_fps(fps)
    max_side = _checked_side(max_side)
    arrays, (width, height) = _checked_frames(frames)
    size = _fit(width, height, max_side)
    pictures = [_resized(array, size) for array in arrays]
    with whole_file(path, (".gif", ".webp")) as partial:
        if partial.suffix.lower() == ".gif":
            pictures = _one_palette(pictures)
            durations = _durations(len(pictures), fps, tick=10, shortest=10 * _GIF_MIN_CENTISECONDS)
            options: dict[str, Any] = {"optimize": False, "disposal": 1}
        else:
            durations = _durations(len(pictures), fps, tick=1, shortest=1)
            options = {"quality": 85, "method": 4}
        pictures[0].save(partial, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)
    return Path(path)


def read_video(path: str | os.PathLike[str], max_frames: int | None = None) -> tuple[list[np.ndarray], float]:
    """Read a video's frames as uint8 RGB arrays ``(H, W, 3)``, with its frames per second.

    Args:
        path: any video that FFmpeg reads.
        max_frames: stop after this number of frames.

    Raises:
        BadInputError: the file is missing, no video, or damaged.
    """
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise BadInputError(f"{path}: holds no video; give a video file such as .mp4")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            frames = []
            for frame in container.decode(stream):
                frames.append(frame.to_ndarray(format="rgb24"))
                if max_frames is not None and len(frames) >= max_frames:
                    break
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such file; check the path") from None
    except (av.FFmpegError, OSError) as error:
        raise BadInputError(f"{path}: not a video that can be read ({error}); give an intact video file") from None
    if not frames:
        raise BadInputError(f"{path}: holds no frames; give an intact video file")
    return frames, fps


def ping_pong(frames: Sequence[_Item]) -> list[_Item]:
    """Forth and back: ``a b c d`` becomes ``a b c d c b``, which loops without a jump and without a double frame."""
    return [*frames, *frames[-2:0:-1]]


@contextmanager
def _utf8_name(path: Path) -> Iterator[str]:
    """The name of a file to write, for a library that takes no bytes: one that is not UTF-8 is given at the end."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            beside = Path(folder) / f"file{path.suffix}"
            yield str(beside)
            shutil.copyfile(beside, path)
    else:
        yield str(path)


def _encode(arrays: Iterable[np.ndarray], path: Path, rate: Fraction, size: tuple[int, int]) -> None:
    # No B-frames: no edit list, so that every player starts on the first frame and counts all of them.
    options = {"crf": "18", "preset": "medium", "profile": "high", "bf": "0"}
    with (
        _utf8_name(path) as named,
        av.open(named, "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = size[0] + size[0] % 2, size[1] + size[1] % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.gop_size = max(1, round(rate))
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED_RANGE
        for array in arrays:
            picture = _padded_even(np.asarray(_resized(array, size)))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _checked_fps(fps: float) -> float:
    valid = isinstance(fps, Real) and not isinstance(fps, bool) and MIN_FPS <= fps <= MAX_FPS
    if not valid:
        raise BadInputError(f"fps: {fps!r} is not a frame rate; give a number from {MIN_FPS} to {MAX_FPS}")
    return float(fps)


def _checked_side(max_side: int) -> int:
    if not isinstance(max_side, Integral) or isinstance(max_side, bool) or max_side < 16:
        raise BadInputError(f"max_side: {max_side!r} is not a size; give a whole number of at least 16 pixels")
    return int(max_side)


def _checked_frames(frames: Iterable[Frame]) -> tuple[Iterator[np.ndarray], tuple[int, int]]:
    """The frames as uint8 arrays, still one by one, and their common (width, height), read off the first."""
    arrays = (_frame_array(frame, number) for number, frame in enumerate(frames, start=1))
    first = next(arrays, None)
    if first is None:
        raise BadInputError("frames: there are none; give at least one")
    return _same_size(first, arrays), (first.shape[1], first.shape[0])


def _frame_array(frame: Frame, number: int) -> np.ndarray:
    if isinstance(frame, Image.Image):
        return np.asarray(frame.convert("RGB"))
    if not isinstance(frame, np.ndarray):
        kind = type(frame).__name__
    elif frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size:
        return frame
    else:
        kind = f"an array {frame.shape} of {frame.dtype}"
    raise BadInputError(f"frame {number}: is {kind}; give a PIL image or a uint8 array (H, W, 3)")


def _same_size(first: np.ndarray, others: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    for number, array in enumerate(others, start=2):
        if array.shape != first.shape:
            raise BadInputError(
                f"frame {number}: is {array.shape[1]}x{array.shape[0]}, but the first is "
                f"{first.shape[1]}x{first.shape[0]}; give frames of one size"
            )
        yield array


def _fit(width: int, height: int, max_side: int, max_macroblocks: int | None = None) -> tuple[int, int]:
    """Largest (width, height) of the same shape within the limits; never larger than it was."""
    scale = min(1.0, max_side / max(width, height))
    while True:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        macroblocks = math.ceil(size[0] / 16) * math.ceil(size[1] / 16)
        if max_macroblocks is None or macroblocks <= max_macroblocks:
            return size
        scale *= min(0.999, math.sqrt(max_macroblocks / macroblocks))


def _resized(array: np.ndarray, size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(array))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _padded_even(array: np.ndarray) -> np.ndarray:
    height, width = array.shape[:2]
    return np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """The same 256 colours for all frames, chosen from small versions of up to sixteen of them."""
    chosen = pictures[:: math.ceil(len(pictures) / 16)]
    width, height = _fit(*chosen[0].size, max_side=240)
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for row, picture in enumerate(chosen):
        sheet.paste(picture.resize((width, height), Image.Resampling.BOX), (0, row * height))
    palette = sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]


def _durations(count: int, fps: float, tick: int, shortest: int) -> list[int]:
    """Milliseconds a frame, multiples of ``tick``, so rounded that the whole keeps its length."""
    ends = [round(1000 * n / fps / tick) * tick for n in range(count + 1)]
    return [max(shortest, end - start) for start, end in pairwise(ends)]

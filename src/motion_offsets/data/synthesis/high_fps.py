"""Windows of frames from high-frame-rate video, whose average is a realistic blur.

Averaging needs frames so close together that nothing moves by much more than a pixel from one to the next. Otherwise
the average shows several copies of every edge, side by side: ghosts, which no shutter makes.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ...errors import BadInputError

MIN_FPS = 200.0
"""Slowest footage that is averaged unless asked for: just below the 240 frames per second of GoPro and of phones."""

# Frames are compared as small grey pictures.
_THUMB_WIDTH = 160
# A frame whose grey levels differ by no more, on average and anywhere, is the one before it, compressed again.
_DUPLICATE_MEAN, _DUPLICATE_MOST = 0.25, 16
# A cut changes the mean grey level difference by much, and by much more than the frames around it do.
_CUT_LEVELS, _CUT_RATIO, _CUT_MEMORY = 12.0, 2.5, 24
# A file that holds a smaller part of the frames that it announces was cut short.
_WHOLE = 0.98
# Phones store slow motion at 30 frames per second, with the rate of the camera beside it.
_CAPTURE_RATE_KEYS = ("com.android.capture.fps", "com.apple.quicktime.capture.fps")


@dataclass(frozen=True)
class Window:
    """Consecutive frames ``(H, W, 3)`` uint8; ``frame`` is the middle one's number in the video, from 0."""

    frame: int
    frames: list[np.ndarray]


@dataclass
class Skipped:
    """What of a video was not used: frames like the one before, scene cuts, windows too slow for what is missing."""

    duplicates: int = 0
    cuts: int = 0
    slow_windows: int = 0

    def __str__(self) -> str:
        return f"{self.duplicates} repeated frames, {self.cuts} scene cuts, {self.slow_windows} windows with gaps"


def video_windows(
    path: str | os.PathLike[str], window: int, stride: int, min_fps: float = MIN_FPS, skipped: Skipped | None = None
) -> Iterator[Window]:
    """The windows of a video, one by one; no more than one is in memory.

    A frame that repeats the one before it is dropped, and no window reaches over a scene cut. A window whose frames
    come slower than ``min_fps`` by their times, as in footage whose frames were doubled, is left out.

    Args:
        path: any video that FFmpeg reads.
        window: frames M of a window, odd.
        stride: frames from one window's start to the next one's.
        min_fps: slowest footage accepted, frames per second.
        skipped: counts what is not used.

    Raises:
        BadInputError: the file is missing, no video or too slow; or damaged, told after the windows before the damage.
    """
    skipped = Skipped() if skipped is None else skipped
    with _opened(path, min_fps) as (decoded, min_stored_fps):
        yield from _windows(decoded, window, stride, min_stored_fps, skipped)


def video_frames(path: str | os.PathLike[str], min_fps: float = MIN_FPS) -> Iterator[tuple[bool, np.ndarray]]:
    """The frames of a video ``(H, W, 3)`` uint8, each with whether a run of consecutive frames begins with it.

    A frame that repeats the one before it is dropped. A run ends at a scene cut, and where frames are missing: where
    the next one comes later than one and a half times the interval of ``min_fps``.

    Args:
        path: any video that FFmpeg reads.
        min_fps: slowest footage accepted, frames per second.

    Raises:
        BadInputError: as :func:`video_windows`.
    """
    with _opened(path, min_fps) as (decoded, min_stored_fps):
        before: float | None = None
        for _, frame, cut in _scenes(_different(decoded, Skipped())):
            time = frame.time or 0.0
            gap = before is not None and (time - before) * min_stored_fps > 1.5
            yield before is None or cut or gap, _upright(frame)
            before = time


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], min_fps: float) -> Iterator[tuple[Iterator[Any], float]]:
    """The frames of a video as they are decoded, and ``min_fps`` by the times that the file stores."""
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise BadInputError(f"{path}: holds no video; give a video file such as .mp4")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            speed = check_rate(path, container.metadata | stream.metadata, stream.average_rate, min_fps)
            yield _intact(path, container.decode(stream), stream.frames), min_fps / speed
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such file; check the path") from None
    except (av.FFmpegError, OSError) as error:
        raise BadInputError(f"{path}: damaged or no video ({error}); give an intact video file") from None


def check_rate(
    path: str | os.PathLike[str], metadata: dict[str, str], stored: Fraction | None, min_fps: float
) -> float:
    """How many times slower than life the video plays; :class:`BadInputError` where it was filmed too slowly."""
    fps = float(stored or 0)
    captured = fps
    for key in _CAPTURE_RATE_KEYS:
        try:
            captured = max(captured, float(metadata.get(key, "0")))
        except ValueError:
            continue  # a note of the camera's that is not a number says nothing
    if captured < min_fps:
        raise BadInputError(
            f"{path}: has {captured:.4g} frames per second, and at least {min_fps:g} are needed: between slower "
            "frames things move by several pixels, so that their average shows ghosts, copies side by side, not blur; "
            "give slow-motion footage, or a lower `min_fps` where little moves"
        )
    return captured / fps if fps else 1.0


def _windows(
    decoded: Iterator[Any], window: int, stride: int, min_stored_fps: float, skipped: Skipped
) -> Iterator[Window]:
    kept: deque[tuple[int, float, np.ndarray]] = deque()
    wait = 0
    for number, frame, cut in _scenes(_different(decoded, skipped)):
        if cut:
            skipped.cuts += 1
            kept.clear()
            wait = 0
        if wait:
            wait -= 1
            continue
        kept.append((number, frame.time or 0.0, _upright(frame)))
        if len(kept) < window:
            continue
        seconds = kept[-1][1] - kept[0][1]
        # A hundredth of slack for time stamps in milliseconds.
        if seconds > 0 and (window - 1) / seconds < 0.99 * min_stored_fps:
            skipped.slow_windows += 1
        else:
            yield Window(kept[window // 2][0], [pixels for _, _, pixels in kept])
        wait = max(0, stride - window)
        for _ in range(min(stride, window)):
            kept.popleft()


def _different(decoded: Iterator[Any], skipped: Skipped) -> Iterator[tuple[int, Any, float]]:
    """Number, frame and mean change of grey levels since the frame before; frames that repeat it are left out."""
    before: np.ndarray | None = None
    for number, frame in enumerate(decoded):
        thumb = _thumb(frame)
        change = 0.0
        if before is not None:
            # Frames of another shape have nothing in common.
            difference = np.abs(thumb - before) if thumb.shape == before.shape else np.full(1, 255)
            change = float(difference.mean())
            if change <= _DUPLICATE_MEAN and difference.max() <= _DUPLICATE_MOST:
                skipped.duplicates += 1
                continue
        before = thumb
        yield number, frame, change


def _scenes(changing: Iterator[tuple[int, Any, float]]) -> Iterator[tuple[int, Any, bool]]:
    """Number and frame, and whether a new scene begins there: whether the change is much larger than those around."""
    earlier: deque[float] = deque(maxlen=_CUT_MEMORY)
    current = next(changing, None)
    while current is not None:
        following = next(changing, None)
        number, frame, change = current
        around = [*earlier, *([following[2]] if following else [])]
        cut = bool(around) and change > max(_CUT_LEVELS, _CUT_RATIO * float(np.median(around)))
        yield number, frame, cut
        if cut:
            earlier.clear()
        elif change:
            earlier.append(change)
        current = following


def _intact(path: str | os.PathLike[str], decoded: Iterator[Any], announced: int) -> Iterator[Any]:
    """The frames as they come; :class:`BadInputError` where some are damaged or missing at the end."""
    number = -1
    for number, frame in enumerate(decoded):
        if frame.is_corrupt:  # FFmpeg has painted over what is missing of it
            raise BadInputError(f"{path}: is damaged from frame {number} on; give an intact video file")
        yield frame
    if number + 1 < _WHOLE * announced:
        raise BadInputError(
            f"{path}: is damaged, as it ends after {number + 1} of {announced} frames; give an intact video file"
        )


def _upright(frame: Any) -> np.ndarray:
    """``(H, W, 3)`` uint8; a phone held upright stores its frames lying, with a note by how much to turn them."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def _thumb(frame: Any) -> np.ndarray:
    height = max(1, round(frame.height * _THUMB_WIDTH / frame.width))
    return frame.reformat(_THUMB_WIDTH, height, "gray", interpolation="AREA").to_ndarray().astype(np.int16)

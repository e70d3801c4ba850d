"""One photo's result folder: everything ``motion-offsets extract`` writes, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import __version__
from .errors import BadInputError
from .pipeline_blur_to_video import DEFAULT_MAX_MEMORY, BlurToVideoPipeline
from .trajectories import align_time, check_num_samples, num_control_points, offsets_at, sample_times
from .video import write_animation, write_video
from .visualization import draw_flow, draw_trajectories

RESULT_NAMES = frozenset(
    ("sharp.png", "frames", "video.mp4", "video.gif", "video.webp", "trajectories.png", "flow.png")
    + ("motion_offsets.npz", "report.json")
)
# Curves drawn over more pixels than this could not be seen, so larger photos are drawn smaller.
MAX_DRAWN_SIDE = 2048
DRAWN_STRIDE = 4
# Strong PNG compression takes longer than all the rest and saves a tenth.
_PNG_LEVEL = 1

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExtractionSettings:
    """How photos are extracted.

    Args:
        times: times of the frames, -1 to 1.
        fps: frames a second of the clip.
        animations: suffixes of further clips, ``".gif"`` and ``".webp"``.
        max_memory: bytes a photo may need.
        dtype: autocast type, ``None`` for float32.
        models: what the report says the models are.
    """

    times: Sequence[float]
    fps: float = 15
    animations: tuple[str, ...] = ()
    max_memory: float = DEFAULT_MAX_MEMORY
    dtype: torch.dtype | None = None
    models: dict[str, str] | None = None


@dataclass(frozen=True)
class SavedMotion:
    """The motion of one photo as a file holds it: ``(1, 2K, H, W)`` control points in pixels, trajectory, N."""

    control_points: Tensor
    trajectory: str
    num_samples: int


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``target``; on success it takes its place, on any error nothing is left of it.

    An earlier result at ``target`` is replaced only once the new one is complete.

    Raises:
        BadInputError: ``target`` is something else than an earlier result, or the disk refuses to be written to.
    """
    _check_replaceable(target)
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    finished = False
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        _replace_folder(target, unfinished)
        finished = True
    except OSError as error:
        raise BadInputError(f"{target}: cannot be written ({error.strerror or error}); give another output") from error
    finally:
        if not finished:
            shutil.rmtree(unfinished, ignore_errors=True)
            _remove_empty(made)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders, innermost first, that were made for nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _check_replaceable(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise BadInputError(f"{target}: exists and is no result folder; give another output")
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise BadInputError(f"{target}: is write-protected; give another output, or permission to write it")
    found = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
    foreign = sorted(found - RESULT_NAMES - {"Thumbs.db"})  # that one and hidden files are the file manager's
    if foreign:
        raise BadInputError(f"{target}: holds {foreign[0]!r}, which is no result of ours; give another output")


def _replace_folder(target: Path, finished: Path) -> None:
    if not target.exists():
        finished.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    target.rename(old)
    try:
        finished.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def extract_photo(
    pipe: BlurToVideoPipeline, photo: Path, target: Path, settings: ExtractionSettings, on_step: OnStep
) -> dict[str, Any]:
    """Extract one photo into the folder ``target``; see DESIGN, section 6, for what it then holds.

    Nothing of the size of all frames is ever in memory: frames are made, written and encoded one by one.

    Args:
        on_step: called with the name of the step, how much of it is done, and how much there is.

    Returns:
        The report that is also written to ``report.json``.

    Raises:
        BadInputError: the photo cannot be used or the folder cannot be written.
    """
    _check_replaceable(target)
    clock = _Clock()
    on_step("load", 0, 1)
    pixel_values = pipe.preprocess(str(photo))
    clock.lap("load")
    control_points = pipe.estimate(pixel_values, settings.max_memory, settings.dtype, partial(on_step, "motion"))
    clock.lap("motion")
    shared = control_points if pipe.estimators_agree else None
    sharp = pipe.deblur(pixel_values, shared, settings.max_memory, settings.dtype, partial(on_step, "sharp frame"))
    del shared
    control_points = align_time(control_points, pipe.trajectory)
    clock.lap("sharp_frame")
    consistency = pipe.assess(pixel_values, sharp, pipe.reblur(sharp, control_points), control_points)
    clock.lap("consistency")
    with whole_folder(target) as folder:
        _write_pictures(pipe, pixel_values, sharp, control_points, folder)
        save_motion(folder / "motion_offsets.npz", control_points, pipe, settings.times)
        clock.lap("pictures")
        _write_clip(pipe, sharp, control_points, folder, settings, on_step)
        clock.lap("clip")
        height, width = pixel_values.shape[-2:]
        report = {
            "made_by": "motion-offsets",
            "photo": str(photo),
            "width": width,
            "height": height,
            "num_frames": len(settings.times),
            "timestamps": list(settings.times),
            "fps": settings.fps,
            "trajectory": pipe.trajectory,
            "num_samples": pipe.num_samples,
            "consistency": dict(consistency),
            "models": settings.models or {},
            "device": str(pixel_values.device),
            "dtype": str(settings.dtype or torch.float32).removeprefix("torch."),
            "seconds": clock.seconds,
            "versions": _versions(),
            "files": sorted(entry.name for entry in folder.iterdir()) + ["report.json"],
        }
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


class _Clock:
    """Seconds between one lap and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._start, 3)
        self._start = now


def _write_pictures(
    pipe: BlurToVideoPipeline, pixel_values: Tensor, sharp: Tensor, control_points: Tensor, folder: Path
) -> None:
    save_picture(pipe.post_process(sharp)[0], folder / "sharp.png")
    save_picture(trajectories_picture(pipe, pixel_values, control_points), folder / "trajectories.png")
    ends = offsets_at(control_points, [-1.0, 1.0], pipe.trajectory)[0]
    # The content moves against the offsets at which it is read.
    save_picture(draw_flow(ends[0] - ends[1]), folder / "flow.png")


def trajectories_picture(pipe: BlurToVideoPipeline, pixel_values: Tensor, control_points: Tensor) -> Image.Image:
    """The photo ``(1, 3, H, W)`` with the trajectories drawn over it, at most 2048 pixels wide or high."""
    height, width = pixel_values.shape[-2:]
    scale = min(1.0, MAX_DRAWN_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixel_values = torch.nn.functional.interpolate(pixel_values, size=size, mode="area")
    # The drawing looks up a value for each cell of a coarse grid.
    grid = control_points[:, :, ::DRAWN_STRIDE, ::DRAWN_STRIDE] * scale
    offsets = offsets_at(grid, sample_times(pipe.num_samples), pipe.trajectory)[0]
    # As the eye sees it: the streak that each point of the scene left, in the direction in which the clip runs.
    return draw_trajectories(pipe.post_process(pixel_values)[0], offsets, mirror=True)


def _write_clip(
    pipe: BlurToVideoPipeline,
    sharp: Tensor,
    control_points: Tensor,
    folder: Path,
    settings: ExtractionSettings,
    on_step: OnStep,
) -> None:
    frames = folder / "frames"
    frames.mkdir()

    def saved() -> Iterator[Image.Image]:
        """Each frame on its way into the video, saved as it passes."""
        for number, frame in enumerate(pipe.frames(sharp, control_points, settings.times), start=1):
            picture = pipe.post_process(frame)[0]
            save_picture(picture, frames / f"{number:04d}.png")
            yield picture
            on_step("clip", number, len(settings.times))

    write_video(saved(), folder / "video.mp4", settings.fps)
    for suffix in settings.animations:
        write_animation(_opened(sorted(frames.iterdir())), folder / f"video{suffix}", settings.fps)


def _opened(paths: Sequence[Path]) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as picture:
            yield picture.copy()


def save_picture(picture: Image.Image, path: Path) -> None:
    """Save a picture in the format of its suffix; PNGs quickly rather than small."""
    options: dict[str, Any] = {"compress_level": _PNG_LEVEL} if path.suffix.lower() == ".png" else {"quality": 95}
    picture.save(path, **options)


def save_motion(path: Path, control_points: Tensor, pipe: BlurToVideoPipeline, times: Sequence[float]) -> None:
    """Save ``(1, 2K, H, W)`` control points as float16 (to 1/64 pixel at 32 pixels), with what they mean."""
    np.savez(
        path,
        control_points=control_points[0].clamp(-6e4, 6e4).to(torch.float16).cpu().numpy(),
        trajectory=np.array(pipe.trajectory),
        num_samples=np.array(pipe.num_samples),
        timestamps=np.array(times, dtype=np.float64),
    )


def load_motion(path: Path) -> SavedMotion:
    """The motion that :func:`save_motion` saved.

    Raises:
        BadInputError: the file is missing, no ``motion_offsets.npz``, or holds what does not fit together.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; give a motion_offsets.npz that extract wrote")
    try:
        with np.load(path, allow_pickle=False) as saved:
            points = torch.from_numpy(np.asarray(saved["control_points"], dtype=np.float32))
            trajectory, num_samples = str(saved["trajectory"]), int(saved["num_samples"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        raise BadInputError(f"{path}: holds no motion offsets; give a motion_offsets.npz that extract wrote") from None
    try:
        expected = 2 * num_control_points(trajectory, check_num_samples(num_samples))
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from None
    if points.ndim != 3 or points.shape[0] != expected or not bool(torch.isfinite(points).all()):
        raise BadInputError(
            f"{path}: holds control points of shape {tuple(points.shape)}; a {trajectory} trajectory wants finite "
            f"values of shape ({expected}, height, width)"
        )
    return SavedMotion(points[None], trajectory, num_samples)


def _versions() -> dict[str, str]:
    versions = {"motion-offsets": __version__}
    for package in ("torch", "transformers", "diffusers", "numba"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions

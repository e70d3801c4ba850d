"""One photo's result folder: everything ``motion-offsets extract`` writes, whole or not at all."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import __version__
from .consistency import Consistency
from .errors import BadInputError
from .images import EncodedPhoto, describe, size_of
from .memory import DEFAULT_MAX_MEMORY, check_photo_fits
from .pipeline_blur_to_video import BlurToVideoPipeline
from .result_folders import check_replaceable, whole_folder
from .trajectories import (
    align_time,
    check_num_samples,
    num_control_points,
    offsets_at,
    sample_times,
    split_control_points,
    trajectory_basis,
    weigh,
)
from .video import write_animation, write_video
from .visualization import draw_flow, draw_trajectories

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
        refine_steps: of the motion on the photo itself, 0 for none; see :mod:`motion_offsets.refinement`.
        safe: blend back what the motion does not explain; see :mod:`motion_offsets.safety`.
        dtype: autocast type, ``None`` for float32.
        models: what the report says the models are.
    """

    times: Sequence[float]
    fps: float = 15
    animations: tuple[str, ...] = ()
    max_memory: float = DEFAULT_MAX_MEMORY
    refine_steps: int = 0
    safe: bool = False
    dtype: torch.dtype | None = None
    models: dict[str, str] | None = None


@dataclass(frozen=True)
class SavedMotion:
    """The motion of one photo as a file holds it: ``(1, 2K, H, W)`` control points in pixels, trajectory, N."""

    control_points: Tensor
    trajectory: str
    num_samples: int


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo ``(1, 3, H, W)`` in [0, 1] in ordinary memory, what it is called, and the seconds each step took."""

    name: str
    pixel_values: Tensor
    seconds: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """What the networks made of one photo; all maps are ``(1, C, H, W)`` on the pipeline's device."""

    photo: LoadedPhoto
    sharp: Tensor
    control_points: Tensor
    consistency: Consistency


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
    check_replaceable(target)
    width, height = size_of(photo, pipe.processor.max_pixels)
    check_photo_fits(settings.max_memory, width * height)
    on_step("load", 0, 1)
    answers = answer_photos(pipe, [load_photo(pipe, photo)], settings, on_step)
    return write_answer(pipe, answers[0], target, settings, on_step)


def load_photo(pipe: BlurToVideoPipeline, photo: Path | EncodedPhoto) -> LoadedPhoto:
    """Read and decode a photo; :class:`BadInputError` says what is wrong with it."""
    clock = _Clock()
    pixel_values = pipe.processor([photo], return_tensors="pt")["pixel_values"]
    clock.lap("load")
    return LoadedPhoto(describe(photo), pixel_values, clock.seconds)


def answer_photos(
    pipe: BlurToVideoPipeline,
    photos: Sequence[LoadedPhoto],
    settings: ExtractionSettings,
    on_step: OnStep,
    estimators_agree: bool | None = None,
) -> list[Answer]:
    """Run the networks on photos of one size, together.

    Args:
        estimators_agree: the pipeline's, for whoever asks often.
    """
    clock = _Clock(share=len(photos))
    pixel_values = photos[0].pixel_values if len(photos) == 1 else torch.cat([photo.pixel_values for photo in photos])
    pixel_values = pixel_values.to(pipe._execution_device)
    estimated = pipe.estimate(pixel_values, settings.max_memory, settings.dtype, partial(on_step, "motion"))
    clock.lap("motion")
    share = pipe.estimators_agree if estimators_agree is None else estimators_agree
    sharp = pipe.deblur(
        pixel_values,
        estimated if share else None,
        settings.max_memory,
        settings.dtype,
        partial(on_step, "sharp frame"),
    )
    clock.lap("sharp_frame")
    if settings.refine_steps:
        estimated = pipe.refine(pixel_values, sharp, estimated, settings.refine_steps)
        clock.lap("refinement")
    control_points = align_time(estimated, pipe.trajectory)
    del estimated
    found = []
    for index in range(len(photos)):
        one = slice(index, index + 1)
        reblurred = pipe.reblur(sharp[one], control_points[one])
        if settings.safe:
            with torch.inference_mode():  # as all of the pipeline's answers, which this changes
                sharp[one] = pipe.blend_back(pixel_values[one], sharp[one], reblurred)
            reblurred = pipe.reblur(sharp[one], control_points[one])
        found.append(pipe.assess(pixel_values[one], sharp[one], reblurred, control_points[one]))
        del reblurred
    clock.lap("consistency")
    return [
        Answer(
            replace(photo, seconds=photo.seconds | clock.seconds),
            sharp[index : index + 1],
            control_points[index : index + 1],
            consistency,
        )
        for index, (photo, consistency) in enumerate(zip(photos, found, strict=True))
    ]


def write_answer(
    pipe: BlurToVideoPipeline,
    answer: Answer,
    target: Path,
    settings: ExtractionSettings,
    on_step: OnStep,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write one photo's result folder; see :func:`extract_photo`. ``more`` goes into the report."""
    clock, sharp, control_points = _Clock(), answer.sharp, answer.control_points
    with whole_folder(target) as folder:
        _write_pictures(pipe, answer.photo.pixel_values, sharp, control_points, folder)
        save_motion(folder / "motion_offsets.npz", control_points, pipe, settings.times)
        clock.lap("pictures")
        _write_clip(pipe, sharp, control_points, folder, settings, on_step)
        clock.lap("clip")
        height, width = sharp.shape[-2:]
        report = {
            "made_by": "motion-offsets",
            "photo": answer.photo.name,
            "width": width,
            "height": height,
            "num_frames": len(settings.times),
            "timestamps": list(settings.times),
            "fps": settings.fps,
            "trajectory": pipe.trajectory,
            "num_samples": pipe.num_samples,
            "consistency": dict(answer.consistency),
            "refine_steps": settings.refine_steps,
            "safe": settings.safe,
            "models": settings.models or {},
            "device": str(sharp.device),
            "dtype": str(settings.dtype or torch.float32).removeprefix("torch."),
            "seconds": answer.photo.seconds | clock.seconds,
            "versions": _versions(),
            **(more or {}),
            "files": sorted(entry.name for entry in folder.iterdir()) + ["report.json"],
        }
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


class _Clock:
    """Seconds between one lap and the next, for each of ``share`` photos."""

    def __init__(self, share: int = 1) -> None:
        self.seconds: dict[str, float] = {}
        self._share = share
        self._start = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round((now - self._start) / self._share, 3)
        self._start = now


def _write_pictures(
    pipe: BlurToVideoPipeline, pixel_values: Tensor, sharp: Tensor, control_points: Tensor, folder: Path
) -> None:
    save_picture(pipe.post_process(sharp)[0], folder / "sharp.png")
    save_picture(trajectories_picture(pipe, pixel_values, control_points), folder / "trajectories.png")
    ends = trajectory_basis(pipe.trajectory, [-1.0, 1.0], pipe.num_samples).to(control_points)
    # The content moves against the offsets at which it is read.
    motion = weigh(ends[:1] - ends[1:], split_control_points(control_points))[0, 0]
    save_picture(draw_flow(motion), folder / "flow.png")


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
        for number, moment in enumerate(settings.times, start=1):
            picture = pipe.post_process(pipe.frame_at(sharp, control_points, moment))[0]
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

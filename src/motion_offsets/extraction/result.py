"""One photo's result folder: everything ``motion-offsets extract`` writes, whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..exposure.trajectories import (
    offsets_at,
    sample_times,
    split_control_points,
    trajectory_basis,
    weigh,
)
from ..io.atomic import check_replaceable, whole_folder
from ..io.images import size_of
from ..io.motion_files import SavedMotion, save_motion
from ..io.photo_metadata import NO_METADATA, PhotoMetadata, read_metadata
from ..io.photo_sources import EncodedPhoto, describe
from ..io.picture_saving import save_picture
from ..io.video import write_animation, write_video
from ..pipelines.answer import Answer
from ..pipelines.blur_to_video import BlurToVideoPipeline
from ..version import versions
from ..visualization.camera_path import draw_camera
from ..visualization.flow import draw_flow
from ..visualization.paths import draw_trajectories
from .given_frames import load_given_frame
from .settings import ExtractionSettings, OnStep

# Curves drawn over more pixels than this could not be seen, so larger photos are drawn smaller.
MAX_DRAWN_SIDE = 2048
DRAWN_STRIDE = 4


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo in ordinary memory.

    Args:
        name: what it is called.
        pixel_values: ``(1, 3, H, W)`` in [0, 1].
        seconds: that each step took.
        metadata: what its file tells beside the picture.
        sharp: a sharp frame that was given, ``(1, 3, H, W)`` in [0, 1].
        sharp_name: what that is called.
    """

    name: str
    pixel_values: Tensor
    seconds: dict[str, float]
    metadata: PhotoMetadata = NO_METADATA
    sharp: Tensor | None = None
    sharp_name: str | None = None


@dataclass(frozen=True)
class ExtractedPhoto:
    """A photo and the pipeline's answer to it."""

    photo: LoadedPhoto
    answer: Answer


def extract_photo(
    pipe: BlurToVideoPipeline,
    photo: Path,
    target: Path,
    settings: ExtractionSettings,
    on_step: OnStep,
    sharp: Path | None = None,
) -> dict[str, Any]:
    """Extract one photo into the folder ``target``; ``docs/guides/photo.md`` lists the files it then holds.

    Nothing of the size of all frames is ever in memory: frames are made, written and encoded one by one.

    Args:
        on_step: called with the name of the step, how much of it is done, and how much there is.
        sharp: a sharp frame of the photo, used in place of the deblurrer's.

    Returns:
        The report that is also written to ``report.json``.

    Raises:
        BadInputError: the photo or the sharp frame cannot be used, or the folder cannot be written.
    """
    check_replaceable(target)
    width, height = size_of(photo, pipe.processor.max_pixels)
    pipe.check_fits(settings.max_memory, width * height, deblurs=sharp is None)
    on_step("load", 0, 1)
    answers = answer_photos(pipe, [load_photo(pipe, photo, sharp)], settings, on_step)
    return write_answer(pipe, answers[0], target, settings, on_step)


def load_photo(pipe: BlurToVideoPipeline, photo: Path | EncodedPhoto, sharp: Path | None = None) -> LoadedPhoto:
    """Read and decode a photo, and the sharp frame given for it; :class:`BadInputError` says what is wrong."""
    clock = _Clock()
    pixel_values = pipe.processor([photo], return_tensors="pt")["pixel_values"]
    metadata = read_metadata(photo)
    frame = None if sharp is None else load_given_frame(pipe.processor, sharp, photo, pixel_values)
    clock.lap("load")
    name = None if sharp is None else describe(sharp)
    return LoadedPhoto(describe(photo), pixel_values, clock.seconds, metadata, frame, name)


def answer_photos(
    pipe: BlurToVideoPipeline,
    photos: Sequence[LoadedPhoto],
    settings: ExtractionSettings,
    on_step: OnStep,
    estimators_agree: bool | None = None,
) -> list[ExtractedPhoto]:
    """Run the networks on photos of one size, together; all of them or none have a given sharp frame.

    Args:
        estimators_agree: the pipeline's, for whoever asks often.
    """
    clock = _Clock(share=len(photos))
    pixel_values = _joined([photo.pixel_values for photo in photos])
    given = [photo.sharp for photo in photos if photo.sharp is not None]
    answer = pipe.answer(
        pixel_values.to(pipe._execution_device),
        _joined(given).to(pipe._execution_device) if given else None,
        share_offsets=estimators_agree,
        refine_steps=settings.refine_steps,
        safe=settings.safe,
        camera=settings.camera,
        max_memory=settings.max_memory,
        dtype=settings.dtype,
        on_step=on_step,
        part=clock.part,
    )
    return [
        ExtractedPhoto(replace(photo, sharp=None, seconds=photo.seconds | clock.seconds), answer.photo(index))
        for index, photo in enumerate(photos)
    ]


def _joined(maps: Sequence[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else torch.cat(list(maps))


def write_answer(
    pipe: BlurToVideoPipeline,
    extracted: ExtractedPhoto,
    target: Path,
    settings: ExtractionSettings,
    on_step: OnStep,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write one photo's result folder; see :func:`extract_photo`. ``more`` goes into the report."""
    clock, photo = _Clock(), extracted.photo
    sharp, control_points = extracted.answer.sharp, extracted.answer.control_points
    assert sharp is not None
    (consistency,) = extracted.answer.consistency
    with whole_folder(target) as folder:
        metadata = photo.metadata.options(settings.keep_location)
        uncertainty = extracted.answer.uncertainty
        _write_pictures(pipe, photo.pixel_values, sharp, control_points, uncertainty, folder, metadata)
        camera: dict[str, Any] = {"mode": settings.camera}
        for fit in extracted.answer.cameras:
            focal_length = photo.metadata.focal_length_35mm
            camera |= fit.report(focal_length, settings.camera)
            save_picture(draw_camera(fit, focal_length, settings.camera), folder / "camera.png")
        motion = SavedMotion(control_points, pipe.trajectory, pipe.num_samples, uncertainty)
        save_motion(folder / "motion_offsets.npz", motion, settings.times)
        clock.lap("pictures")
        _write_clip(pipe, sharp, control_points, folder, settings, metadata, on_step)
        clock.lap("clip")
        height, width = sharp.shape[-2:]
        report = {
            "made_by": "motion-offsets",
            "photo": photo.name,
            **({} if photo.sharp_name is None else {"sharp": photo.sharp_name}),
            "width": width,
            "height": height,
            "num_frames": len(settings.times),
            "timestamps": list(settings.times),
            "fps": settings.fps,
            "trajectory": pipe.trajectory,
            "num_samples": pipe.num_samples,
            "consistency": dict(consistency),
            "camera": camera,
            "refine_steps": settings.refine_steps,
            "safe": settings.safe,
            "models": settings.models or {},
            "device": str(sharp.device),
            "dtype": str(settings.dtype or torch.float32).removeprefix("torch."),
            "seconds": photo.seconds | clock.seconds,
            "versions": versions(("torch", "transformers", "diffusers", "numba")),
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

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        self._start = time.perf_counter()
        yield
        self.lap(name.replace(" ", "_"))

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round((now - self._start) / self._share, 3)
        self._start = now


def _write_pictures(
    pipe: BlurToVideoPipeline,
    pixel_values: Tensor,
    sharp: Tensor,
    control_points: Tensor,
    uncertainty: Tensor | None,
    folder: Path,
    metadata: dict[str, Any],
) -> None:
    save_picture(pipe.post_process(sharp)[0], folder / "sharp.png", **metadata)
    drawn = trajectories_picture(pipe, pixel_values, control_points, uncertainty)
    save_picture(drawn, folder / "trajectories.png", **metadata)
    ends = trajectory_basis(pipe.trajectory, [-1.0, 1.0], pipe.num_samples).to(control_points)
    # The content moves against the offsets at which it is read.
    motion = weigh(ends[:1] - ends[1:], split_control_points(control_points))[0, 0]
    save_picture(draw_flow(motion), folder / "flow.png", **metadata)


def trajectories_picture(
    pipe: BlurToVideoPipeline, pixel_values: Tensor, control_points: Tensor, uncertainty: Tensor | None = None
) -> Image.Image:
    """The photo ``(1, 3, H, W)`` with the trajectories drawn over it, fading where they are uncertain; at most 2048
    pixels wide or high."""
    height, width = pixel_values.shape[-2:]
    scale = min(1.0, MAX_DRAWN_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixel_values = torch.nn.functional.interpolate(pixel_values, size=size, mode="area")
    # The drawing looks up a value for each cell of a coarse grid.
    grid = control_points[:, :, ::DRAWN_STRIDE, ::DRAWN_STRIDE] * scale
    offsets = offsets_at(grid, sample_times(pipe.num_samples), pipe.trajectory)[0]
    # As the eye sees it: the streak that each point of the scene left, in the direction in which the clip runs.
    spread = None if uncertainty is None else uncertainty[0, 0, ::DRAWN_STRIDE, ::DRAWN_STRIDE] * scale
    return draw_trajectories(pipe.post_process(pixel_values)[0], offsets, uncertainty=spread, mirror=True)


def _write_clip(
    pipe: BlurToVideoPipeline,
    sharp: Tensor,
    control_points: Tensor,
    folder: Path,
    settings: ExtractionSettings,
    metadata: dict[str, Any],
    on_step: OnStep,
) -> None:
    frames = folder / "frames"
    frames.mkdir()

    def saved() -> Iterator[Image.Image]:
        """Each frame on its way into the video, saved as it passes."""
        for number, moment in enumerate(settings.times, start=1):
            picture = pipe.post_process(pipe.frame_at(sharp, control_points, moment))[0]
            save_picture(picture, frames / f"{number:04d}.png", **metadata)
            yield picture
            on_step("clip", number, len(settings.times))

    write_video(saved(), folder / "video.mp4", settings.fps)
    for suffix in settings.animations:
        write_animation(_opened(sorted(frames.iterdir())), folder / f"video{suffix}", settings.fps)


def _opened(paths: Sequence[Path]) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as picture:
            yield picture.copy()

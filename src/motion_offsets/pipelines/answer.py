"""One answer, whoever asks: motion, sharp frame, and what both make of the photo."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import BadInputError
from ..exposure.blind_refinement import FITS, working_scale
from ..exposure.camera import CameraFit, follow_camera
from ..exposure.camera_fit import fit_camera
from ..exposure.camera_modes import OFF, check_camera_mode
from ..exposure.consistency import Consistency
from ..exposure.refine_steps import check_refine_steps
from ..exposure.trajectories import align_time
from ..models.configuration_etraj import MIN_SIDE
from ..runtime.memory import DEFAULT_MAX_MEMORY

if TYPE_CHECKING:
    from .blur_to_video import BlurToVideoPipeline

OnStep = Callable[[str, int, int], None]
Part = Callable[[str], AbstractContextManager[Any]]

# Where the sharp frame comes from: the deblurrer, a deconvolution along the motion, or nowhere.
NETWORK, DECONVOLUTION, NO_DEBLURRER = "network", "map", "none"
METHODS = (NETWORK, DECONVOLUTION, NO_DEBLURRER)
MOTION, SHARP_FRAME, REFINEMENT, CONSISTENCY = STEPS = ("motion", "sharp frame", "refinement", "consistency")


@dataclass(frozen=True)
class Answer:
    """What a pipeline finds in photos of one size; all maps are on its device.

    Args:
        pixel_values: the photos, ``(B, 3, H, W)`` in [0, 1].
        control_points: ``(B, 2K, H, W)``, pixels; within a photo all regions run in one direction of time.
        sharp: the sharp frames, t = 0, ``(B, 3, H, W)`` in [0, 1]; ``None`` if none was asked for.
        consistency: one :class:`~motion_offsets.exposure.consistency.Consistency` per photo; empty without sharp
            frames.
        reblurred: ``(B, 3, H, W)``, what sharp frames and motion make of the exposure; ``None`` unless kept.
        uncertainty: ``(B, 1, H, W)``, pixels, how far the ends of the paths are expected to be off, before any
            refinement; ``None`` if the estimator does not predict it or the motion was given.
        cameras: the camera's motion in each photo; empty if the camera mode is ``"off"`` or the motion was given.
    """

    pixel_values: Tensor
    control_points: Tensor
    sharp: Tensor | None = None
    consistency: tuple[Consistency, ...] = ()
    reblurred: Tensor | None = None
    uncertainty: Tensor | None = None
    cameras: tuple[CameraFit, ...] = ()

    def photo(self, index: int) -> Answer:
        """The answer to one of the photos."""
        one = slice(index, index + 1)
        return Answer(
            self.pixel_values[one],
            self.control_points[one],
            None if self.sharp is None else self.sharp[one],
            self.consistency[one],
            None if self.reblurred is None else self.reblurred[one],
            None if self.uncertainty is None else self.uncertainty[one],
            self.cameras[one],
        )


def answer(
    pipe: BlurToVideoPipeline,
    pixel_values: Tensor,
    sharp: Tensor | None = None,
    *,
    control_points: Tensor | None = None,
    method: str = NETWORK,
    share_offsets: bool | None = None,
    refine_steps: int = 0,
    safe: bool = False,
    camera: str | None = None,
    keep_reblurred: bool = False,
    max_memory: float = DEFAULT_MAX_MEMORY,
    dtype: torch.dtype | None = None,
    on_step: OnStep | None = None,
    part: Part | None = None,
) -> Answer:
    """See :meth:`BlurToVideoPipeline.answer`."""
    if method not in METHODS:
        raise BadInputError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    check_refine_steps(refine_steps)
    camera = check_camera_mode(pipe.camera if camera is None else camera)
    if sharp is not None and sharp.shape != pixel_values.shape:
        raise BadInputError(
            f"sharp has shape {tuple(sharp.shape)} and pixel_values {tuple(pixel_values.shape)}; both must be the same"
        )
    _check_control_points(pipe, pixel_values, control_points)
    on_step, part = on_step or _silent, part or nullcontext
    given_motion = control_points is not None
    if control_points is None:
        on_step(MOTION, 0, 1)
        with part(MOTION):
            estimate, uncertainty = pipe.estimate_motion(pixel_values, max_memory, dtype, partial(on_step, MOTION))
            points, cameras = with_camera(pixel_values, estimate, uncertainty, pipe.trajectory, camera)
    else:
        points, estimate, uncertainty, cameras = control_points, control_points, None, ()
        share_offsets = True
    sharpen = None
    if sharp is None and method != NO_DEBLURRER:
        on_step(SHARP_FRAME, 0, 1)
        with part(SHARP_FRAME):
            on_tile = partial(on_step, SHARP_FRAME)
            if method == DECONVOLUTION:
                sharp = pipe.deconvolve(pixel_values, points, max_memory, on_tile)
            else:
                share = pipe.estimators_agree if share_offsets is None else share_offsets
                given = motion_for_deblurrer(pipe, points, estimate, share)
                sharp = pipe.deblur(pixel_values, given, max_memory, dtype, on_tile)
        sharpen = _along_motion(pipe, method, max_memory, dtype)
    del estimate
    if sharp is None:
        return Answer(pixel_values, align_time(points, pipe.trajectory), uncertainty=uncertainty, cameras=cameras)
    if refine_steps:
        with part(REFINEMENT):

            def estimate_reduced(photo: Tensor) -> Tensor:
                return found_motion(pipe, photo, camera, max_memory, dtype)[0]

            again = None if given_motion else estimate_reduced
            points, sharp = _refined(pipe, pixel_values, sharp, points, refine_steps, sharpen, again, on_step)
    on_step(CONSISTENCY, 0, 1)
    with part(CONSISTENCY):
        aligned = align_time(points, pipe.trajectory)
        found = Answer(pixel_values, aligned, sharp, uncertainty=uncertainty, cameras=cameras)
        del points, sharp
        checked = [_checked(pipe, found.photo(index), safe, keep_reblurred) for index in range(len(pixel_values))]
        if safe:
            found = replace(found, sharp=torch.cat([one.sharp for one in checked if one.sharp is not None]))
        found = replace(found, consistency=tuple(one.consistency[0] for one in checked))
        if keep_reblurred:
            kept = [one.reblurred for one in checked if one.reblurred is not None]
            found = replace(found, reblurred=kept[0] if len(kept) == 1 else torch.cat(kept))
    return found


def _along_motion(
    pipe: BlurToVideoPipeline, method: str, max_memory: float, dtype: torch.dtype | None
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What makes the frames of photos along given motion; ``None`` for a deblurrer that does not look at it."""
    if method == DECONVOLUTION:
        return lambda photos, points: pipe.deconvolve(photos, points, max_memory)
    if pipe.deblurrer is None or not pipe.deblurrer.uses_motion:
        return None
    return lambda photos, points: pipe.deblur(photos, points, max_memory, dtype)


def _refined(
    pipe: BlurToVideoPipeline,
    pixel_values: Tensor,
    sharp: Tensor,
    points: Tensor,
    steps: int,
    sharpen: Callable[[Tensor, Tensor], Tensor] | None,
    estimate: Callable[[Tensor], Tensor] | None,
    on_step: OnStep,
) -> tuple[Tensor, Tensor]:
    """Motion and sharp frames, fitted to the photos; the frames only if ``sharpen`` makes them along given motion.

    One by one: together, all photos would be exposed with the samples of the longest path among them.
    """
    each = steps * (1 if sharpen is None else FITS)
    total, done = each * len(pixel_values), 0
    on_step(REFINEMENT, 0, total)

    def reached(step: int) -> None:
        nonlocal done
        done = step
        on_step(REFINEMENT, done, total)

    def stepped() -> None:
        reached(done + 1)

    motions, frames = [], []
    photos = zip(pixel_values.split(1), sharp.split(1), points.split(1), strict=True)
    for number, (photo, frame, motion) in enumerate(photos, 1):
        if sharpen is None:
            motions.append(pipe.refine(photo, frame, motion, steps, stepped))
            frames.append(frame)
        else:
            reduced_side = min(photo.shape[2:]) * working_scale(*photo.shape[2:])
            found = pipe.refine_blindly(
                photo, frame, motion, steps, stepped, estimate if reduced_side >= MIN_SIDE else None
            )
            motions.append(found.control_points)
            frames.append(frame if found.of_frame is motion else sharpen(photo, found.of_frame))
        if done < number * each:  # a photo that is left as it is takes no step
            reached(number * each)
    return (motions[0], frames[0]) if len(motions) == 1 else (torch.cat(motions), torch.cat(frames))


def _check_control_points(pipe: BlurToVideoPipeline, pixel_values: Tensor, control_points: Tensor | None) -> None:
    batch, _, height, width = pixel_values.shape
    wanted = (batch, 2 * pipe.estimator.config.num_control_points, height, width)
    if control_points is not None and tuple(control_points.shape) != wanted:
        raise BadInputError(
            f"control_points have shape {tuple(control_points.shape)}; for these photos and a {pipe.trajectory} "
            f"trajectory it must be {wanted}"
        )


def sharp_frames(
    pipe: BlurToVideoPipeline,
    pixel_values: Tensor,
    *,
    method: str = NETWORK,
    refine_steps: int = 0,
    camera: str | None = None,
    max_memory: float = DEFAULT_MAX_MEMORY,
    dtype: torch.dtype | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """The sharp frames ``(B, 3, H, W)`` of :func:`answer` alone: the motion is found and fitted only where they need
    it."""
    if method not in (NETWORK, DECONVOLUTION):
        raise BadInputError(f"method is {method!r}; sharp frames are made by {NETWORK} or {DECONVOLUTION}")
    if check_refine_steps(refine_steps) and _along_motion(pipe, method, max_memory, dtype) is not None:
        options: dict[str, Any] = {"camera": camera, "max_memory": max_memory, "dtype": dtype, "on_step": on_step}
        refined = answer(pipe, pixel_values, method=method, refine_steps=refine_steps, **options).sharp
        assert refined is not None  # neither method leaves it out
        return refined
    on_step = on_step or _silent
    on_tile, deblurrer = partial(on_step, SHARP_FRAME), pipe.deblurrer
    if method == DECONVOLUTION:
        points = found_motion(pipe, pixel_values, camera, max_memory, dtype, on_step)[0]
        on_step(SHARP_FRAME, 0, 1)
        return pipe.deconvolve(pixel_values, points, max_memory, on_tile)
    given = None
    if deblurrer is not None and deblurrer.uses_motion and deblurrer.own_estimator is None:
        given = found_motion(pipe, pixel_values, camera, max_memory, dtype, on_step)[0]
    on_step(SHARP_FRAME, 0, 1)
    return pipe.deblur(pixel_values, given, max_memory, dtype, on_tile)


def found_motion(
    pipe: BlurToVideoPipeline,
    pixel_values: Tensor,
    camera: str | None = None,
    max_memory: float = DEFAULT_MAX_MEMORY,
    dtype: torch.dtype | None = None,
    on_step: OnStep | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Control points once the camera's motion is fitted to them, and their uncertainty if it is known."""
    mode = check_camera_mode(pipe.camera if camera is None else camera)
    on_step = on_step or _silent
    on_step(MOTION, 0, 1)
    points, uncertainty = pipe.estimate_motion(pixel_values, max_memory, dtype, partial(on_step, MOTION))
    return with_camera(pixel_values, points, uncertainty, pipe.trajectory, mode)[0], uncertainty


def with_camera(
    pixel_values: Tensor, control_points: Tensor, uncertainty: Tensor | None, trajectory: str, mode: str
) -> tuple[Tensor, tuple[CameraFit, ...]]:
    """The paths of B photos once the camera's motion is fitted to them, and that motion in each photo.

    Args:
        pixel_values: ``(B, 3, H, W)`` in [0, 1].
        control_points: ``(B, 2K, H, W)``, pixels.
        uncertainty: ``(B, 1, H, W)``, pixels, if it is known.
        trajectory: of the control points.
        mode: one of :data:`~motion_offsets.exposure.camera_modes.CAMERA_MODES`; ``"off"`` fits nothing.
    """
    if mode == OFF or not len(control_points):
        return control_points, ()
    unsure: Any = [None] * len(control_points) if uncertainty is None else uncertainty.split(1)
    each = list(zip(control_points.split(1), pixel_values.split(1), unsure, strict=True))
    fits = tuple(fit_camera(points, photo, trajectory, spread) for points, photo, spread in each)
    followed = [follow_camera(points, fit, mode) for (points, *_), fit in zip(each, fits, strict=True)]
    return followed[0] if len(followed) == 1 else torch.cat(followed), fits


def motion_for_deblurrer(pipe: BlurToVideoPipeline, points: Tensor, estimate: Tensor, share: bool) -> Tensor | None:
    """The control points that a deblurrer is given: one that carries an estimator was trained with its estimates as
    they are, and gets them, or ``None`` where it finds the motion itself; one without gets the motion found."""
    if pipe.deblurrer is not None and pipe.deblurrer.own_estimator is None:
        return points
    return estimate if share else None


def _checked(pipe: BlurToVideoPipeline, one: Answer, safe: bool, keep_reblurred: bool) -> Answer:
    """The answer to one photo, compared with it; one by one, as maps of all photos would need too much memory."""
    assert one.sharp is not None
    sharp, points = one.sharp, one.control_points
    reblurred = pipe.reblur(sharp, points)
    if safe:
        sharp = pipe.blend_back(one.pixel_values, sharp, reblurred)
        reblurred = pipe.reblur(sharp, points)
    consistency = pipe.assess(one.pixel_values, sharp, reblurred, points)
    return replace(one, sharp=sharp, consistency=(consistency,), reblurred=reblurred if keep_reblurred else None)


def _silent(step: str, done: int, total: int) -> None:
    """Nobody listens."""

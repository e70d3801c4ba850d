"""The commands that make one picture per photo: ``deblur``, ``trajectories`` and ``reblur``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInputError
from ..exposure.camera_modes import AUTO, check_camera_mode
from ..exposure.refine_steps import REFINE_STEPS
from ..io.atomic import check_output_folder
from ..io.path_names import as_path
from ..io.photo_files import find_photos
from ..models.hub import DEFAULT_ESTIMATOR
from ..runtime.memory import parse_memory
from .arguments import check_not_photos, check_refine, picture_targets, prepare
from .options import Camera, Deblurrer, Debug, Device, Dtype, Location, MaxMemory, Model, Output, Photos, Refine
from .progress import Progress
from .reporting import for_each, say, tell_passed_over

OnStep = Callable[[str, int, int], None]

if TYPE_CHECKING:
    import torch

    from ..pipelines.blur_to_video import BlurToVideoPipeline


def deblur(
    photos: Photos,
    output: Output,
    model: Model = DEFAULT_ESTIMATOR,
    deblurrer: Deblurrer = None,
    method: Annotated[
        str, typer.Option(help="network, or map for deconvolution along the estimated motion, without a network.")
    ] = "network",
    refine: Refine = REFINE_STEPS,
    camera: Camera = AUTO,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    location: Location = True,
    debug: Debug = False,
) -> None:
    """Deblur each photo; write to OUT if it names a picture, otherwise to OUT/<photo>.png."""
    if method not in ("network", "map"):
        raise BadInputError(f"--method is {method!r}; give network or map")
    check_camera_mode(camera)
    check_refine(refine)

    def sharp(
        pipe: BlurToVideoPipeline, photo: Path, memory: float, autocast: torch.dtype | None, on_step: OnStep
    ) -> Any:
        from ..pipelines.answer import sharp_frames

        pixel_values = pipe.preprocess(str(photo))
        options: dict[str, Any] = {"camera": camera, "max_memory": memory, "dtype": autocast, "on_step": on_step}
        found = sharp_frames(pipe, pixel_values, method=method, refine_steps=refine, **options)
        return pipe.post_process(found)[0]

    _make_pictures(
        sharp,
        photos,
        output,
        max_memory,
        location,
        debug,
        model,
        deblurrer,
        device,
        dtype,
        deblurs=method == "network",
    )


def trajectories(
    photos: Photos,
    output: Output,
    model: Model = DEFAULT_ESTIMATOR,
    camera: Camera = AUTO,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    location: Location = True,
    debug: Debug = False,
) -> None:
    """Draw the motion over each photo; write to OUT if it names a picture, otherwise to OUT/<photo>.png."""
    check_camera_mode(camera)

    def drawn(
        pipe: BlurToVideoPipeline, photo: Path, memory: float, autocast: torch.dtype | None, on_step: OnStep
    ) -> Any:
        from ..exposure.trajectories import align_time
        from ..extraction.result import trajectories_picture
        from ..pipelines.answer import found_motion

        pixel_values = pipe.preprocess(str(photo))
        control_points, uncertainty = found_motion(pipe, pixel_values, camera, memory, autocast, on_step)
        on_step("drawing", 0, 1)
        aligned = align_time(control_points, pipe.trajectory)
        return trajectories_picture(pipe, pixel_values, aligned, uncertainty)

    _make_pictures(drawn, photos, output, max_memory, location, debug, model, None, device, dtype, deblurs=False)


def _make_pictures(
    make: Callable[[BlurToVideoPipeline, Path, float, torch.dtype | None, OnStep], Any],
    photos: list[str],
    output: str,
    max_memory: str,
    location: bool,
    debug: bool,
    model: str,
    deblurrer: str | None,
    device: str,
    dtype: str,
    deblurs: bool = True,
) -> None:
    """Make and save one picture per photo."""
    memory, found, out = parse_memory(max_memory), find_photos(photos), as_path(output)
    tell_passed_over(photos)
    targets = picture_targets(found, out)
    check_not_photos(targets, found)
    check_output_folder(targets[0].parent)
    with Progress(len(found) == 1, len(found), shown=True) as progress:
        progress.step(str(found[0]), "loading the models", 0, 1)
        pipe, autocast = prepare(model, deblurrer, device, dtype, deblurs)

        def work(index: int, photo: Path) -> None:
            picture = make(pipe, photo, memory, autocast, partial(progress.step, str(photo)))
            _save_whole(picture, targets[index], photo, location)
            with progress.said():
                say(f"{photo} -> {targets[index]}")

        for_each(found, work, debug, progress.said)


def _save_whole(picture: Any, target: Path, photo: Path, location: bool) -> None:
    """Save a picture made from a photo, with what the photo tells of its date, camera and, if so wished, place."""
    from ..io.atomic import whole_file
    from ..io.photo_metadata import read_metadata
    from ..io.picture_saving import save_picture

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{target}: cannot be written ({error.strerror}); give another output") from error
    with whole_file(target) as partial:
        save_picture(picture, partial, **read_metadata(photo).options(location))


def reblur(
    sharp: Annotated[str, typer.Argument(metavar="SHARP", help="A sharp photo.")],
    offsets: Annotated[str, typer.Option(help="Saved motion of the same size: motion_offsets.npz or .safetensors.")],
    output: Output,
    location: Location = True,
    gamma: Annotated[
        float | None,
        typer.Option(help="Average in linear light with this gamma, such as 2.2; by default, average encoded values."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Blur a sharp photo along saved motion."""
    from ..exposure.blur import expose
    from ..exposure.trajectories import sample_times, trajectory_basis
    from ..io.motion_files import read_motion
    from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor

    target = picture_targets([Path(sharp)], as_path(output))[0]
    check_not_photos([target], [Path(sharp)])
    check_output_folder(target.parent)
    processor = MotionOffsetsImageProcessor()
    pixel_values = processor([sharp])["pixel_values"]
    motion = read_motion(as_path(offsets))
    height, width = motion.control_points.shape[-2:]
    if pixel_values.shape[-2:] != (height, width):
        raise BadInputError(
            f"{sharp}: is {pixel_values.shape[3]}x{pixel_values.shape[2]}, and {offsets} is for {width}x{height}; "
            "give a photo of the same size"
        )
    basis = trajectory_basis(motion.trajectory, sample_times(motion.num_samples), motion.num_samples)
    with Progress(True, 1, shown=True) as progress:
        progress.step(sharp, "blurring", 0, 1)
        blurred = expose(pixel_values, motion.control_points, basis, gamma=gamma)
        progress.step(sharp, "saving", 0, 1)
        _save_whole(processor.post_process(blurred)[0], target, Path(sharp), location)
    say(f"{sharp} -> {target}")

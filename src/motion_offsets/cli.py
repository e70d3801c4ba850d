"""The command ``motion-offsets``. Bad input ends in one line and exit code 2, a fault of ours in exit code 1."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import __version__
from .allocation import keep_freed_memory
from .cli_arguments import (
    check_not_photos,
    check_output_folder,
    find_photos,
    load_pipeline,
    parse_memory,
    pick_device,
    pick_dtype,
    picture_targets,
)
from .cli_arguments import quiet as _quiet
from .cli_evaluate import evaluate
from .cli_hub import convert, export, publish
from .cli_synthesize import register as register_synthesize
from .errors import BadInputError
from .hub import DEFAULT_ESTIMATOR

if TYPE_CHECKING:
    import torch

    from .pipeline_blur_to_video import BlurToVideoPipeline

BAD_INPUT, OUR_FAULT = 2, 1
MAX_FRAMES = 9999  # the frames' names have four digits

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From one motion-blurred photo to its motion, a sharp frame and a slow-motion clip.",
)

Photos = Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders of photos, or patterns.")]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO...",
        help="Photos, folders, patterns; Parquet, Arrow or WebDataset (.tar) files; hub:org/name for a data set.",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Where the results go.")]
Model = Annotated[str, typer.Option(help="Estimator or pipeline: bundled name, folder, or org/name on the Hub.")]
Deblurrer = Annotated[str | None, typer.Option(help="Deblurrer, named likewise; by default the bundled one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
MaxMemory = Annotated[str, typer.Option(help="Memory for one photo; a larger photo is processed in tiles.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]

Command = TypeVar("Command", bound=Callable[..., None])


def _reporting(command: Command) -> Command:
    """Turn what a command raises into one line and an exit code; ``--debug`` lets it through."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            if isinstance(error, typer.Exit) or kwargs.get("debug"):
                raise
            raise typer.Exit(_report(error)) from None

    return reporting  # type: ignore[return-value]


def _report(error: Exception, subject: str = "") -> int:
    """Say in one line on standard error what went wrong; return the exit code it deserves."""
    message = " ".join(str(error).split())
    named = f"{subject}: " if subject and subject not in message else ""
    if isinstance(error, BadInputError):
        typer.echo(f"error: {named}{message}", err=True)
        return BAD_INPUT
    fault = f"{type(error).__name__}: {message[:200]}"
    typer.echo(f"error: {named}a fault of this program, which --debug locates ({fault})", err=True)
    return OUR_FAULT


def _for_each(photos: list[Path], work: Callable[[int, Path], None], debug: bool) -> None:
    """Do the work for each photo; one that fails is reported, the others go on, and the exit code tells."""
    codes = set()
    for index, photo in enumerate(photos):
        try:
            work(index, photo)
        except Exception as error:
            if debug and not isinstance(error, BadInputError):
                raise
            codes.add(_report(error, str(photo)))
    if codes:
        raise typer.Exit(min(codes))


def _prepare(
    model: str, deblurrer: str | None, device: str, dtype: str, deblurs: bool = True
) -> tuple[BlurToVideoPipeline, torch.dtype | None]:
    """The pipeline on its device, and the autocast type."""
    chosen = pick_device(device)
    autocast = pick_dtype(dtype, chosen)
    _quiet()
    return load_pipeline(model, deblurrer, deblurs).to(chosen), autocast


@app.callback(invoke_without_command=True)
def _common(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"motion-offsets {__version__}")
        raise typer.Exit


@app.command()
@_reporting
def extract(
    photos: Sources,
    output: Output,
    frames: Annotated[int, typer.Option(help="Number of frames of the clip, at least 2.")] = 15,
    fps: Annotated[float, typer.Option(help="Frames a second of the clip.")] = 15,
    gif: Annotated[bool, typer.Option("--gif", help="Write the clip as GIF, too.")] = False,
    webp: Annotated[bool, typer.Option("--webp", help="Write the clip as WebP, too.")] = False,
    model: Model = DEFAULT_ESTIMATOR,
    deblurrer: Deblurrer = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    refine: Annotated[int, typer.Option(metavar="STEPS", help="Fit the motion to the photo itself; 20 does.")] = 0,
    safe: Annotated[bool, typer.Option("--safe", help="Take back what the motion does not explain.")] = False,
    split: Annotated[str | None, typer.Option(help="Of a data set; by default train.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a data set: the column of the photos.")] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--redo",
            help="Leave photos alone that have this result; default: if several.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Photos of one size at once; by default 1 on a CPU, up to 8 on a GPU.")
    ] = None,
    num_shards: Annotated[int, typer.Option(help="Into how many parts the photos are divided, say among jobs.")] = 1,
    shard_index: Annotated[int, typer.Option(help="The part to do, from 0.")] = 0,
    debug: Debug = False,
) -> None:
    """Extract motion, sharp frame and clip of each photo into a folder of its own, OUT/<photo>/.

    A run that was stopped goes on where it was when it is started again.
    """
    from .cli_extract import extract_sources
    from .extraction import ExtractionSettings
    from .photo_sources import Share, find_sources
    from .pipeline_blur_to_video import frame_times
    from .processes import joined_processes
    from .video import MAX_FPS, MIN_FPS

    if not 2 <= frames <= MAX_FRAMES:
        raise BadInputError(f"--frames is {frames}; give a number of frames from 2 to {MAX_FRAMES}")
    times, memory = frame_times(frames), parse_memory(max_memory)
    if not MIN_FPS <= fps <= MAX_FPS:
        raise BadInputError(f"--fps is {fps:g}; give a number of frames a second from {MIN_FPS} to {MAX_FPS}")
    if refine < 0:
        raise BadInputError(f"--refine is {refine}; give a number of steps such as 20, or 0 for none")
    part = Share(shard_index, num_shards)
    sources, out = find_sources(photos, split, column), Path(output).expanduser()
    check_output_folder(out)
    with joined_processes() as process:
        pipe, autocast = _prepare(model, deblurrer, process.device(device), dtype)
        settings = ExtractionSettings(
            times=times,
            fps=fps,
            animations=(".gif",) * gif + (".webp",) * webp,
            max_memory=memory,
            refine_steps=refine,
            safe=safe,
            dtype=autocast,
            models={"model": model, "deblurrer": deblurrer or "default"},
        )
        codes = extract_sources(
            pipe,
            sources,
            out,
            settings,
            share=part.divided(process.index, process.count),
            resume=resume,
            batch_size=batch_size,
            debug=debug,
            report_error=_report,
        )
        codes = process.worst(codes)
    if codes:
        raise typer.Exit(min(codes))


@app.command()
@_reporting
def deblur(
    photos: Photos,
    output: Output,
    model: Model = DEFAULT_ESTIMATOR,
    deblurrer: Deblurrer = None,
    method: Annotated[
        str, typer.Option(help="network, or map: deconvolution along the estimated motion, without a network.")
    ] = "network",
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    debug: Debug = False,
) -> None:
    """Make the sharp frame of each photo: OUT if it is a picture's name, else OUT/<photo>.png."""
    if method not in ("network", "map"):
        raise BadInputError(f"--method is {method!r}; give network or map")

    def sharp(pipe: BlurToVideoPipeline, photo: Path, memory: float, autocast: torch.dtype | None) -> Any:
        pixel_values = pipe.preprocess(str(photo))
        if method == "network":
            return pipe.post_process(pipe.deblur(pixel_values, None, memory, autocast))[0]
        motion = pipe.estimate(pixel_values, memory, autocast)
        return pipe.post_process(pipe.deconvolve(pixel_values, motion, memory))[0]

    _make_pictures(
        sharp, photos, output, max_memory, debug, model, deblurrer, device, dtype, deblurs=method == "network"
    )


@app.command()
@_reporting
def trajectories(
    photos: Photos,
    output: Output,
    model: Model = DEFAULT_ESTIMATOR,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    debug: Debug = False,
) -> None:
    """Draw the motion over each photo: OUT if it is a picture's name, else OUT/<photo>.png."""

    def drawn(pipe: BlurToVideoPipeline, photo: Path, memory: float, autocast: torch.dtype | None) -> Any:
        from .extraction import trajectories_picture
        from .trajectories import align_time

        pixel_values = pipe.preprocess(str(photo))
        control_points = align_time(pipe.estimate(pixel_values, memory, autocast), pipe.trajectory)
        return trajectories_picture(pipe, pixel_values, control_points)

    _make_pictures(drawn, photos, output, max_memory, debug, model, None, device, dtype, deblurs=False)


def _make_pictures(
    make: Callable[[BlurToVideoPipeline, Path, float, torch.dtype | None], Any],
    photos: list[str],
    output: str,
    max_memory: str,
    debug: bool,
    model: str,
    deblurrer: str | None,
    device: str,
    dtype: str,
    deblurs: bool = True,
) -> None:
    """Make and save one picture a photo."""
    memory, found, out = parse_memory(max_memory), find_photos(photos), Path(output).expanduser()
    targets = picture_targets(found, out)
    check_not_photos(targets, found)
    check_output_folder(targets[0].parent)
    pipe, autocast = _prepare(model, deblurrer, device, dtype, deblurs)

    def work(index: int, photo: Path) -> None:
        _save_whole(make(pipe, photo, memory, autocast), targets[index])
        typer.echo(f"{photo} -> {targets[index]}")

    _for_each(found, work, debug)


def _save_whole(picture: Any, target: Path) -> None:
    from .extraction import save_picture
    from .video import whole_file

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{target}: cannot be written ({error.strerror}); give another output") from error
    with whole_file(target) as partial:
        save_picture(picture, partial)


@app.command()
@_reporting
def reblur(
    sharp: Annotated[str, typer.Argument(metavar="SHARP", help="A sharp photo.")],
    offsets: Annotated[str, typer.Option(help="motion_offsets.npz or .safetensors, for this size.")],
    output: Output,
    gamma: Annotated[float | None, typer.Option(help="Average in linear light, 2.2 say; by default encoded.")] = None,
    debug: Debug = False,
) -> None:
    """Blur a sharp photo with motion that was saved: OUT.png is the exposure of the sharp photo along it."""
    from .exposure import expose
    from .image_processing_motion_offsets import MotionOffsetsImageProcessor
    from .motion_files import read_motion
    from .trajectories import sample_times, trajectory_basis

    target = picture_targets([Path(sharp)], Path(output).expanduser())[0]
    check_not_photos([target], [Path(sharp)])
    check_output_folder(target.parent)
    processor = MotionOffsetsImageProcessor()
    pixel_values = processor([sharp])["pixel_values"]
    motion = read_motion(Path(offsets).expanduser())
    height, width = motion.control_points.shape[-2:]
    if pixel_values.shape[-2:] != (height, width):
        raise BadInputError(
            f"{sharp}: is {pixel_values.shape[3]}x{pixel_values.shape[2]}, and {offsets} is for {width}x{height}; "
            "give a photo of the same size"
        )
    basis = trajectory_basis(motion.trajectory, sample_times(motion.num_samples), motion.num_samples)
    blurred = expose(pixel_values, motion.control_points, basis, gamma=gamma)
    _save_whole(processor.post_process(blurred)[0], target)
    typer.echo(f"{sharp} -> {target}")


@app.command()
@_reporting
def demo(
    host: Annotated[str, typer.Option(help="Address to serve; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; by default the first free one from 7860.")] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Be an MCP server too, so that assistants can call it.")] = False,
    debug: Debug = False,
) -> None:
    """Serve the web page (needs the extra "demo"; --mcp the extra "mcp")."""
    for module, extra in [("gradio", "demo"), ("mcp", "mcp")][: 2 if mcp else 1]:
        if importlib.util.find_spec(module) is None:
            raise BadInputError(f"the web page needs {module}; install it with pip install 'motion-offsets[{extra}]'")
    _quiet()
    from .demo.server import serve

    try:
        serve(host, port, mcp)
    except OSError as error:  # Gradio's own words when no port is free
        raise BadInputError(f"the page cannot be served at {host}, port {port or 7860}: {error}") from None


register_synthesize(app, _reporting, _report)
for _command in (evaluate, convert, export, publish):
    app.command()(_reporting(_command))


def main() -> None:
    """Entry point of the console script."""
    keep_freed_memory()
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OUR_FAULT)


if __name__ == "__main__":  # for `accelerate launch -m motion_offsets.cli`
    main()

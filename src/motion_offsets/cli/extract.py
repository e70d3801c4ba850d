"""``motion-offsets extract``: its run over one photo or many, and what it says meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInputError, counted
from ..exposure.camera_modes import AUTO, check_camera_mode
from ..exposure.refine_steps import REFINE_STEPS
from ..io.atomic import check_output_folder
from ..io.path_names import as_path
from ..models.hub import DEFAULT_ESTIMATOR
from ..runtime.memory import parse_memory
from .arguments import check_refine, load_libraries, prepare
from .options import Camera, Deblurrer, Debug, Device, Dtype, Location, MaxMemory, Model, Output, Refine, Sources
from .progress import Progress
from .reporting import report, say, tell_passed_over

if TYPE_CHECKING:
    from ..extraction.batch import Outcome
    from ..extraction.given_frames import GivenFrames
    from ..extraction.settings import ExtractionSettings
    from ..extraction.sources import PhotoSources, Share
    from ..pipelines.blur_to_video import BlurToVideoPipeline


_TERMINATED = 128 + signal.SIGTERM


def extract_sources(
    pipe: BlurToVideoPipeline,
    sources: PhotoSources,
    out: Path,
    settings: ExtractionSettings,
    *,
    share: Share,
    resume: bool | None,
    batch_size: int | None,
    debug: bool,
    report_error: Callable[[Exception, str], int],
    given: GivenFrames | None = None,
) -> set[int]:
    """Extract a share of the photos; print a line for each.

    Args:
        resume: leave photos alone whose result is there; by default where there is more than one photo.
        report_error: says what went wrong with what, and returns the exit code it deserves.
        given: sharp frames to use in place of the deblurrer's.

    Returns:
        The exit codes of what went wrong.
    """
    from ..extraction.batch import BatchExtraction
    from ..extraction.manifest import PATTERN, Manifest

    single = len(sources.photos) == 1 and not sources.shards
    codes: set[int] = set()
    with ExitStack() as stack:
        journalled = not single or resume or any(out.glob(PATTERN))
        manifest = stack.enter_context(Manifest(out, share)) if journalled else None
        if manifest is not None and not manifest.locked and share.index == 0:
            say(f"{out}: its file system has no locks; make sure that no other run writes there", err=True)
        end_if_signalled = stack.enter_context(_ended_by_signals())
        progress = stack.enter_context(Progress(single, sources.count(share), shown=share.index == 0))

        def on_step(*step: Any) -> None:
            end_if_signalled()
            progress.step(*step)

        def on_outcome(outcome: Outcome) -> None:
            end_if_signalled()
            with progress.said():
                if outcome.error is not None:
                    codes.add(report_error(outcome.error, outcome.name))
                else:
                    say(f"{outcome.name} -> {outcome.target} ({_summary(outcome.report)})")

        BatchExtraction(
            pipe,
            out,
            settings,
            manifest=manifest,
            resume=not single if resume is None else resume,
            batch_size=batch_size,
            on_step=on_step,
            on_outcome=on_outcome,
            raise_faults=debug,
            given=given,
        ).run(sources.streams(share))
    return codes


def _summary(report: dict[str, Any] | None) -> str:
    if report is None:
        return "already done with the same photo, models and settings; --redo processes it again"
    consistency = report["consistency"]
    text = (
        f"{sum(report['seconds'].values()):.1f} s; reblurs to {consistency['reblur_psnr']:.1f} dB, mean offset "
        f"{consistency['mean_offset_length']:.1f} px, sharpness x{consistency['sharpness_gain']:.2f}"
    )
    camera = report["camera"]
    if "moved" in camera:
        text += f"; the camera explains {camera['explained']:.0%}" if camera["moved"] else "; the camera did not move"
    if consistency["unchanged"]:
        return text + "; the photo looks blurred, yet its sharp frame is not sharper"
    if consistency["doubtful"]:
        text += f"; the motion explains {max(consistency['explained'], 0):.0%} of what was changed"
        return text + ("" if report["safe"] else ", --safe keeps such changes small")
    return text


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], None]]:
    """Let SIGTERM, how a cluster takes a machine back, end the run as Ctrl-C does: with whole folders only.

    What it gives ends the run, too, if a signal came before: an exception that is raised while a library calls Python,
    in a destructor say, may be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # only there may it be caught
        yield lambda: None
        return
    wanted: list[BaseException] = []

    def end(number: int, frame: object) -> None:
        wanted.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(_TERMINATED))
        raise wanted[0]

    def check() -> None:
        if wanted and threading.current_thread() is threading.main_thread():
            raise wanted[0]

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


MAX_FRAMES = 9999  # the frames' names have four digits


def extract(
    photos: Sources,
    output: Output,
    frames: Annotated[int, typer.Option(help="Number of frames of the clip, at least 2.")] = 15,
    fps: Annotated[float, typer.Option(help="Frames per second of the clip.")] = 15,
    gif: Annotated[bool, typer.Option("--gif", help="Also write the clip as GIF.")] = False,
    webp: Annotated[bool, typer.Option("--webp", help="Also write the clip as WebP.")] = False,
    model: Model = DEFAULT_ESTIMATOR,
    deblurrer: Deblurrer = None,
    sharp: Annotated[
        str | None, typer.Option(metavar="FILE", help="Use this sharp frame instead of the deblurrer's.")
    ] = None,
    sharp_folder: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Use sharp frames from this folder, matched to the photos by file name."),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    refine: Refine = REFINE_STEPS,
    camera: Camera = AUTO,
    safe: Annotated[bool, typer.Option("--safe", help="Keep only changes that the motion explains.")] = False,
    split: Annotated[str | None, typer.Option(help="Split of the data set; by default train.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the data set that contains the photos.")] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--redo",
            help="Skip photos that are done, or process them again; by default, skip if there are several photos.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Photos of the same size per batch; by default 1 on a CPU, up to 8 on a GPU.")
    ] = None,
    location: Location = True,
    num_shards: Annotated[int, typer.Option(help="Divide the photos into this number of parts, one per job.")] = 1,
    shard_index: Annotated[int, typer.Option(help="Which part to process, counted from 0.")] = 0,
    debug: Debug = False,
) -> None:
    """Extract the motion, a sharp frame and a clip of each photo into a folder OUT/<photo>/.

    To continue a run that was stopped, run the same command again.
    """
    load_libraries()
    from ..extraction.given_frames import find_given_frames
    from ..extraction.settings import ExtractionSettings
    from ..extraction.sources import Share, find_sources
    from ..io.video import MAX_FPS, MIN_FPS
    from ..pipelines.blur_to_video import frame_times
    from ..runtime.processes import joined_processes
    from .extract import extract_sources

    if not 2 <= frames <= MAX_FRAMES:
        raise BadInputError(f"--frames is {frames}; give a number of frames from 2 to {MAX_FRAMES}")
    times, memory = frame_times(frames), parse_memory(max_memory)
    if not MIN_FPS <= fps <= MAX_FPS:
        raise BadInputError(f"--fps is {fps:g}; give a number of frames per second from {MIN_FPS} to {MAX_FPS}")
    check_camera_mode(camera)
    check_refine(refine)
    if deblurrer is not None and (sharp is not None or sharp_folder is not None):
        option = "--sharp" if sharp is not None else "--sharp-folder"
        raise BadInputError(f"{option} replaces the sharp frame that --deblurrer would make; give one of them")
    part = Share(shard_index, num_shards)
    sources, out = find_sources(photos, split, column), as_path(output)
    given = find_given_frames(sources, sharp, sharp_folder)
    tell_passed_over(photos if sharp_folder is None else [*photos, sharp_folder])
    if sources.count(part) == 0:
        total = counted(len(sources.photos), "photo")
        say(f"part {shard_index} of {num_shards} has nothing to do: the input has only {total}", err=True)
        return
    check_output_folder(out)
    with joined_processes() as process:
        pipe, autocast = prepare(model, deblurrer, process.device(device), dtype, deblurs=given is None)
        settings = ExtractionSettings(
            times=times,
            fps=fps,
            animations=(".gif",) * gif + (".webp",) * webp,
            max_memory=memory,
            refine_steps=refine,
            safe=safe,
            camera=camera,
            dtype=autocast,
            keep_location=location,
            models={"model": model, **({} if given else {"deblurrer": deblurrer or "default"})},
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
            report_error=report,
            given=given,
        )
        codes = process.worst(codes)
    if codes:
        raise typer.Exit(min(codes))

"""The command ``motion-offsets synthesize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ..errors import BadInputError, counted
from ..io.atomic import check_output_folder
from ..io.path_names import as_path
from ..io.photo_files import find_photos, real_path, result_names
from .reporting import report, say

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mts", ".m2ts")

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Videos; with --recipe, sharp photos.")]


def synthesize(
    sources: Sources,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Folder for the pairs.")],
    recipe: Annotated[str | None, typer.Option(help="How to blur sharp photos: motion-flow or dynamic.")] = None,
    objects: Annotated[
        list[str] | None, typer.Option(help="dynamic: folder of pictures to cut objects from; may be repeated.")
    ] = None,
    label_maps: Annotated[
        list[str] | None, typer.Option(help="dynamic: folder of PNG label maps for each --objects, in the same order.")
    ] = None,
    window: Annotated[int, typer.Option(help="Number of frames to average, odd; GoPro uses 7 to 13.")] = 11,
    stride: Annotated[
        int | None, typer.Option(help="Frames from the start of one window to the next; by default --window.")
    ] = None,
    gamma: Annotated[
        str, typer.Option(help="Average in linear light: srgb, or a number such as 2.2; none averages encoded values.")
    ] = "srgb",
    min_fps: Annotated[float, typer.Option(help="Refuse videos with fewer frames per second.")] = 200,
    count: Annotated[int, typer.Option(help="Number of blurred versions per photo.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the random motions.", min=0)] = 0,
    split: Annotated[str, typer.Option(help="Split to write: train, validation or test.")] = "train",
    format: Annotated[str, typer.Option(help="Output format: flat (PNG files) or parquet.")] = "flat",
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Upload the pairs to this data set, as Parquet.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the uploaded data set private.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Make pairs of blurred and sharp pictures from high-frame-rate videos or from sharp photos.

    To continue a run that was stopped, run the same command again.
    """
    from ..data.reading.tree_datasets import import_datasets
    from ..data.synthesis.pair_writers import WriteError
    from ..data.synthesis.settings import SynthesisSettings
    from ..data.synthesis.synthesis import Synthesis

    settings = SynthesisSettings(
        recipe=recipe,
        window=window,
        stride=window if stride is None else stride,
        gamma=parse_gamma(gamma),
        min_fps=min_fps,
        count=count,
        seed=seed,
        split=split,
        format=format,
        objects=objects or [],
        label_maps=label_maps or [],
    )
    found = find_videos(sources) if recipe is None else find_photos(sources)
    out = as_path(output)
    check_output_folder(out)
    if format == "parquet" or push_to_hub is not None:
        import_datasets("Parquet").disable_progress_bars()
    if push_to_hub is not None:
        from ..models.hub_errors import check_login

        check_login(push_to_hub, f"`push_to_hub` {push_to_hub}")
    synthesis, codes = Synthesis(out, settings), set()
    for source, name in zip(found, result_names(found), strict=True):
        try:
            with tqdm(desc=source.name, unit=" pairs", leave=False, disable=None) as bar:
                result = synthesis.add(source, name, bar.update)
        except WriteError:
            raise
        except Exception as error:
            if debug and not isinstance(error, BadInputError):
                raise
            codes.add(report(error, str(source)))
            continue
        say(f"{source}: {counted(result.made, 'pair')} made, {result.kept} kept" + _unused(recipe, result.skipped))
    synthesis.finish()
    say(f"{out}: {counted(len(synthesis), 'pair')}")
    if codes:
        raise typer.Exit(min(codes))
    if push_to_hub is not None:
        from ..data.synthesis.pair_upload import upload_pairs

        typer.echo(upload_pairs(synthesis, push_to_hub, private))


def parse_gamma(text: str) -> float | str | None:
    """``none``, ``srgb`` or a number."""
    if text.lower() in ("none", "srgb"):
        return None if text.lower() == "none" else "srgb"
    try:
        return float(text)
    except ValueError:
        raise BadInputError(
            f"--gamma {text!r} is not a way to average; give srgb, none or a number such as 2.2"
        ) from None


def find_videos(arguments: list[str]) -> list[Path]:
    """The videos that files and folders stand for, in order and each once.

    Raises:
        BadInputError: a folder without a video, or a photo, which needs a recipe.
    """
    from ..io.photo_files import PHOTO_SUFFIXES

    found: dict[Path, Path] = {}
    for argument in arguments:
        path = as_path(argument)
        if path.suffix.lower() in PHOTO_SUFFIXES and path.suffix.lower() != ".gif":
            raise BadInputError(f"{path}: is a photo; give videos, or a --recipe that blurs sharp photos")
        videos = [path]
        if path.is_dir():
            videos = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in VIDEO_SUFFIXES)
            if not videos:
                raise BadInputError(
                    f"{path}: the folder holds no video; give one, or a --recipe that blurs sharp photos"
                )
        for video in videos:
            found.setdefault(real_path(video), video)
    return list(found.values())


def _unused(recipe: str | None, skipped: object) -> str:
    return "" if recipe else f"; skipped: {skipped}"

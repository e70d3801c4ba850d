"""The command ``evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from ..exposure.camera_modes import AUTO
from ..models.hub import DEFAULT_ESTIMATOR
from .arguments import quiet
from .options import Camera


def evaluate(
    benchmark: Annotated[str, typer.Argument(help="bsd-motion-flow, bsd-dynamic, gopro, pairs or unblurred.")],
    images: Annotated[str, typer.Option(help="Folder of sharp photos; for gopro and pairs, the data set.")],
    model: Annotated[
        str, typer.Option(help="Estimator or pipeline: bundled name, folder, or org/name on the Hub.")
    ] = DEFAULT_ESTIMATOR,
    deblurrer: Annotated[
        str | None,
        typer.Option(
            help="Deblurrer: name, folder, or org/name; none for motion only; map for deconvolution along the motion."
        ),
    ] = None,
    label_maps: Annotated[
        str | None, typer.Option(help="bsd-dynamic: folder of PNG label maps of the photos, to cut objects from.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="gopro: average this odd number of consecutive frames (GOPRO_Large_all).")
    ] = None,
    refine_steps: Annotated[
        int,
        typer.Option(help="Fit motion and sharp frame to each photo; number of steps per fit, such as 40."),
    ] = 0,
    safe: Annotated[
        bool, typer.Option("--safe", help="bsd-dynamic, unblurred: keep only changes that the motion explains.")
    ] = False,
    clean: Annotated[bool, typer.Option("--clean", help="bsd-dynamic: without noise and JPEG.")] = False,
    true_motion: Annotated[
        bool, typer.Option("--true-motion", help="bsd-motion-flow, bsd-dynamic: deblur along the true motion.")
    ] = False,
    camera: Camera = AUTO,
    limit: Annotated[int | None, typer.Option(help="Evaluate only this number of photos, from the first.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Also write the result to this JSON file.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table with the paper's figures instead of JSON.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (float32), float32, bfloat16 or float16.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure the models on a benchmark and print the result as JSON."""
    from ..evaluation.run import run, to_json, to_markdown

    quiet()
    result = run(
        benchmark,
        images,
        model=model,
        deblurrer=deblurrer,
        limit=limit,
        output=output,
        device=device,
        dtype=dtype,
        label_maps=label_maps,
        window=window,
        refine_steps=refine_steps,
        safe=safe,
        clean=clean,
        true_motion=true_motion,
        camera=camera,
    )
    typer.echo(to_markdown(result) if markdown else to_json(result))

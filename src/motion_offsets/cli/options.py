"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Photos = Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders of photos, or patterns.")]


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO...",
        help="Photos, folders, patterns; Parquet, Arrow or WebDataset (.tar) files; hub:org/name for a data set.",
    ),
]


Output = Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="File or folder to write to.")]


Model = Annotated[str, typer.Option(help="Estimator or pipeline: bundled name, folder, or org/name on the Hub.")]


Deblurrer = Annotated[
    str | None,
    typer.Option(help="Deblurrer: bundled name, folder, or org/name on the Hub; by default the bundled one."),
]


Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]


Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]


MaxMemory = Annotated[
    str, typer.Option(help="Memory limit, such as 4GB; a photo that needs more is processed in tiles.")
]


Location = Annotated[
    bool,
    typer.Option("--location/--no-location", help="Keep or drop the place where the photo was taken (GPS)."),
]


Camera = Annotated[
    str,
    typer.Option(
        help="Use the camera's motion where it explains the estimate (auto), everywhere (only), or nowhere (off)."
    ),
]


Refine = Annotated[
    int,
    typer.Option(metavar="STEPS", help="Steps of each fit of motion and frame to the photo; 0: do not fit, faster."),
]


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

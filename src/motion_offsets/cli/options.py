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


Output = Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Where the results go.")]


Model = Annotated[str, typer.Option(help="Estimator or pipeline: bundled name, folder, or org/name on the Hub.")]


Deblurrer = Annotated[
    str | None, typer.Option(help="Deblurrer: bundled name, folder, or org/name; by default the bundled one.")
]


Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]


Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]


MaxMemory = Annotated[str, typer.Option(help="Memory for one photo; a larger photo is processed in tiles.")]


Location = Annotated[
    bool,
    typer.Option("--location/--no-location", help="Keep in the pictures where the photo was taken (GPS), or drop it."),
]


Camera = Annotated[
    str,
    typer.Option(help="auto: paths are the camera's where its motion explains them; only: everywhere; off: nowhere."),
]


Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]

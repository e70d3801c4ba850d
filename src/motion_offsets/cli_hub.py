"""Commands around checkpoints: ``convert`` brings published ones in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


def convert(
    source: Annotated[str, typer.Argument(help="Motion-ETR's latest_net_offset.pth, or DMPHN's folder of .pkl.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Folder to write the model to.")],
    trajectory: Annotated[
        str | None, typer.Option(help="What the estimator was trained with: linear, bidirectional-linear, quadratic.")
    ] = None,
    stacks: Annotated[int | None, typer.Option(help="Only the first so many networks of a stack.")] = None,
    debug: Debug = False,
) -> None:
    """Convert published Motion-ETR or DMPHN weights into a model folder of ours that computes the same."""
    from .conversion import CONVERTED_NAMES
    from .conversion import convert as converted
    from .extraction import whole_folder

    target = Path(output).expanduser()
    with whole_folder(target, CONVERTED_NAMES) as folder:
        model = converted(source, trajectory, stacks)
        model.save_pretrained(folder)
    typer.echo(f"{source} -> {target} ({type(model).__name__}, {model.num_parameters():,} parameters)")

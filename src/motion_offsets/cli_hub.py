"""Commands for what leaves or enters: ``convert`` published weights, ``export`` motion, ``publish`` on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__
from .cli_arguments import parse_memory, quiet
from .errors import BadInputError

if TYPE_CHECKING:
    from .publishing import Change, Publication

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
    from .image_processing_motion_offsets import MotionOffsetsImageProcessor
    from .result_folders import whole_folder

    quiet()
    target = Path(output).expanduser()
    with whole_folder(target, CONVERTED_NAMES) as folder:
        model = converted(source, trajectory, stacks)
        model.save_pretrained(folder)
        MotionOffsetsImageProcessor().save_pretrained(folder)
    typer.echo(f"{source} -> {target} ({type(model).__name__}, {model.num_parameters():,} parameters)")


def export(
    motion: Annotated[str, typer.Argument(help="motion_offsets.npz that extract wrote, or a .safetensors.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="OUT.safetensors or OUT.flo.")],
    debug: Debug = False,
) -> None:
    """Write saved motion as safetensors, or as Middlebury flow where the shutter opens and where it closes."""
    from .motion_files import export_motion, read_motion

    written = export_motion(read_motion(Path(motion).expanduser()), Path(output).expanduser())
    typer.echo(f"{motion} -> {', '.join(map(str, written))}")


def publish(
    org: Annotated[str, typer.Option(help="User or organisation on the Hub that it goes to.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these; by default all.")] = None,
    root: Annotated[str, typer.Option(help="The checkout: where hub/ and model_cards/ lie.")] = ".",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files and sizes; the Hub is not asked.")] = False,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="By default, public if new, else as it is."),
    ] = None,
    tag: Annotated[str, typer.Option(help="Tag of the version.")] = f"v{__version__}",
    collection: Annotated[str, typer.Option(help="Collection to put it into; empty for none.")] = "Motion offsets",
    max_size: Annotated[str, typer.Option(help="The most that one repository may hold.")] = "2GB",
    endpoint: Annotated[str | None, typer.Option(help="A private hub's address; by default HF_ENDPOINT.")] = None,
    token: Annotated[str | None, typer.Option(help="By default HF_TOKEN, or the one logged in with.")] = None,
    debug: Debug = False,
) -> None:
    """Publish models, data sets and the Space of a checkout on the Hub: only what changed, one commit a repository."""
    from .publishing import check_publications, collect, make_api, plan
    from .publishing import publish as published
    from .staging import stage

    quiet()
    checkout = Path(root).expanduser()
    if not (checkout / "hub").is_dir():
        raise BadInputError(f"{checkout}: holds no folder hub; give --root a checkout of motion-offsets")
    most = parse_memory(max_size, "--max-size")
    api = None if dry_run else make_api(endpoint, token)
    with tempfile.TemporaryDirectory() as staged:
        publications = stage(checkout, Path(staged), org, names or [])
        check_publications(publications, org, most)
        if api is None:
            for publication in publications:
                _show(publication, org)
            return
        changes = plan(api, publications, org, tag)
        for change in changes:
            commit = published(api, change, tag, private)
            typer.echo(f"{change.repo_id}: {_outcome(change, commit)}")
        if collection:
            typer.echo(collect(api, changes, org, collection))


def _show(publication: Publication, owner: str) -> None:
    from .publishing import TYPE_NAMES, show_size

    sizes = {path: file.stat().st_size for path, file in publication.files().items()}
    total = show_size(sum(sizes.values()))
    typer.echo(f"{owner}/{publication.name} ({TYPE_NAMES[publication.repo_type]}, {len(sizes)} files, {total})")
    for path, size in sizes.items():
        typer.echo(f"  {show_size(size):>9}  {path}")


def _outcome(change: Change, commit: str | None) -> str:
    if commit is None:
        return "nothing had changed"
    return f"{len(change.changed)} files written, {len(change.deleted)} removed ({commit})"

"""Commands for what leaves or enters: ``convert`` weights, ``export`` models and motion, ``publish`` on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInputError, counted
from ..io.path_names import as_path
from ..runtime.memory import parse_memory
from ..version import __version__
from .arguments import quiet

if TYPE_CHECKING:
    from ..publishing.repositories import Change, Publication

MOTION_SUFFIXES = (".npz", ".safetensors")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="Motion-ETR's latest_net_offset.pth, DMPHN's folder of .pkl files, or MAXIM's unpacked npm package."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Folder to write the model to.")],
    trajectory: Annotated[
        str | None,
        typer.Option(help="Trajectory of a Motion-ETR estimator: linear, bidirectional-linear or quadratic."),
    ] = None,
    stacks: Annotated[
        int | None, typer.Option(help="Stacked DMPHN: convert only this number of networks, from the first.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Convert published Motion-ETR, DMPHN or MAXIM weights to a model folder."""
    from ..interchange.conversion import CONVERTED_NAMES, save_converted
    from ..interchange.conversion import convert as converted
    from ..io.atomic import whole_folder

    quiet()
    target = as_path(output)
    with whole_folder(target, CONVERTED_NAMES) as folder:
        model = converted(source, trajectory, stacks)
        save_converted(model, folder)
    typer.echo(f"{source} -> {target} ({type(model).__name__}, {model.num_parameters():,} parameters)")


def export(
    source: Annotated[
        str, typer.Argument(help="Model name or folder, or saved motion: motion_offsets.npz or .safetensors.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Model: .onnx or .pt2. Motion: .safetensors, or .flo (NAME.start.flo and NAME.end.flo).",
        ),
    ],
    dtype: Annotated[str, typer.Option(help="Type of the model's weights: float32 or float16.")] = "float32",
    control_points: Annotated[
        bool, typer.Option("--control-points", help="Deblurrer: add the control points as a second input.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Export a model to ONNX or torch.export, or saved motion to safetensors or Middlebury flow."""
    quiet()
    given, target = as_path(source), as_path(output)
    if given.suffix.lower() in MOTION_SUFFIXES and not given.is_dir():
        from ..io.motion_files import export_motion, read_motion

        if control_points or dtype != "float32":
            raise BadInputError(f"{source}: is motion; --dtype and --control-points are for models, leave them out")
        written = export_motion(read_motion(given), target)
        ends = " (offsets at the start and at the end of the exposure)" if len(written) > 1 else ""
        typer.echo(f"{source} -> {', '.join(map(str, written))}{ends}")
        return
    from ..interchange.model_export import check_export, export_model, load_exportable

    check_export(target, dtype)  # before a model is fetched
    report = export_model(load_exportable(source), target, dtype, control_points)
    found = [f"{name} {difference:.2g}" for name, difference in report.differences.items()]
    compared = f"largest difference from the model: {', '.join(found)}" if found else "not compared: no onnxruntime"
    typer.echo(f"{source} -> {target} ({report.num_bytes / 1e6:.1f} MB; {compared})")


def publish(
    org: Annotated[str, typer.Option(help="User or organisation on the Hub to publish under.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="What to publish; by default everything.")
    ] = None,
    root: Annotated[str, typer.Option(help="Checkout that contains hub/ and model_cards/.")] = ".",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files and sizes without contacting the Hub.")
    ] = False,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="By default, new repositories are public and others stay as they are."
        ),
    ] = None,
    tag: Annotated[str, typer.Option(help="Tag for this version.")] = f"v{__version__}",
    collection: Annotated[str, typer.Option(help="Collection to add them to; empty for none.")] = "Motion offsets",
    max_size: Annotated[str, typer.Option(help="Largest size of one repository.")] = "2GB",
    endpoint: Annotated[str | None, typer.Option(help="URL of a private hub; by default HF_ENDPOINT.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Access token; by default HF_TOKEN, or that of hf auth login.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Publish models, data sets and the Space of a checkout on the Hub.

    Only changed files are uploaded, in one commit per repository.
    """
    from ..publishing.repositories import check_publications, collect, make_api, plan
    from ..publishing.repositories import publish as published
    from ..publishing.staging import stage

    quiet()
    checkout = as_path(root)
    if not (checkout / "hub").is_dir():
        raise BadInputError(f"{checkout}: holds no folder hub; give --root a checkout of motion-offsets")
    most = parse_memory(max_size, "max_size")
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
    from ..publishing.repositories import TYPE_NAMES, show_size

    sizes = {path: file.stat().st_size for path, file in publication.files().items()}
    files, total = counted(len(sizes), "file"), show_size(sum(sizes.values()))
    typer.echo(f"{owner}/{publication.name} ({TYPE_NAMES[publication.repo_type]}, {files}, {total})")
    for path, size in sizes.items():
        typer.echo(f"  {show_size(size):>9}  {path}")


def _outcome(change: Change, commit: str | None) -> str:
    if commit is None:
        return "nothing had changed"
    return f"{counted(len(change.changed), 'file')} written, {len(change.deleted)} removed ({commit})"

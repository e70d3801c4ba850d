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

Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="Motion-ETR's latest_net_offset.pth, DMPHN's folder of .pkl, or MAXIM's npm package, unpacked."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Folder to write the model to.")],
    trajectory: Annotated[
        str | None, typer.Option(help="What the estimator was trained with: linear, bidirectional-linear, quadratic.")
    ] = None,
    stacks: Annotated[
        int | None, typer.Option(help="Convert only this number of networks of a stack, from the first.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Convert published Motion-ETR, DMPHN or MAXIM weights into a model folder that computes the same."""
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
    source: Annotated[str, typer.Argument(help="A model's name or folder; or motion_offsets.npz or .safetensors.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Model: .onnx or .pt2. Motion: .safetensors, or .flo (NAME.start.flo and NAME.end.flo).",
        ),
    ],
    dtype: Annotated[str, typer.Option(help="Of a model's weights: float32 or float16.")] = "float32",
    control_points: Annotated[
        bool, typer.Option("--control-points", help="Deblurrer: take the control points as a second input.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write a model as ONNX or as a torch.export program; or saved motion as safetensors or Middlebury flow."""
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

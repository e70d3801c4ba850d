"""The command ``compare``: a contact sheet of several deblurrers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInputError
from ..exposure.refine_steps import REFINE_STEPS
from ..io.atomic import check_output_folder
from ..io.path_names import as_path
from ..io.photo_files import find_photos
from ..models.hub import DEFAULT_ESTIMATOR
from ..runtime.memory import parse_memory
from .arguments import check_not_photos, check_refine, prepare
from .options import Debug, Device, Dtype, MaxMemory, Model, Photos, Refine
from .reporting import for_each, say, tell_passed_over

if TYPE_CHECKING:
    from ..evaluation.report.contact_sheet import ComparedPhoto

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PHOTOS = 40  # on one sheet; JPEG holds 65,535 rows


def compare(
    photos: Photos,
    deblurrer: Annotated[
        list[str],
        typer.Option(help="Bundled name, folder, or org/name on the Hub; repeat the option to compare several."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="SHEET", help="Contact sheet to write, PNG or JPEG.")
    ],
    model: Model = DEFAULT_ESTIMATOR,
    refine: Refine = REFINE_STEPS,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = "4GB",
    debug: Debug = False,
) -> None:
    """Draw a contact sheet: each photo next to each deblurrer's sharp frame, with the seconds it took.

    Below them is the most blurred part at full size.
    """
    memory, found, target = parse_memory(max_memory), find_photos(photos), as_path(output)
    tell_passed_over(photos)
    if target.suffix.lower() not in SHEET_SUFFIXES or target.is_dir():
        raise BadInputError(
            f"{target}: cannot be written as a contact sheet; use a name that ends in {' or '.join(SHEET_SUFFIXES)}"
        )
    if len(found) > MOST_PHOTOS:
        raise BadInputError(f"{len(found)} photos do not fit on one sheet; give at most {MOST_PHOTOS}")
    check_refine(refine)
    labels = sheet_labels(deblurrer)
    check_not_photos([target], found)
    check_output_folder(target.parent)
    from ..evaluation.report.contact_sheet import compare_photo, draw_sheet, warm_up
    from ..io.atomic import whole_file
    from ..io.picture_saving import save_picture
    from ..models.registry import load_deblurrer
    from ..pipelines.blur_to_video import BlurToVideoPipeline

    alone, autocast = prepare(model, None, device, dtype, deblurs=False)
    pipelines = {
        label: BlurToVideoPipeline(alone.estimator, load_deblurrer(name), alone.processor).to(alone.device)
        for label, name in zip(labels, deblurrer, strict=True)
    }
    warm_up(pipelines, autocast)
    compared: list[ComparedPhoto] = []

    def work(index: int, photo: Path) -> None:
        one = compare_photo(pipelines, photo, memory, autocast, refine)
        compared.append(one)
        say(f"{photo}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.seconds.items()))

    failed: typer.Exit | None = None
    try:
        for_each(found, work, debug)
    except typer.Exit as error:  # the sheet holds the others
        failed = error
    if compared:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, SHEET_SUFFIXES) as partial:
            save_picture(draw_sheet(compared), partial)
        say(f"{len(compared)} of {len(found)} photos -> {target}")
    if failed is not None:
        raise failed


def sheet_labels(names: list[str]) -> list[str]:
    """What a sheet calls deblurrers: the last part of each name, or the whole name where two would be called alike.

    Raises:
        BadInputError: one is named twice.
    """
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise BadInputError(f"--deblurrer {twice} is given twice; give each deblurrer once")
    short = [Path(name).name or name for name in names]
    return [name if short.count(last) > 1 else last for name, last in zip(names, short, strict=True)]

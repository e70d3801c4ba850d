"""Measure a model on a benchmark over several processes: what ``motion-offsets evaluate`` does, shared and resumable.

    accelerate launch train/evaluate.py bsd-motion-flow --images PHOTOS --model runs/X/model -o result.json --markdown

Each process takes every n-th photo. The rows of each photo are written beside the output (``result.rows.jsonl``) as
soon as they are known; a run that was stopped goes on from them, with any number of processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm.auto import tqdm

from ..errors import BadInputError, name_arguments
from ..exposure.camera_modes import AUTO
from ..io.atomic import check_output_folder, whole_file
from ..models.hub import DEFAULT_ESTIMATOR
from ..runtime.devices import DTYPES, pick_dtype
from ..version import __version__
from .benchmarks.base import Asked, Benchmark, Row, rows_of
from .benchmarks.sharp_frame import DECONVOLUTION
from .run import (
    BENCHMARKS,
    changed_options,
    checkpoint_sha256,
    load_measured,
    model_names,
    open_benchmark,
    to_json,
    to_markdown,
    with_provenance,
)


class RowFiles:
    """The rows of photos that are done, each on a line of a file beside the output; one file a process.

    Args:
        output: the result's file.
        benchmark: whose rows they are.
        kind: what tells this run's rows from others': our version, the benchmark and its data, the checkpoints, the
            precision.
    """

    def __init__(self, output: Path, benchmark: Benchmark, kind: dict[str, Any]):
        self.output, self.benchmark, self.kind = output, benchmark, kind

    def _files(self) -> list[Path]:
        return sorted(self.output.parent.glob(f"{self.output.stem}.rows*.jsonl"))

    def read(self) -> dict[int, list[Row]]:
        """The rows so far, by number.

        Raises:
            BadInputError: they are of another run.
        """
        found: dict[int, list[Row]] = {}
        for file in self._files():
            for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
                if not line.endswith("\n"):
                    continue  # cut off when the run was stopped: that photo is measured again
                entry = json.loads(line)
                if entry["kind"] != self.kind:
                    raise BadInputError(
                        f"{file}: holds rows of another model, benchmark, data set, precision or version; delete it, "
                        "or give another `output`"
                    )
                number = entry["number"]
                if number < len(self.benchmark) and entry["rows"][0]["photo"] == self.benchmark.name(number):
                    found[number] = entry["rows"]
        return found

    def append(self, process: int, number: int, rows: list[Row]) -> None:
        """Add the rows of one number to a process's own file."""
        file = self.output.with_name(f"{self.output.stem}.rows-{process:04d}.jsonl")
        whole = file.read_bytes() if file.is_file() else b""
        if whole and not whole.endswith(b"\n"):
            file.write_bytes(whole[: whole.rfind(b"\n") + 1])
        with file.open("a", encoding="utf-8") as lines:
            lines.write(self._line(number, rows))

    def join(self, rows: dict[int, list[Row]]) -> None:
        """All rows in one file, in order, in place of those of the processes."""
        final = self.output.with_name(f"{self.output.stem}.rows.jsonl")
        with whole_file(final, (".jsonl",)) as partial:
            partial.write_text("".join(self._line(number, rows[number]) for number in sorted(rows)), encoding="utf-8")
        for file in self._files():
            if file != final:
                file.unlink()

    def _line(self, number: int, rows: list[Row]) -> str:
        return json.dumps({"number": number, "kind": self.kind, "rows": rows}) + "\n"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, by default of this process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--images", required=True, help="folder of sharp photos; for gopro, the data set")
    parser.add_argument("--model", default=DEFAULT_ESTIMATOR, help="estimator or pipeline: name, folder, Hub name")
    parser.add_argument("--deblurrer", help="deblurrer; none: the motion alone; map: deconvolution along it")
    parser.add_argument("--label_maps", help="bsd-dynamic: folder of PNG label maps of the photos")
    parser.add_argument("--line_kernels", action="store_true", help="bsd-motion-flow: reblur by line kernels, too")
    parser.add_argument(
        "--window", type=int, help="gopro: the data set holds consecutive frames; average this odd number of them"
    )
    parser.add_argument(
        "--refine_steps", type=int, default=0, help="bsd-dynamic: fit the motion to each photo, say 20"
    )
    parser.add_argument("--safe", action="store_true", help="bsd-dynamic, unblurred: keep what the motion explains")
    parser.add_argument("--clean", action="store_true", help="bsd-dynamic: without noise and JPEG")
    parser.add_argument("--true_motion", action="store_true", help="both bsd-: deblur along the true motion")
    parser.add_argument("--camera", default=AUTO, help="auto, off or only: whether paths are the camera's")
    parser.add_argument("--limit", type=int, help="evaluate only this number of photos, from the first")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file for the result")
    parser.add_argument("--figure", type=Path, help="PNG of error and PSNR against the length of the motion")
    parser.add_argument("--pictures", type=Path, help="folder for the paper's pictures of chosen photos")
    parser.add_argument("--picture_photos", help="their names, joined by commas; by default the first three")
    parser.add_argument("--compare", nargs="+", default=[], help="more deblurrers in the pictures; map: deconvolution")
    parser.add_argument("--markdown", action="store_true", help="print tables beside the paper's figures")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="auto is float32")
    return parser.parse_args(given)


def asked_by(options: argparse.Namespace) -> Asked:
    """What these options ask of a benchmark."""
    given = vars(options)
    return Asked(**{item.name: given[item.name] for item in fields(Asked) if item.name in given})


def main() -> None:
    options = arguments()
    accelerator = Accelerator()
    asked = asked_by(options)
    benchmark = open_benchmark(options.benchmark, asked, options.deblurrer)
    if options.output.suffix != ".json":
        raise BadInputError(f"`output` {options.output}: has no suffix .json; give a name such as result.json")
    check_output_folder(options.output.parent)
    if options.figure is not None:
        from .report.motion_curves import check_matplotlib

        check_matplotlib()
    dtype = None if options.dtype == "auto" else pick_dtype(options.dtype, accelerator.device)
    pipeline = load_measured(options.model, options.deblurrer).to(accelerator.device)
    pipeline.camera = options.camera
    draw = _picture_maker(benchmark, pipeline, dtype, accelerator, options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rows = all_rows(benchmark, pipeline, dtype, accelerator, options)
    if not accelerator.is_main_process:
        return
    in_order = [row for number in sorted(rows) for row in rows[number]]
    seconds = round(time.perf_counter() - started, 1)
    named = (options.model, options.deblurrer)
    figures = benchmark.figures(in_order) | changed_options(asked)
    result = with_provenance(options.benchmark, figures, pipeline, *named, dtype, seconds)
    with whole_file(options.output, (".json",)) as partial:
        partial.write_text(to_json(result) + "\n", encoding="utf-8")
    if options.figure is not None:
        from .report.motion_curves import draw_motion_curves

        draw_motion_curves(in_order, options.figure)
    draw()
    print(to_markdown(result) if options.markdown else to_json(result))


def row_kind(options: argparse.Namespace, dtype: torch.dtype | None) -> dict[str, Any]:
    """What tells the rows of a run from those of others; see :class:`RowFiles`."""
    names = model_names(options.model, options.deblurrer)
    return {
        "version": __version__,
        "benchmark": options.benchmark,
        "images": options.images,
        "label_maps": options.label_maps,
        "checkpoints": {part: checkpoint_sha256(name, part) for part, name in names.items()},
        "dtype": str(dtype),
        "line_kernels": options.line_kernels,
        **changed_options(asked_by(options)),
        "window": options.window,
        **({"deblurrer": DECONVOLUTION} if options.deblurrer == DECONVOLUTION else {}),
    }


def all_rows(
    benchmark: Benchmark,
    pipeline: Any,
    dtype: torch.dtype | None,
    accelerator: Accelerator,
    options: argparse.Namespace,
) -> dict[int, list[Row]]:
    """Measure what is not measured yet, each process its share; all rows by number, on the main process."""
    files = RowFiles(options.output, benchmark, row_kind(options, dtype))
    # The main process alone reads, as the others may be on machines that do not see its files; it tells what is left.
    rows = _on_main_process(files.read, accelerator) or {}
    left = broadcast_object_list([[number for number in range(len(benchmark)) if number not in rows]])[0]
    mine: Sequence[int] = left[accelerator.process_index :: accelerator.num_processes]
    found: list[tuple[int, list[Row]]] = []
    bar = tqdm(total=len(mine), desc=options.benchmark, unit="image", disable=not accelerator.is_main_process)
    for number, new in rows_of(benchmark, pipeline, dtype, mine):
        files.append(accelerator.process_index, number, new)
        found.append((number, new))
        bar.update()
    bar.close()
    rows |= dict(gather_object(found))
    if accelerator.is_main_process:
        files.join(rows)
    return rows


def _picture_maker(
    benchmark: Benchmark,
    pipeline: Any,
    dtype: torch.dtype | None,
    accelerator: Accelerator,
    options: argparse.Namespace,
) -> Callable[[], None]:
    """What draws the pictures that are asked for, once all is measured; what cannot be drawn is refused now."""
    if options.pictures is None:
        if options.picture_photos is not None or options.compare:
            raise BadInputError("`picture_photos` and `compare` are for pictures; give `pictures` FOLDER, too")
        return lambda: None
    from .report.pictures import chosen_photos, draw_pictures, load_compared

    check_output_folder(options.pictures)
    numbers = chosen_photos(benchmark, options.picture_photos)
    own = [DECONVOLUTION] if options.deblurrer == DECONVOLUTION else []
    compared = load_compared([*own, *options.compare], options.model, accelerator.device)
    deblurrer = model_names(options.model, options.deblurrer).get("deblurrer")

    def draw() -> None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        draw_pictures(benchmark, numbers, pipeline, deblurrer, compared, options.pictures, dtype)

    return draw


def _on_main_process(read: Any, accelerator: Accelerator) -> Any:
    """What ``read`` returns there; what it refuses is refused on all processes."""
    value: Any = None
    refusal: list[str | None] = [None]
    if accelerator.is_main_process:
        try:
            value = read()
        except BadInputError as error:
            refusal = [str(error)]
    (said,) = broadcast_object_list(refusal)
    if said:
        raise BadInputError(said)
    return value


def run_from_command_line() -> None:
    """What ``train/evaluate.py`` runs: bad input ends in one line and exit code 2."""
    try:
        main()
    except BadInputError as error:
        print(f"evaluate.py: {name_arguments(str(error), '--{}'.format)}", file=sys.stderr)
        sys.exit(2)

r"""Tables of the paper, scaled down: train each row for a few minutes, measure it, write the table.

    python train/reproduce.py --images DATA/bsds500/train --evaluation_images DATA/bsds500/val \
        [--tables trajectories losses deblurrers \
        --label_maps DATA/bsds500/segments/train --evaluation_label_maps DATA/bsds500/segments/val]

What is done is kept: started again, it goes on where it was stopped. A model trained by other options than asked for
is refused; figures of another model, other photos or another ``--limit`` are measured again. Each table is a Markdown
file of its name in ``output_dir``, beside a folder for each row, and holds all rows that are measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from missing_packages import import_errors_in_one_line

with import_errors_in_one_line():
    from reproduce_tables import TABLES, Row, Table, to_markdown

    from motion_offsets.errors import BadInputError
    from motion_offsets.evaluation import distributed as evaluate
    from motion_offsets.evaluation.benchmarks.base import photos_of
    from motion_offsets.io.atomic import whole_file
    from motion_offsets.publishing.cards import read_training
    from motion_offsets.training.config_files import read_options
    from motion_offsets.training.options import TrainingOptions

TRAIN = Path(__file__).resolve().parent
CONFIGS = TRAIN / "configs" / "reproduce"
ROWS = {row.name: row for table in TABLES.values() for row in table.rows}


# What a run is watched by; its weights do not depend on it.
WATCHING = {"log_every", "validate_every", "checkpoint_every", "data_workers"}
WATCHING |= {"validation_images", "validation_count", "validation_pairs", "validation_split"}


def training_options(row: Row, arguments: argparse.Namespace, more: list[str]) -> list[str]:
    """The command line of ``train.py`` for one row."""
    command = ["--config", str(CONFIGS / f"{row.config or row.name}.yaml")]
    command += ["--images", *arguments.images, "--validation_images", arguments.evaluation_images]
    if row.start_from:
        command += ["--start_from", str(Path(arguments.output_dir) / row.start_from / "model")]
    if row.estimator:
        command += ["--objects", *arguments.images, "--label_maps", *arguments.label_maps]
        command += [] if row.name == "dmphn" else ["--estimator", row.estimator]
    return [*command, "--output_dir", str(Path(arguments.output_dir) / row.name), *more]


def check_trained(row: Row, arguments: argparse.Namespace, more: list[str]) -> None:
    """Refuse a model that is there, of the row or of the one it starts from, but was trained otherwise.

    Raises:
        BadInputError: names the folder and the first option that differs.
    """
    if row.start_from:
        check_trained(ROWS[row.start_from], arguments, more)
    folder = Path(arguments.output_dir) / row.name
    if (folder / "model").is_dir():
        _check_record(folder, read_training(folder / "model"), row, arguments, more)


def _check_record(
    folder: Path, record: dict[str, Any] | None, row: Row, arguments: argparse.Namespace, more: list[str]
) -> None:
    right = "move the folder away, or give another --output_dir"
    if record is None:
        raise BadInputError(f"{folder}: the record of how its model was trained is missing from the start; {right}")
    asked = _compared(read_options(training_options(row, arguments, more)).record())
    known = {entry.name for entry in dataclasses.fields(TrainingOptions)}
    # Read as options once more, so that a field which is younger than the record has its default.
    earlier = TrainingOptions(**{name: value for name, value in record["options"].items() if name in known})
    found = _compared(earlier.record())
    for name, value in asked.items():
        if found[name] != value:
            raise BadInputError(
                f"{folder}: holds a model trained with {name} {found[name]!r}, and {value!r} is asked for; {right}"
            )
    if row.start_from:
        _check_record(folder, record.get("started_from"), ROWS[row.start_from], arguments, more)


def _compared(record: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({name: value for name, value in record.items() if name not in WATCHING}))


def trained(row: Row, arguments: argparse.Namespace, more: list[str]) -> Path:
    """The model of one row; what is still to be done of it is done, and the row that it starts from before it."""
    folder = Path(arguments.output_dir) / row.name
    check_trained(row, arguments, more)
    if not (folder / "model").is_dir():
        if row.start_from:
            trained(ROWS[row.start_from], arguments, more)
        command = ["train.py", *training_options(row, arguments, more)]
        _run([*command, "--resume", "true"] if any(folder.glob("checkpoints/step-*")) else command)
    return folder / "model"


def evaluation_options(row: Row, table: Table, arguments: argparse.Namespace) -> list[str]:
    """The command line of ``evaluate.py`` for one row."""
    folder = Path(arguments.output_dir) / row.name
    model = str(folder / "model")
    command = [table.benchmark, "--images", arguments.evaluation_images, *row.evaluation]
    command += ["--model", row.estimator or model, "--deblurrer", model if row.estimator else "none"]
    command += ["--label_maps", arguments.evaluation_label_maps] if table.dynamic else []
    return [*command, "--limit", str(arguments.limit), "-o", str(folder / "evaluation.json")]


def measured(row: Row, table: Table, arguments: argparse.Namespace, more: list[str]) -> dict[str, Any]:
    """The figures of one row; they are measured unless those that are there are of what is asked for."""
    trained(row, arguments, more)
    figures = kept_figures(row, table, arguments)
    if figures is not None:
        return figures
    options = evaluation_options(row, table, arguments)
    result = Path(arguments.output_dir) / row.name / "evaluation.json"
    if any(kind != _row_kind(options) for kind in _kinds_of_rows(result)):
        for file in (result, *_row_files(result)):
            file.unlink(missing_ok=True)
    _run(["evaluate.py", *options])
    return json.loads(result.read_text())


def kept_figures(row: Row, table: Table, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The figures that are there, if they are of the row's model as it is, of these photos and of as many."""
    folder = Path(arguments.output_dir) / row.name
    result = folder / "evaluation.json"
    if not (result.is_file() and (folder / "model").is_dir()):
        return None
    kinds, kind = _kinds_of_rows(result), _row_kind(evaluation_options(row, table, arguments))
    if not kinds or any(other != kind for other in kinds):
        return None
    figures = json.loads(result.read_text())
    photos = photos_of(arguments.evaluation_images, arguments.limit)
    return figures if figures["images"] == len(photos) else None


def _row_kind(options: list[str]) -> dict[str, Any]:
    return json.loads(json.dumps(evaluate.row_kind(evaluate.arguments(options), None)))


def _row_files(result: Path) -> list[Path]:
    return sorted(result.parent.glob(f"{result.stem}.rows*.jsonl"))


def _kinds_of_rows(result: Path) -> list[dict[str, Any]]:
    lines = [line for file in _row_files(result) for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line)["kind"] for line in lines if line.endswith("\n")]


def figures_of_table(
    table: Table, asked: list[Row], arguments: argparse.Namespace, more: list[str]
) -> dict[Row, dict[str, Any]]:
    """The figures of the rows asked for, and of the others that have been measured alike, in the table's order."""
    found = {}
    for row in table.rows:
        if row in asked:
            found[row] = measured(row, table, arguments, more)
            continue
        try:
            check_trained(row, arguments, more)
        except BadInputError as error:
            print(f"reproduce.py: row {row.name} is left out: {error}", file=sys.stderr)
            continue
        figures = kept_figures(row, table, arguments)
        if figures is not None:
            found[row] = figures
    return found


def _run(command: list[str]) -> None:
    script, *rest = command
    done = subprocess.run([sys.executable, str(TRAIN / script), *rest], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"reproduce.py: {script} ended with {done.returncode}; see above, then start this again to go on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="More options go to train.py.")
    parser.add_argument("--images", nargs="+", required=True, help="folders of sharp photos to train on")
    parser.add_argument("--evaluation_images", required=True, help="folder of other sharp photos")
    parser.add_argument("--label_maps", nargs="+", default=[], help="their PNG label maps, for the deblurrers")
    parser.add_argument("--evaluation_label_maps", help="those of --evaluation_images")
    parser.add_argument("--output_dir", default="runs/reproduce")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["trajectories"])
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), help="all of these that are in the tables"
    )
    parser.add_argument("--limit", type=int, default=100, help="photos that are measured")
    arguments, more = parser.parse_known_args()
    asked = {name: [row for row in TABLES[name].rows if row.name in arguments.rows] for name in arguments.tables}
    for name, rows in asked.items():
        if not rows:
            parser.error(f"--rows {' '.join(arguments.rows)}: none of them is in the table {name}")
        if TABLES[name].dynamic and not (arguments.label_maps and arguments.evaluation_label_maps):
            parser.error(f"--tables {name} is about dynamic scenes: give --label_maps and --evaluation_label_maps")
        for row in rows:  # refused now, and not after hours of other rows
            check_trained(row, arguments, more)
    for name, rows in asked.items():
        table = TABLES[name]
        text = to_markdown(table, figures_of_table(table, rows, arguments, more))
        with whole_file(Path(arguments.output_dir) / f"{name}.md", (".md",)) as partial:
            partial.write_text(text, encoding="utf-8")
        print(f"{name}\n\n{text}")


if __name__ == "__main__":
    try:
        main()
    except BadInputError as error:
        print(f"reproduce.py: {error}", file=sys.stderr)
        sys.exit(2)

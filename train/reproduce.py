r"""Tables of the paper, scaled down: train each row for a few minutes, measure it, write the table.

    python train/reproduce.py --images DATA/bsds500/train --evaluation_images DATA/bsds500/val \
        [--tables trajectories losses deblurrers \
        --label_maps DATA/bsds500/segments/train --evaluation_label_maps DATA/bsds500/segments/val]

What is done is kept: started again, it goes on where it was stopped. Each table is a Markdown file of its name in
``output_dir``, beside a folder for each row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from reproduce_tables import TABLES, Row, Table, to_markdown

TRAIN = Path(__file__).resolve().parent
CONFIGS = TRAIN / "configs" / "reproduce"
ROWS = {row.name: row for table in TABLES.values() for row in table.rows}


def trained(row: Row, arguments: argparse.Namespace, more: list[str]) -> Path:
    """The model of one row; what is still to be done of it is done, and the row that it starts from before it."""
    folder = Path(arguments.output_dir) / row.name
    if (folder / "model").is_dir():
        return folder / "model"
    command = ["train.py", "--config", str(CONFIGS / f"{row.config or row.name}.yaml")]
    command += ["--images", *arguments.images, "--validation_images", arguments.evaluation_images]
    if row.start_from:
        command += ["--start_from", str(trained(ROWS[row.start_from], arguments, more))]
    if row.estimator:
        command += ["--objects", *arguments.images, "--label_maps", *arguments.label_maps]
        command += [] if row.name == "dmphn" else ["--estimator", row.estimator]
    command += ["--output_dir", str(folder), *more]
    _run([*command, "--resume", "true"] if any(folder.glob("checkpoints/step-*")) else command)
    return folder / "model"


def measured(row: Row, table: Table, arguments: argparse.Namespace, more: list[str]) -> dict[str, Any]:
    """The figures of one row."""
    model, result = trained(row, arguments, more), Path(arguments.output_dir) / row.name / "evaluation.json"
    if not result.is_file():
        command = ["evaluate.py", table.benchmark, "--images", arguments.evaluation_images, *row.evaluation]
        command += ["--model", row.estimator or str(model), "--deblurrer", str(model) if row.estimator else "none"]
        command += ["--label_maps", arguments.evaluation_label_maps] if table.dynamic else []
        _run([*command, "--limit", str(arguments.limit), "-o", str(result)])
    return json.loads(result.read_text())


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
    for name in arguments.tables:
        table = TABLES[name]
        rows = [row for row in table.rows if row.name in arguments.rows]
        if not rows:
            parser.error(f"--rows {' '.join(arguments.rows)}: none of them is in the table {name}")
        if table.dynamic and not (arguments.label_maps and arguments.evaluation_label_maps):
            parser.error(f"--tables {name} is about dynamic scenes: give --label_maps and --evaluation_label_maps")
        text = to_markdown(table, {row: measured(row, table, arguments, more) for row in rows})
        (Path(arguments.output_dir) / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"{name}\n\n{text}")


if __name__ == "__main__":
    main()

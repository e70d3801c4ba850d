"""Tables of the shipped weights beside the paper's figures: ``python train/shipped_tables.py``.

They are made of the results that ``evaluate`` wrote, beside the weights and in ``results/``; ``train/README.md`` shows
them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reproduce_tables import BLURRED, DEBLUR, GOPRO, NO_MOTION, REBLUR, Row, Table, to_markdown

RESULTS = Path(__file__).resolve().parent / "results"
MODELS = RESULTS.parents[1] / "hub" / "models"
TRAJECTORIES = ("zero-constraint", "linear", "bidirectional-linear", "quadratic", "cubic")
ESTIMATORS = tuple(Row(f"etraj-{name}", f"paper, {name}") for name in TRAJECTORIES)
DYNAMIC = {
    "trajectory error": "trajectory_error",
    "distance to tracks": "track_distance",
    "reblur PSNR": "reblur_psnr",
}

TABLES = (
    Table("flow", "bsd-motion-flow", REBLUR, ("paper's PSNR", "paper's SSIM", "paper's MSE"), NO_MOTION, ESTIMATORS),
    Table(
        "flow",
        "bsd-dynamic",
        DYNAMIC,
        (),
        ("no motion at all", ("trajectory_error_zero", "track_distance_zero", "blurred_psnr")),
        tuple(Row(row.name) for row in ESTIMATORS),
    ),
    Table("gopro", "bsd-dynamic", DEBLUR, GOPRO, BLURRED, (Row("ma-dmphn", "paper, MA-DMPHN quadratic"), Row("map"))),
)


def shipped_results(table: Table) -> dict[Row, dict[str, Any]]:
    """What was measured for each row of a table."""
    name = "evaluation" if table.benchmark == "bsd-motion-flow" else f"evaluation-{table.benchmark}"
    results = {}
    for row in table.rows:
        beside_weights = MODELS / row.name / f"{name}.json"
        file = beside_weights if beside_weights.is_file() else RESULTS / f"{table.benchmark}-{row.name}.json"
        results[row] = json.loads(file.read_text())
    return results


if __name__ == "__main__":
    print("\n".join(to_markdown(table, shipped_results(table)) for table in TABLES))

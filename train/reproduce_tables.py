"""The paper's tables, scaled down: which rows each has, how a row is trained and measured, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from motion_offsets.evaluation.paper import (
    PAPER_GOPRO_DEBLUR,
    PAPER_GOPRO_REBLUR,
    PAPER_TABLE_2,
    QUOTED_GOPRO_DEBLUR,
    QUOTED_TABLE_2,
)

PAPER: dict[str, dict[str, Any]] = {
    "flow": {name: figures for name, *figures in (*PAPER_TABLE_2, *QUOTED_TABLE_2)},
    "gopro": {name: figures for name, *figures in (*PAPER_GOPRO_REBLUR, *PAPER_GOPRO_DEBLUR, *QUOTED_GOPRO_DEBLUR)},
}


@dataclass(frozen=True)
class Row:
    """What is trained, what it starts from, how it is measured, and what the paper calls it.

    Attributes:
        name: of the folder that holds what comes of it.
        paper: the row's name in ``PAPER``.
        config: of ``configs/reproduce``; that of the row's name if empty.
        start_from: the row whose model training goes on from.
        estimator: the bundled estimator that a deblurrer is trained with and measured beside.
        prefix: before the names of its figures.
        evaluation: more arguments of ``evaluate.py``.
    """

    name: str
    paper: str = ""
    config: str = ""
    start_from: str | None = None
    estimator: str | None = None
    prefix: str = ""
    evaluation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows that are measured alike; ``nothing`` are the figures of doing nothing, which every row knows."""

    paper: str
    benchmark: str
    columns: dict[str, str]
    paper_columns: tuple[str, ...]
    nothing: tuple[str, tuple[str | None, ...]]
    rows: tuple[Row, ...] = field(default_factory=tuple)

    @property
    def dynamic(self) -> bool:
        """Whether it is about dynamic scenes, whose objects are cut out by label maps."""
        return self.benchmark == "bsd-dynamic"


REBLUR = {"reblur PSNR": "reblur_psnr", "reblur SSIM": "reblur_ssim", "motion MSE": "motion_mse"}
NO_MOTION = ("no motion at all", ("blurred_psnr", "blurred_ssim", "motion_mse_zero"))
DEBLUR = {
    "deblur PSNR": "deblur_psnr",
    "deblur SSIM": "deblur_ssim",
    "frames' PSNR": "video_psnr",
    "trajectory error": "trajectory_error",
}
BLURRED = ("the blurred photo", ("blurred_psnr", "blurred_ssim", "video_psnr_blurred", "trajectory_error_zero"))
GOPRO = ("paper's PSNR, GoPro", "paper's SSIM, GoPro")


def _self_supervised(name: str, paper: str) -> Row:
    return Row("-".join(filter(None, ("self-supervised", name))), f"paper, quadratic{paper}", start_from="quadratic")


def _motion_aware(trajectory: str) -> Row:
    return Row(f"ma-dmphn-{trajectory}", f"paper, MA-DMPHN {trajectory}", "ma-dmphn", estimator=f"etraj-{trajectory}")


TABLES = {
    "trajectories": Table(  # Table 2
        "flow",
        "bsd-motion-flow",
        REBLUR,
        ("paper's PSNR", "paper's SSIM", "paper's MSE"),
        NO_MOTION,
        (
            *(Row(name, f"paper, {name}") for name in ("zero-constraint", "linear", "bidirectional-linear")),
            Row("quadratic", "paper, quadratic"),
            Row("cubic"),
            # Reblurred by line kernels, as the paper does it.
            Row("supervised", "quoted by the paper, Gong et al.", prefix="line_", evaluation=("--line_kernels",)),
        ),
    ),
    "losses": Table(  # Tables 3 and 4
        "gopro",
        "bsd-motion-flow",
        REBLUR,
        GOPRO,
        NO_MOTION,
        (
            _self_supervised("", ""),
            _self_supervised("n9", ", N = 9"),
            _self_supervised("n5", ", N = 5"),
            _self_supervised("without-ssim", " without SSIM loss"),
            _self_supervised("without-tv", " without total variation loss"),
            _self_supervised("without-reg", " without regularisation loss"),
        ),
    ),
    "deblurrers": Table(  # Tables 5 and 6
        "gopro",
        "bsd-dynamic",
        DEBLUR,
        GOPRO,
        BLURRED,
        (
            Row("dmphn", "quoted by the paper, DMPHN", estimator="etraj-quadratic"),
            *map(_motion_aware, ("zero-constraint", "linear", "bidirectional-linear", "quadratic")),
        ),
    ),
}


def to_markdown(table: Table, results: dict[Row, dict[str, Any]]) -> str:
    """Our figures beside the paper's."""
    lines = [("", *table.columns, *table.paper_columns)]
    lines.append(("---", *["---:"] * (len(lines[0]) - 1)))
    for row, result in results.items():
        ours = [(name, result[_figure(row, name)]) for name in table.columns.values()]
        paper = PAPER[table.paper].get(row.paper or "", [None] * len(table.paper_columns))
        theirs = zip(table.columns.values(), paper, strict=False)
        lines.append((row.name, *(_cell(*one) for one in (*ours, *theirs))))
    title, names = table.nothing
    any_result = next(iter(results.values()))
    nothing = ["-" if name is None else _cell(name, any_result[name]) for name in names]
    lines.append((title, *nothing, *["-"] * len(table.paper_columns)))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _figure(row: Row, name: str) -> str:
    return f"{row.prefix}{name}" if name.startswith("reblur") else name


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if "ssim" in name else f"{value:.2f}"

"""Error and PSNR against the length of the motion, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...io.atomic import whole_file
from ...runtime.extras import require
from ..benchmarks.base import Row

# What each panel shows: its axis, and the figures of the rows that are drawn on it if they are there.
PANELS = (
    ("PSNR, dB", {"reblur_psnr": "reblurred", "deblur_psnr": "deblurred", "blurred_psnr": "the photo as it is"}),
    ("trajectory error, px", {"trajectory_error": "ours", "trajectory_error_zero": "no motion at all"}),
    ("motion MSE, px²", {"motion_mse": "ours", "motion_mse_zero": "no motion at all"}),
)
BINS = 8


def check_matplotlib() -> None:
    """Refuse where nothing can be drawn with."""
    require("`figure`", "matplotlib")


def draw_motion_curves(rows: Sequence[Row], path: Path) -> None:
    """Every row as a dot and, in steps of equal numbers of rows, their medians as a line.

    Args:
        rows: with ``motion_length`` in pixels and the figures of :data:`PANELS`.
        path: a PNG.
    """
    from matplotlib.figure import Figure

    lengths = np.array([row["motion_length"] for row in rows])
    groups = np.array_split(np.argsort(lengths), min(BINS, len(rows)))
    panels = [
        (axis, {name: text for name, text in lines.items() if rows[0].get(name) is not None}) for axis, lines in PANELS
    ]
    panels = [(axis, lines) for axis, lines in panels if lines]
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (label, lines) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for name, text in lines.items():
            values = np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
            middle = [(np.median(lengths[group]), np.nanmedian(values[group])) for group in groups]
            (line,) = axes.plot(*np.transpose(middle), marker="o", label=text)
            axes.scatter(lengths, values, s=6, alpha=0.3, color=line.get_color())
        axes.set_xlabel("mean length of the motion, px")
        axes.set_ylabel(label)
        axes.legend()
    with whole_file(path, (".png",)) as partial:
        figure.savefig(partial, dpi=120)

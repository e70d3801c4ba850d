"""What the Markdown tables of all benchmarks share; each benchmark declares its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .paper import PAPER_RUNTIMES, PAPER_SIZES, QUOTED_RUNTIMES, QUOTED_SIZES

# Terms of the estimator's loss, as its config and as the paper's Table 4 call them.
LOSS_TERMS = {"ssim": "SSIM", "total_variation": "total variation", "regularization": "regularisation"}
DIGITS = {"SSIM": 4, "s": 3}  # after the point, by the last word of a column's title; 2 otherwise


def shared_tables(result: dict[str, Any], after_tracks: str | None = None) -> list[str]:
    """What follows a benchmark's own tables: motion of flat regions, feature tracks, times and sizes.

    Args:
        result: of a run.
        after_tracks: one more table, which comes after the tracks.
    """
    parts = [flat_regions_line(result)]
    if result.get("tracks") is not None:
        parts.append(track_table(result))
    if after_tracks is not None:
        parts.append(after_tracks)
    return [*parts, runtime_table(result), size_table(result)]


def flat_regions_line(result: dict[str, Any]) -> str:
    """What the regularisation loss is for (section 6.3)."""
    if result["flat_length"] is None:
        return "No photo has a region without texture."
    true = result.get("flat_length_true")
    beside = "" if true is None else f"; the true ones there are {cell('', true)} px long"
    return f"Where the photo is flat, estimated displacements are {cell('', result['flat_length'])} px long{beside}."


def track_table(result: dict[str, Any]) -> str:
    """Fig. 9 in figures."""
    rows: list[tuple[Any, ...]] = [("", "mean distance from the tracks, px")]
    rows.append((f"ours, {result['model']}", result["track_distance"]))
    rows.append(("no motion at all", result["track_distance_zero"]))
    if "track_distance_true" in result:
        rows.append(("the exact truth: how good the tracks are", result["track_distance_true"]))
    title = f"Trajectories against {result['tracks']} Shi-Tomasi/KLT tracks through the true frames (Fig. 9)."
    return title + "\n\n" + markdown_table(rows)


def runtime_table(result: dict[str, Any]) -> str:
    """Seconds per photo, beside the paper's."""
    times = [result[f"{part}_seconds"] for part in ("estimator", "deblurrer", "extraction")]
    rows: list[tuple[Any, ...]] = [("", "estimator, s", "deblurrer, s", "whole extraction, s")]
    for name, estimator, extraction in (*QUOTED_RUNTIMES, *PAPER_RUNTIMES):
        rows.append((name, estimator, None, extraction))
    rows.append((f"ours, {result['device']}", *times))
    return (
        f"Seconds a photo, ours the median over photos of {cell('', result['megapixels'])} megapixels on average, "
        "measured while evaluating; the paper names neither its device nor its photos' size.\n\n"
        + markdown_table(rows)
    )


def size_table(result: dict[str, Any]) -> str:
    """Parameters and megabytes of the networks, beside the paper's."""
    rows: list[tuple[Any, ...]] = [("", "parameters", "MB in float32", "MB of the file")]
    rows += [(name, None, size, None) for name, size in (*QUOTED_SIZES, *PAPER_SIZES)]
    for part, name in (("estimator", result["model"]), ("deblurrer", result["deblurrer"])):
        if name is not None:
            sizes = (result[f"{part}_{unit}"] for unit in ("parameters", "float32_mb", "file_mb"))
            rows.append((f"our {part}, {name}", *sizes))
    return markdown_table(rows)


def difference(ours: float | None, paper: float | None) -> float | None:
    """Ours less the paper's, where both are known."""
    return None if ours is None or paper is None else ours - paper


def markdown_table(rows: Sequence[tuple[Any, ...]]) -> str:
    """Rows, the first of them the header, as a Markdown table; numbers with the digits of their column."""
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    cells = [header, rule, *([row[0], *map(cell, header[1:], row[1:])] for row in body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def cell(title: str, value: float | None) -> str:
    """A number as a column of this title shows it."""
    if value is None:
        return "-"
    if title == "parameters":
        return f"{value:,.0f}"
    return f"{value:.{DIGITS.get(title.rpartition(' ')[2], 2)}f}"

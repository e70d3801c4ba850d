"""Results as Markdown tables, beside the paper's figures and those that it quotes from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import counted
from ..benchmarks.unblurred import KINDS, LEFT_ALONE
from .paper import (
    GOPRO_TEST_PAIRS,
    PAPER_GOPRO_DEBLUR,
    PAPER_GOPRO_REBLUR,
    PAPER_RUNTIMES,
    PAPER_SIZES,
    PAPER_TABLE_2,
    QUOTED_GOPRO_DEBLUR,
    QUOTED_GOPRO_REBLUR,
    QUOTED_RUNTIMES,
    QUOTED_SIZES,
    QUOTED_TABLE_2,
)

# Terms of the estimator's loss, as its config and as the paper's Table 4 call them.
LOSS_TERMS = {"ssim": "SSIM", "total_variation": "total variation", "regularization": "regularisation"}
UNBLURRED_COLUMNS = (
    "unchanged_psnr",
    "unchanged_psnr_lowest",
    "left_alone",
    "overshoot",
    "colour_shift",
    "motion_length",
)
DIGITS = {"SSIM": 4, "s": 3}  # after the point, by the last word of a column's title; 2 otherwise


def to_markdown(result: dict[str, Any]) -> str:
    """A result as Markdown tables: beside the paper's figures, or beside what doing nothing scores."""
    if result["benchmark"] == "unblurred":
        return "\n\n".join([_unblurred_table(result), _runtime_table(result), _size_table(result)])
    tables = {"bsd-dynamic": _dynamic_tables, "gopro": _gopro_tables, "pairs": _pairs_tables}
    parts = [tables.get(result["benchmark"], _motion_flow_tables)(result), _flat_regions(result)]
    if result.get("tracks") is not None:
        parts.append(_track_table(result))
        if result["benchmark"] == "gopro":
            parts.append(_clip_table(result))
    elif result["benchmark"] == "gopro":
        parts.append("These pairs come without their frames, so there are no feature tracks and no clips to compare.")
    return "\n\n".join([*parts, _runtime_table(result), _size_table(result)])


def _flat_regions(result: dict[str, Any]) -> str:
    """What the regularisation loss is for (section 6.3)."""
    if result["flat_length"] is None:
        return "No photo has a region without texture."
    true = result.get("flat_length_true")
    beside = "" if true is None else f"; the true ones there are {_cell('', true)} px long"
    return f"Where the photo is flat, estimated displacements are {_cell('', result['flat_length'])} px long{beside}."


def _track_table(result: dict[str, Any]) -> str:
    """Fig. 9 in figures."""
    rows: list[tuple[Any, ...]] = [("", "mean distance from the tracks, px")]
    rows.append((f"ours, {result['model']}", result["track_distance"]))
    rows.append(("no motion at all", result["track_distance_zero"]))
    if "track_distance_true" in result:
        rows.append(("the exact truth: how good the tracks are", result["track_distance_true"]))
    title = f"Trajectories against {result['tracks']} Shi-Tomasi/KLT tracks through the true frames (Fig. 9)."
    return title + "\n\n" + _markdown_table(rows)


def _clip_table(result: dict[str, Any]) -> str:
    """Fig. 8 in figures."""
    rows: list[tuple[Any, ...]] = [("", "video PSNR"), ("ours", result["video_psnr"])]
    rows.append(("the photo repeated", result["video_psnr_blurred"]))
    rows.append(("the deblurred frame repeated", result["video_psnr_repeated"]))
    return _markdown_table(rows)


def _runtime_table(result: dict[str, Any]) -> str:
    times = [result[f"{part}_seconds"] for part in ("estimator", "deblurrer", "extraction")]
    rows: list[tuple[Any, ...]] = [("", "estimator, s", "deblurrer, s", "whole extraction, s")]
    for name, estimator, extraction in (*QUOTED_RUNTIMES, *PAPER_RUNTIMES):
        rows.append((name, estimator, None, extraction))
    rows.append((f"ours, {result['device']}", *times))
    return (
        f"Seconds a photo, ours the median over photos of {_cell('', result['megapixels'])} megapixels on average, "
        "measured while evaluating; the paper names neither its device nor its photos' size.\n\n"
        + _markdown_table(rows)
    )


def _size_table(result: dict[str, Any]) -> str:
    rows: list[tuple[Any, ...]] = [("", "parameters", "MB in float32", "MB of the file")]
    rows += [(name, None, size, None) for name, size in (*QUOTED_SIZES, *PAPER_SIZES)]
    for part, name in (("estimator", result["model"]), ("deblurrer", result["deblurrer"])):
        if name is not None:
            sizes = (result[f"{part}_{unit}"] for unit in ("parameters", "float32_mb", "file_mb"))
            rows.append((f"our {part}, {name}", *sizes))
    return _markdown_table(rows)


def _unblurred_table(result: dict[str, Any]) -> str:
    header = ("", "PSNR against the input", "the lowest PSNR", "left alone, %", "beyond their surroundings, %")
    rows: list[tuple[Any, ...]] = [(*header, "colour shift, levels", "motion, px")]
    for kind in KINDS:
        psnr, lowest, alone, beyond, shift, length = (result[f"{kind}_{name}"] for name in UNBLURRED_COLUMNS)
        rows.append((kind, psnr, lowest, 100 * alone, 100 * beyond, shift, length))
    return (
        f"unblurred: {counted(result['images'], 'sharp photo')}, as they are, with noise, at night, and in a "
        f"screenshot; left alone: at least {LEFT_ALONE:.0f} dB.\n\n" + _markdown_table(rows)
    )


def _dynamic_tables(result: dict[str, Any]) -> str:
    rows = [
        ("", "trajectory error, px", "reblur PSNR", "deblur PSNR", "deblur SSIM", "video PSNR"),
        (
            "ours",
            *(
                result[name]
                for name in ("trajectory_error", "reblur_psnr", "deblur_psnr", "deblur_ssim", "video_psnr")
            ),
        ),
        (
            "no motion at all, the photo as it is",
            *(
                result[name]
                for name in (
                    "trajectory_error_zero",
                    "blurred_psnr",
                    "blurred_psnr",
                    "blurred_ssim",
                    "video_psnr_blurred",
                )
            ),
        ),
        ("the deblurred frame repeated", None, None, None, None, result["video_psnr_repeated"]),
    ]
    return "\n\n".join(
        [
            f"bsd-dynamic: {result['images']} scenes; {100 * result['valid_share']:.0f} % of their pixels have a "
            f"known path, which departs from a straight line by {result['bend']:.2f} px (median); depth moves things "
            f"by {result['depth_effect']:.2f} px.",
            _markdown_table(rows),
            _check_table(result),
        ]
    )


def _check_table(result: dict[str, Any]) -> str:
    """The pipeline's own check, and whether it knows which answers are good."""
    rows: list[tuple[Any, ...]] = [("", "mean", "rank correlation with the error")]
    rows.append(
        ("PSNR of the reblurred frame", result["consistency_psnr"], result["consistency_rank_correlation"]),
    )
    rows.append(("share of the changes explained", result["explained"], result["explained_rank_correlation"]))
    return (
        "The pipeline's own check, without the truth; below zero, its rank correlations with the trajectory error "
        "(of the share, with the error's part of no motion's) tell good answers from bad ones.\n\n"
        + _markdown_table(rows)
    )


def _motion_flow_tables(result: dict[str, Any]) -> str:
    ours = (f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"], result["motion_mse"])
    header = ("", "reblur PSNR", "reblur SSIM", "motion MSE")
    motion: list[tuple[Any, ...]] = [header, *QUOTED_TABLE_2, *PAPER_TABLE_2, ours]
    if "line_reblur_psnr" in result:
        name = f"ours, {result['model']}, by line kernels"
        motion.append((name, result["line_reblur_psnr"], result["line_reblur_ssim"], result["motion_mse"]))
    paper = {name.removeprefix("paper, "): row for name, *row in PAPER_TABLE_2}.get(result["trajectory"])
    if paper is not None:
        motion.append((f"ours less the paper's {result['trajectory']}", *map(_difference, ours[1:], paper)))
    motion.append(("no motion at all", result["blurred_psnr"], result["blurred_ssim"], result["motion_mse_zero"]))
    sharp = [("", "PSNR", "SSIM"), ("blurred", result["blurred_psnr"], result["blurred_ssim"])]
    if result["deblurrer"] is not None:
        sharp.append((f"deblurred, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"]))
    published = result["motion_mse_published"]
    return "\n\n".join(
        [
            f"{result['benchmark']}: {counted(result['images'], 'photo')}, "
            f"{counted(result['pairs'], 'blurred image')}.",
            _markdown_table(motion),
            "Our motion MSE is invariant to time reversal only. As the paper's published script computes it, which "
            f"forgives mirrored directions too, it is {_cell('', published)}. SSIM is scikit-image's on floats; which "
            "one the paper printed is unknown. The paper's photos and flows are of this kind, but not the same.",
            _markdown_table(sharp),
        ]
    )


def _gopro_tables(result: dict[str, Any]) -> str:
    ours = (f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"])
    reblur: list[tuple[Any, ...]] = [
        ("", "reblur PSNR", "reblur SSIM"),
        *QUOTED_GOPRO_REBLUR,
        *PAPER_GOPRO_REBLUR,
        ours,
    ]
    paper = {name.removeprefix("paper, "): row for name, *row in PAPER_GOPRO_REBLUR}.get(_paper_row(result))
    if paper is not None:
        reblur.append((f"ours less the paper's {_paper_row(result)}", *map(_difference, ours[1:], paper)))
    reblur.append(("no motion at all", result["blurred_psnr"], result["blurred_ssim"]))
    deblur: list[tuple[Any, ...]] = [("", "PSNR", "SSIM"), *QUOTED_GOPRO_DEBLUR, *PAPER_GOPRO_DEBLUR]
    if result["deblurrer"] is not None:
        ours = (f"ours, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"])
        deblur.append(ours)
        name = f"MA-DMPHN {result.get('deblurrer_trajectory')}"
        paper = {name.removeprefix("paper, "): row for name, *row in PAPER_GOPRO_DEBLUR}.get(name)
        if paper is not None:
            deblur.append((f"ours less the paper's {name}", *map(_difference, ours[1:], paper)))
    deblur.append(("blurred", result["blurred_psnr"], result["blurred_ssim"]))
    whole = result["images"] == GOPRO_TEST_PAIRS and result["tracks"] is None
    part = "" if whole else " They are not GoPro's test set: the rows do not compare."
    return "\n\n".join(
        [
            f"gopro: {counted(result['images'], 'pair')}.{part}",
            _markdown_table(reblur),
            f"Estimated displacements are {_cell('', result['motion_length'])} px long on average.",
            _markdown_table(deblur),
        ]
    )


def _pairs_tables(result: dict[str, Any]) -> str:
    reblur: list[tuple[Any, ...]] = [("", "reblur PSNR", "reblur SSIM")]
    reblur.append((f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"]))
    reblur.append(("no motion at all", result["reblur_psnr_zero"], result["reblur_ssim_zero"]))
    deblur: list[tuple[Any, ...]] = [("", "PSNR", "SSIM", "mean gain", "lowest gain")]
    if result["deblurrer"] is not None:
        gains = (result["deblur_gain"], result["deblur_gain_lowest"])
        deblur.append((f"ours, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"], *gains))
    deblur.append(("blurred", result["blurred_psnr"], result["blurred_ssim"], 0.0, 0.0))
    return "\n\n".join([f"pairs: {result['images']}.", _markdown_table(reblur), _markdown_table(deblur)])


def _paper_row(result: dict[str, Any]) -> str:
    """The row of the paper's Tables 2-4 whose estimator is like ours."""
    samples = result["num_samples"]
    name = result["trajectory"] if samples == 15 else f"{result['trajectory']}, N = {samples}"
    weights = result.get("loss_weights", {})
    left_out = [LOSS_TERMS[term] for term, weight in weights.items() if not weight]
    return f"{name} without {' and '.join(left_out)} loss" if left_out else name


def _difference(ours: float | None, paper: float | None) -> float | None:
    return None if ours is None or paper is None else ours - paper


def _markdown_table(rows: Sequence[tuple[Any, ...]]) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    cells = [header, rule, *([row[0], *map(_cell, header[1:], row[1:])] for row in body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _cell(title: str, value: float | None) -> str:
    if value is None:
        return "-"
    if title == "parameters":
        return f"{value:,.0f}"
    return f"{value:.{DIGITS.get(title.rpartition(' ')[2], 2)}f}"

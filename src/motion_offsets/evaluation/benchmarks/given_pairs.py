"""``pairs``: any folder of blurred and sharp pictures, each answer beside doing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.reading.layouts import split_of_folders
from ..tables import markdown_table, shared_tables
from .base import Asked, Benchmark, Declaration, Row
from .pairs import PairsBenchmark
from .sharp_frame import REFINED


class GivenPairsBenchmark(PairsBenchmark):
    """All pairs of a source that is not divided into splits, one row each; see
    :class:`~motion_offsets.evaluation.benchmarks.pairs.PairsBenchmark`."""

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """As of ``gopro``, and: ``reblur_psnr_zero`` and ``reblur_ssim_zero``, the true sharp frame without any motion
        against the photo; ``deblur_gain``, the mean gain in PSNR over the blurred photo in dB, ``deblur_gain_lowest``,
        that of the pair that gains least, and ``deblur_losses``, how many pairs lose."""
        found = super().figures(rows)
        found |= {"reblur_psnr_zero": found["blurred_psnr"], "reblur_ssim_zero": found["blurred_ssim"]}
        gains = [row["deblur_psnr"] - row["blurred_psnr"] for row in rows if row["deblur_psnr"] is not None]
        mean, lowest, losses = (
            (sum(gains) / len(gains), min(gains), sum(gain < 0 for gain in gains)) if gains else (None, None, None)
        )
        return {**found, "deblur_gain": mean, "deblur_gain_lowest": lowest, "deblur_losses": losses}


def _tables(result: dict[str, Any]) -> list[str]:
    reblur: list[tuple[Any, ...]] = [("", "reblur PSNR", "reblur SSIM")]
    reblur.append((f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"]))
    reblur.append(("no motion at all", result["reblur_psnr_zero"], result["reblur_ssim_zero"]))
    deblur: list[tuple[Any, ...]] = [("", "PSNR", "SSIM", "mean gain", "lowest gain")]
    if result["deblurrer"] is not None:
        gains = (result["deblur_gain"], result["deblur_gain_lowest"])
        deblur.append((f"ours, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"], *gains))
    deblur.append(("blurred", result["blurred_psnr"], result["blurred_ssim"], 0.0, 0.0))
    own = [f"pairs: {result['images']}.", markdown_table(reblur), markdown_table(deblur)]
    return [*own, *shared_tables(result)]


def _start(asked: Asked) -> Benchmark:
    own = split_of_folders([Path(asked.images).name])[0] or "train"
    refine_steps = asked.refine_steps
    return GivenPairsBenchmark(
        asked.images, asked.limit, split=own, deconvolve=asked.deconvolve, refine_steps=refine_steps
    )


BENCHMARK = Declaration("pairs", _start, _tables, {"refine_steps": REFINED})

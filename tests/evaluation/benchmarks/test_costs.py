"""Seconds of an answer's parts, and sizes of networks."""

from __future__ import annotations

import pytest
import torch

from motion_offsets.evaluation.benchmarks.base import means
from motion_offsets.evaluation.benchmarks.costs import Stopwatch, size_figures


def test_the_extraction_is_all_parts_and_is_none_without_a_clip() -> None:
    watch = Stopwatch(torch.device("cpu"))
    assert set(watch.figures().values()) == {None}
    for name in ("motion", "sharp frame"):
        with watch.part(name):
            torch.ones(100, 100).sum()
    assert watch.figures()["extraction_seconds"] is None
    with watch.part("clip"):
        torch.ones(100, 100).sum()
    figures = watch.figures()
    assert figures["estimator_seconds"] > 0
    assert figures["extraction_seconds"] == pytest.approx(sum(watch.seconds.values()))


def test_sizes_count_as_the_paper_does() -> None:
    figures = size_figures("estimator", torch.nn.Linear(999, 1000), 2_000_100)
    assert figures == {
        "estimator_parameters": 1_000_000,
        "estimator_float32_mb": 4.0,
        "estimator_file_mb": 2.0001,
    }
    assert size_figures("estimator", torch.nn.Linear(1, 1), None)["estimator_file_mb"] is None


def test_seconds_are_medians_and_some_figures_are_of_some_photos_only() -> None:
    rows = [{"a_seconds": value, "flat": flat, "psnr": flat} for value, flat in ((9.0, None), (1.0, 2.0), (2.0, 4.0))]
    assert means(rows, ("flat",)) == {"a_seconds": 2.0, "flat": 3.0, "psnr": None}
    assert means(rows[:1], ("flat",)) == {"a_seconds": 9.0, "flat": None, "psnr": None}

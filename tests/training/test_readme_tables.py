"""The tables of train/README.md are what the results say."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

import reproduce_tables
import shipped_tables
from launching import TRAIN
from reproduce_tables import Table, to_markdown

README = (TRAIN / "README.md").read_text()


@pytest.mark.parametrize("table", shipped_tables.TABLES, ids=lambda table: f"{table.benchmark}-{len(table.rows)}")
def test_shipped_weights(table: Table) -> None:
    assert to_markdown(table, shipped_tables.shipped_results(table)) in README


@pytest.mark.parametrize("name", reproduce_tables.TABLES)
def test_scaled_down(name: str) -> None:
    table, results = reproduce_tables.TABLES[name], TRAIN / "results" / "reproduce"
    measured = {row: json.loads((results / f"{row.name}.json").read_text()) for row in table.rows}
    assert to_markdown(table, measured) in README

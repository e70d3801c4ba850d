"""Which of the damaged inputs are tried: a sample, or all with ``--all-malformed``."""

from __future__ import annotations

import random

import pytest

SAMPLE = 40


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a sample of the parametrized tests of this folder, the same one in every run."""
    if config.getoption("--all-malformed"):
        return
    here = [item for item in items if item.get_closest_marker("malformed")]
    kept = set(random.Random(0).sample(sorted(item.nodeid for item in here), min(SAMPLE, len(here))))
    left_out = [item for item in here if item.nodeid not in kept]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]

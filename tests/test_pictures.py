"""The pictures are those of the current weights, and the README's table that of the current results."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def examples_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


@pytest.mark.usefixtures("examples_importable")
def test_pictures_are_of_the_current_weights() -> None:
    pytest.importorskip("skimage", reason="the extra `eval` is not installed")
    fingerprint = runpy.run_path(str(ROOT / "examples" / "pictures.py"))["fingerprint"]()
    drawn_from = json.loads((ROOT / "docs" / "pictures" / "weights.json").read_text())
    assert drawn_from == fingerprint, "run make pictures"


def test_every_picture_of_the_pages_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = [(page, target) for page in pages for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())]
    assert len(shown) >= 4
    assert [str(page) for page, target in shown if not (page.parent / target).is_file()] == []


def test_the_readme_shows_the_measured_figures() -> None:
    filled = runpy.run_path(str(ROOT / "train" / "readme_table.py"))["filled"]
    readme = (ROOT / "README.md").read_text()
    assert filled(readme) == readme, "run python train/readme_table.py"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1200


def test_tracked_pictures_stay_small() -> None:
    pictures = [*(ROOT / "docs" / "pictures").iterdir(), *(ROOT / "examples").glob("*.*")]
    assert sum(file.stat().st_size for file in pictures) < 6 * 2**20

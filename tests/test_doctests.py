"""The examples in docstrings do as printed, in a folder that holds the photos that they name."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from PIL import Image

SOURCE = Path(__file__).parents[1] / "src"
MODULES = [
    ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    for file in sorted(SOURCE.rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for photo in ("photo.jpg", "one.jpg", "two.png"):
        Image.new("RGB", (64, 48), "gray").save(tmp_path / photo)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0

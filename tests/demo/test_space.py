"""The Space's folder agrees with the package that it runs."""

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_the_space_installs_what_the_package_needs() -> None:
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "hub" / "space" / "requirements.txt").read_text().splitlines()
    wanted = project["dependencies"] + project["optional-dependencies"]["fast"]
    assert [line for line in lines if not line.startswith("#")] == wanted


def test_the_space_runs_the_gradio_that_is_tested() -> None:
    _, head, _ = (ROOT / "hub" / "space" / "README.md").read_text().split("---\n", 2)
    settings = yaml.safe_load(head)
    assert settings["sdk_version"] == version("gradio")
    assert (ROOT / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60

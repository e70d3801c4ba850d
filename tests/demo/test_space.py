"""The Space's folder agrees with the package that it runs, and starts from what it installs."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import yaml

from motion_offsets.publishing.staging import SPACE, stage

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "hub" / "space" / "requirements.txt"
INSTALL = "MOTION_OFFSETS_TEST_SPACE"


def _requirements() -> list[str]:
    return [line for line in REQUIREMENTS.read_text().splitlines() if line and line[0] not in "#-"]


def _settings() -> dict[str, str]:
    _, head, _ = (ROOT / "hub" / "space" / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head)


def test_the_space_installs_what_the_package_needs_in_the_versions_that_were_tested() -> None:
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["fast"]
    tested = re.findall(r"^(\S+==\S+)(?: ; python_version >= .*)?$", (ROOT / "constraints.txt").read_text(), re.M)
    names = [re.match(r"[\w-]+", need).group() for need in needed]  # type: ignore[union-attr]
    assert [line.partition("==")[0] for line in _requirements()] == names
    assert set(_requirements()) <= set(tested)


def test_the_space_takes_the_build_of_pytorch_for_cpus() -> None:
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in REQUIREMENTS.read_text().splitlines()


def test_the_space_runs_the_gradio_that_is_tested() -> None:
    settings = _settings()
    assert settings["sdk_version"] == version("gradio")
    assert (ROOT / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60


@pytest.mark.skipif(INSTALL not in os.environ, reason=f"takes minutes, and pip's index; set {INSTALL}=1")
def test_the_staged_space_starts_in_a_fresh_environment(tmp_path: Path) -> None:
    (tmp_path / "staged").mkdir()
    space = stage(ROOT, tmp_path / "staged", "lab", [SPACE])[0].folder
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / ("Scripts" if os.name == "nt" else "bin") / "python"
    # Without PyTorch's index, the pins are found in pip's own.
    (tmp_path / "requirements.txt").write_text("\n".join(_requirements()))
    wanted = ["-r", str(tmp_path / "requirements.txt"), f"gradio=={_settings()['sdk_version']}"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "GRADIO_SERVER_PORT": str(port),
        "SPACE_ID": "lab/motion-offsets",
        "GRADIO_TEMP_DIR": str(tmp_path / "g"),
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    with subprocess.Popen([python, "app.py"], cwd=space, env=environment) as process:
        try:
            # The picture of a link to the page is of an answer that the networks have computed.
            assert _get(f"http://127.0.0.1:{port}/preview.jpg", process).headers["content-type"] == "image/jpeg"
            page = _get(f"http://127.0.0.1:{port}/", process).text
            assert "https://huggingface.co/lab/blur-to-video" in page
        finally:
            process.terminate()


def _get(address: str, process: subprocess.Popen[bytes]) -> httpx.Response:
    while process.poll() is None:
        try:
            return httpx.get(address, timeout=300, trust_env=False).raise_for_status()
        except httpx.TransportError:
            select.select([], [], [], 0.2)  # leaves the processor to the server
    pytest.fail(f"the Space has ended with {process.returncode}; {sys.executable} ran this test")

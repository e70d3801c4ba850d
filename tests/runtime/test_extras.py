"""What is told of an optional package that is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from motion_offsets import BadInputError
from motion_offsets.runtime.extras import PACKAGES, pip_install, require

SOURCES = Path(__file__).resolve().parents[2] / "src"


def test_the_packages_are_those_of_the_extras() -> None:
    declared = {
        (requirement.name, str(requirement.specifier))
        for requirement in map(Requirement, requires("motion-offsets") or [])
        if requirement.marker is not None
    }
    for module, package in PACKAGES.items():
        requirement = Requirement(package)
        assert (requirement.name, str(requirement.specifier)) in declared, package
        installed = packages_distributions().get(module)
        assert installed is None or requirement.name in [canonicalize_name(name) for name in installed]


def test_missing_ones_are_named_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInputError) as error:
        require("ONNX", "onnx", "numpy", "onnxscript")
    assert str(error.value) == 'ONNX needs onnx and onnxscript: pip install "onnx>=1.18" "onnxscript>=0.5"'
    require("everything", "numpy")


def test_a_shell_reads_the_command_as_it_is_meant() -> None:
    command = f"{sys.executable} -c 'import sys; print(sys.argv[1:])' {pip_install('gradio', 'mcp')}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["pip", "install", "gradio>=6", "mcp>=1.21,<2"])


def test_no_message_names_an_extra() -> None:
    """``pip install '.[eval]'`` works in a checkout alone, and no index has ``motion-offsets[eval]``."""
    extra = re.compile(r"pip install ['\"]?(\.|motion-offsets)\[")
    assert extra.search("pip install '.[eval]'")
    told = [path for path in SOURCES.rglob("*.py") if extra.search(path.read_text())]
    assert told == []

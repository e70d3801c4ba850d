"""What the interpreter does not see: the compiler for a real GPU takes the kernels, as they would be launched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    # A process of its own, as under the interpreter there is nothing to compile; an empty cache, so that it is done.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    program = Path(__file__).with_name("build_for_gpu.py")
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _ in built] == 3 * ["_forward", "_backward"] + 2 * [
        "_forward",
        "_backward",
        "_backward_filter",
    ]
    assert all(int(size) > 1000 for _, size in built)

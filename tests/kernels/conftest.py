"""Where the Triton kernels of the tests run."""

from __future__ import annotations

import os

import pytest
import torch
from packaging.version import Version


@pytest.fixture
def triton_device(monkeypatch: pytest.MonkeyPatch) -> str:
    """A GPU if there is one, otherwise the CPU, on which Triton's interpreter runs the same kernels."""
    triton = pytest.importorskip("triton", reason="triton is not installed")
    if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        monkeypatch.delenv("MOTION_OFFSETS_KERNELS", raising=False)
        return "cuda"
    if Version(triton.__version__) < Version("3.7"):
        pytest.skip(f"the interpreter of Triton {triton.__version__} does not go with today's NumPy")
    monkeypatch.setenv("MOTION_OFFSETS_KERNELS", "triton")
    return "cpu"

"""What all tests share: no network, photos that a package ships, and the data folder where there is one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before anything imports the Hub's client: a test that reaches for the network is a broken test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"  # the Hub of the tests speaks LFS

# Each worker of pytest-xdist has its own caches, so that no test meets what another, or an earlier run, left.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="motion-offsets-tests-")
os.environ["MOTION_OFFSETS_CACHE"] = os.path.join(os.environ["HF_HOME"], "motion-offsets")
# Workers share the cores: one thread each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from PIL import Image

# Before anything imports Triton: where there is no GPU, its interpreter runs the kernels of the tests.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make robustness`` tries all the malformed inputs."""
    parser.addoption("--all-malformed", action="store_true", help="all malformed inputs, by default a sample")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def sample_photo() -> Callable[[str], Path]:
    """Path of a photo in scikit-image's wheel: ``clock_motion`` (really blurred), ``astronaut``, ``coffee``, ..."""
    from skimage.data import data_dir

    return lambda name: Path(data_dir) / f"{name}.png"


@pytest.fixture
def astronaut(sample_photo: Callable[[str], Path]) -> torch.Tensor:
    """A sharp photo, ``(1, 3, 512, 512)`` float32 in [0, 1]."""
    with Image.open(sample_photo("astronaut")) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :mod:`tiny_models`, shared by all tests of a worker: none may write there."""
    from tiny_models import save_tiny_models

    return save_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of research photos; a test that takes it is skipped where ``MOTION_OFFSETS_DATA`` names none."""
    folder = os.environ.get("MOTION_OFFSETS_DATA")
    if not folder:
        pytest.skip("MOTION_OFFSETS_DATA is not set: it names the folder of research photos")
    return Path(folder)

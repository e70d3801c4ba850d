"""What the tests of data sets share: a scene that moves, and folders of it in the layouts that people have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_files import save
from scipy import ndimage


@pytest.fixture(scope="session")
def scene() -> Callable[[int], np.ndarray]:
    """A smooth coloured scene, ``(40, 64, 3)`` uint8, so many pixels further to the right."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).uniform(size=(40, 64, 3)), (3, 3, 0), mode="wrap")
    pixels = np.uint8(255 * (noise - noise.min()) / np.ptp(noise))
    return lambda shift: np.roll(pixels, shift, 1)


@pytest.fixture
def gopro(tmp_path: Path, scene: Callable[[int], np.ndarray]) -> Path:
    """GOPRO_Large in miniature: frame n is the scene shifted by n, its blurs by 100 and 200 more."""
    root = tmp_path / "GOPRO_Large"
    for split, sequences in (("train", ("GOPR0372_07_00", "GOPR0374_11_01")), ("test", ("GOPR0384_11_00",))):
        for sequence in sequences:
            for frame in (47, 48):
                for shift, role in ((100, "blur"), (200, "blur_gamma"), (0, "sharp")):
                    save(root / split / sequence / role / f"{frame:06d}.png", scene(frame + shift))
    return root

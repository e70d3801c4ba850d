"""What the tests of training share: a few photos and pairs, small; in-process runs leave the signals as they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageFilter


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage.data import data_dir

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        with Image.open(Path(data_dir) / f"{name}.png") as image:
            image.convert("RGB").resize((256, 224)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def pairs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GOPRO_Large in miniature: one sequence a split, blurred sideways."""
    root = tmp_path_factory.mktemp("GOPRO_Large")
    for split, sequence in (("train", "GOPR0372_07_00"), ("test", "GOPR0384_11_00")):
        for role in ("blur", "blur_gamma", "sharp"):
            (root / split / sequence / role).mkdir(parents=True)
        for number, photo in enumerate(sorted(photos.iterdir()), 1):
            with Image.open(photo) as image:
                image.save(root / split / sequence / "sharp" / f"{number:06d}.png")
                blurred = image.filter(ImageFilter.BoxBlur((4, 0)))
            for role in ("blur", "blur_gamma"):
                blurred.save(root / split / sequence / role / f"{number:06d}.png")
    return root


@pytest.fixture(scope="session")
def sideways(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GOPRO_Large_all in miniature: a test sequence of 14 frames that moves by 3 pixels per frame."""
    root = tmp_path_factory.mktemp("GOPRO_Large_all")
    (root / "test" / "GOPR0384_11_00").mkdir(parents=True)
    with Image.open(photos / "coffee.png") as image:
        for number in range(14):
            frame = image.crop((3 * number, 0, 3 * number + 200, 200))
            frame.save(root / "test" / "GOPR0384_11_00" / f"{number:06d}.png")
    return root


@pytest.fixture
def _signals() -> Iterator[None]:
    """A run in this process takes the signals to itself; afterwards they are pytest's again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def _precision_of_its_own() -> Iterator[None]:
    """accelerate decides once which precision a process trains in: this test decides again, and so do later ones."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)

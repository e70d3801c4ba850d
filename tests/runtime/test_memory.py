"""A photo that does not fit into the memory bound is refused at once, and the message says which bound would do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from motion_offsets.cli.app import app
from motion_offsets.errors import BadInputError
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.memory import (
    DEBLURRER_BYTES,
    ESTIMATOR_BYTES,
    check_photo_fits,
    max_tile_pixels,
    tile_pixels,
)


def test_the_bound_becomes_tile_pixels() -> None:
    assert max_tile_pixels(4e9, 1_000_000, 1000) == 3_915_000
    assert max_tile_pixels(4e9, 1_000_000, 1000, batch_size=2) == 1_915_000


@pytest.mark.parametrize("megapixels", [0.1, 24, 60, 100])
@pytest.mark.parametrize("network_bytes", [ESTIMATOR_BYTES, DEBLURRER_BYTES])
def test_the_bound_that_is_named_is_enough(megapixels: float, network_bytes: float) -> None:
    pixels = int(megapixels * 1e6)
    with pytest.raises(BadInputError, match="do not fit") as refused:
        max_tile_pixels(2e6, pixels, network_bytes)
    named = re.search(r"`max_memory` (\S+)GB", str(refused.value))
    enough = float(named[1]) * 1e9
    assert max_tile_pixels(enough, pixels, network_bytes) > 0
    with pytest.raises(BadInputError):
        max_tile_pixels(enough - 1e8, pixels, network_bytes)


def test_tiles_leave_room_for_kept_memory_where_there_is_room() -> None:
    keep_freed_memory(False)  # whatever ran in this process before
    assert tile_pixels(4e9, 1_000_000, 1000) == 3_915_000
    if not keep_freed_memory():
        pytest.skip("only glibc's allocator can be told to keep memory")
    try:
        assert tile_pixels(4e9, 1_000_000, 1000) == int(3_915_000_000 / 1300)
        assert tile_pixels(4e9, 1_000_000, 1000, on_cpu=False) == 3_915_000
        assert tile_pixels(4e9, 40_000_000, 1000) == 600_000  # 3.4 of the 4 GB hold the photo
    finally:
        keep_freed_memory(False)


def test_a_bound_for_one_network_alone() -> None:
    """44 megapixels fit the estimator and not the deblurrer: no reason to run the one first."""
    check_photo_fits(4e9, 44_000_000, ESTIMATOR_BYTES)
    with pytest.raises(BadInputError):
        check_photo_fits(4e9, 44_000_000)


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_photo_of_60_megapixels_is_refused_before_it_is_decoded(
    models: Path, tmp_path: Path, more: list[str]
) -> None:
    photo = tmp_path / "large.png"
    Image.new("1", (10000, 6000)).save(photo)
    # Its header is whole and its pixels are not: only a photo that is decoded would be called broken.
    photo.write_bytes(photo.read_bytes()[:200])
    used = ["--model", models / "motion", "--deblurrer", models / "sharp", "--device", "cpu", *more]
    result = CliRunner().invoke(app, [str(each) for each in ("extract", photo, "-o", tmp_path / "out", *used)])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert "60 megapixels do not fit into a memory limit of 4 GB; give at least --max-memory 5.4GB" in line
    assert not (tmp_path / "out" / "large").exists()

"""Crops of given pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from picture_files import save

pytest.importorskip("datasets", reason="the extra `train` is not installed")

from motion_offsets.data.crops.flow_crops import CropRecipe
from motion_offsets.data.crops.pair_crops import PairCrops
from motion_offsets.errors import BadInputError


def test_both_pictures_are_cropped_turned_and_mirrored_alike(tmp_path: Path, scene: Callable) -> None:
    save(tmp_path / "pairs" / "sharp" / "1.png", scene(0))
    save(tmp_path / "pairs" / "blur" / "1.png", 255 - scene(0))
    crops = PairCrops(tmp_path / "pairs", 8, CropRecipe(crop_size=24, margin=4))
    items = [crops[index] for index in range(len(crops))]
    for item in items:
        assert item["sharp"].shape == (3, 32, 32)
        torch.testing.assert_close(item["blurred"], 1 - item["sharp"][:, 4:-4, 4:-4], rtol=0, atol=1e-6)
        assert not item["known"].any()
    assert not torch.equal(items[0]["sharp"], items[1]["sharp"])


def test_items_depend_on_seed_and_number_alone(gopro: Path) -> None:
    recipe = CropRecipe(crop_size=24, margin=2, noise_share=1.0)
    first, again, other = (PairCrops([gopro, gopro], 8, recipe, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[5][name], again[5][name]) for name in ("blurred", "sharp"))
    assert not torch.equal(first[5]["sharp"], other[5]["sharp"])


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such folder"):
        PairCrops(tmp_path / "gone", 1)

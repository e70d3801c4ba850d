"""Crops that are rendered once: what is read is what was rendered, turned rightly from the second pass on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets.data.crops.crop_shards import CropShards, render_crops
from motion_offsets.data.crops.flow_crops import CropRecipe, MotionFlowCrops
from motion_offsets.data.scenes.motion_flow import blur_with_flow
from motion_offsets.errors import BadInputError

RECIPE = CropRecipe(crop_size=32, margin=24, layered_share=0.5)


@pytest.fixture
def crops(tmp_path: Path) -> MotionFlowCrops:
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (100, 110, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return MotionFlowCrops(tmp_path / "photos", 5, RECIPE, seed=2)


def test_the_first_pass_is_what_was_rendered(crops: MotionFlowCrops, tmp_path: Path) -> None:
    render_crops(crops, tmp_path / "kept", {"seed": 2})
    kept = CropShards(tmp_path / "kept", 12)
    assert len(kept) == 12
    for index in range(5):
        rendered, read = crops[index], kept[index]
        assert read.keys() == rendered.keys()
        for name, tolerance in (("blurred", 1e-6), ("sharp", 1e-6), ("ends", 0.01), ("known", 0), ("gamma", 0)):
            expected = torch.as_tensor(rendered[name], dtype=torch.float32)
            torch.testing.assert_close(
                torch.as_tensor(read[name]), expected, rtol=0, atol=tolerance, check_dtype=False
            )


def test_turned_crops_are_the_blur_of_turned_photos(crops: MotionFlowCrops, tmp_path: Path) -> None:
    render_crops(crops, tmp_path / "kept", {})
    kept = CropShards(tmp_path / "kept", 45)
    seen = set()
    for index in range(5, 45):
        item = kept[index]
        start, end = item["ends"]
        assert ((end - start)[0] >= 0).all()
        blurred = blur_with_flow(item["sharp"], (end - start).round().numpy(), (24, 24))
        assert (item["blurred"] - blurred).abs().max() <= 1 / 255 + 1e-6
        seen.add((index % 5, item["blurred"].sum(0).flatten()[:8].numpy().tobytes()))
        again = CropShards(tmp_path / "kept", 45)[index]
        assert torch.equal(again["blurred"], item["blurred"])
    assert len(seen) > 20  # of 8 turns each of 5 crops


def test_crops_of_something_else_are_refused(crops: MotionFlowCrops, tmp_path: Path) -> None:
    render_crops(crops, tmp_path / "kept", {"seed": 2})
    before = (tmp_path / "kept" / "sharp.npy").stat().st_mtime_ns
    render_crops(crops, tmp_path / "kept", {"seed": 2})
    assert (tmp_path / "kept" / "sharp.npy").stat().st_mtime_ns == before
    with pytest.raises(BadInputError, match="its crops have seed 2, not 3; give another folder"):
        render_crops(crops, tmp_path / "kept", {"seed": 3})
    with pytest.raises(BadInputError, match="photos: exists and holds no crops"):
        render_crops(crops, tmp_path / "photos", {})


def test_an_interrupted_rendering_leaves_nothing(crops: MotionFlowCrops, tmp_path: Path) -> None:
    class Interrupted(MotionFlowCrops):
        def __getitem__(self, index: int) -> dict:
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        render_crops(Interrupted(tmp_path / "photos", 5, RECIPE), tmp_path / "kept", {})
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be written there"):
        render_crops(crops, tmp_path / "file" / "kept", {})

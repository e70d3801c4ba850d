"""Training crops: reproducible, blurred by the flow they come with, and complaints about bad folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets.data.crops.flow_crops import CropRecipe, MotionFlowCrops
from motion_offsets.data.scenes.motion_flow import blur_with_flow
from motion_offsets.errors import BadInputError
from motion_offsets.io.photo_files import PhotoStore, list_photos, read_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (120, 90)), ("b.jpg", (60, 140))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a photo")
    return tmp_path


def test_items_depend_on_seed_and_index_alone(photos: Path) -> None:
    recipe = CropRecipe(crop_size=32, margin=8, layered_share=0.5, noise_share=0.5, jpeg_share=0.5)
    one, two = (MotionFlowCrops(photos, 100, recipe, seed=4) for _ in range(2))
    two[3]
    for name, value in one[7].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[7][name]))
    assert not torch.equal(one[7]["blurred"], one[8]["blurred"])
    assert not torch.equal(one[7]["blurred"], MotionFlowCrops(photos, 100, recipe, seed=5)[7]["blurred"])


def test_the_flow_makes_the_blur_of_the_sharp_crop(photos: Path) -> None:
    crops = MotionFlowCrops(photos, 10, CropRecipe(crop_size=32, margin=24, layered_share=0.5))
    for index in range(10):
        item = crops[index]
        assert item["blurred"].shape == (3, 32, 32)
        assert item["sharp"].shape == (3, 80, 80)
        start, end = item["ends"]
        assert torch.equal(start, -end)
        assert (end[0] >= 0).all()
        assert (item["known"] == 1).all()
        blurred = (blur_with_flow(item["sharp"], (end - start).numpy(), (24, 24)) * 255).round() / 255
        assert (item["blurred"] - blurred).abs().max() <= 1 / 255 + 1e-6


def test_shares_of_still_and_layered_crops(photos: Path) -> None:
    still = MotionFlowCrops(photos, 5, CropRecipe(crop_size=32, margin=8, still_share=1.0))
    assert all((still[index]["ends"] == 0).all() for index in range(5))
    assert torch.equal(still[0]["blurred"], still[0]["sharp"][:, 8:-8, 8:-8])


def test_a_crop_out_of_focus_is_so_before_it_moves(photos: Path) -> None:
    plain, soft = (
        MotionFlowCrops(photos, 4, CropRecipe(crop_size=32, margin=24, still_share=1.0, defocus_share=share))
        for share in (0.0, 1.0)
    )
    for index in range(4):
        assert (soft[index]["ends"] == 0).all()
        assert soft[index]["sharp"].std() < 0.6 * plain[index]["sharp"].std()
        inner = soft[index]["sharp"][:, 24:-24, 24:-24]
        assert (soft[index]["blurred"] - inner).abs().max() <= 0.5 / 255 + 1e-6


def test_layers_that_stand_still(photos: Path) -> None:
    recipe = CropRecipe(crop_size=32, margin=24, layered_share=1.0, most_regions=4, layer_still_share=1.0)
    ends = [MotionFlowCrops(photos, 9, recipe)[index]["ends"] for index in range(9)]
    assert any(0 < float((end.abs().sum((0, 1)) == 0).float().mean()) < 1 for end in ends)


def test_photos_beyond_the_room_for_them_are_read_again(photos: Path) -> None:
    first, _ = (read_photo(path) for path in list_photos(photos))
    store = PhotoStore(photos, kept_bytes=first.nbytes)
    (photos / "b.jpg").unlink()
    assert (store[0] == first).all()
    with pytest.raises(BadInputError, match=r"b\.jpg"):
        store[1]
    assert len(store) == 2


def test_bad_folders_and_photos_are_named(photos: Path, tmp_path: Path) -> None:
    assert [path.name for path in list_photos(photos)] == ["a.png", "b.jpg"]
    with pytest.raises(BadInputError, match="nowhere: no such folder"):
        list_photos(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no photos in it"):
        list_photos(tmp_path / "empty")
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:200])
    with pytest.raises(BadInputError, match=r"c\.png: "):
        MotionFlowCrops(photos, 1)


@pytest.mark.parametrize("zoom", [0.5, 0, float("nan"), 100])
def test_a_zoom_that_is_none(zoom: float) -> None:
    with pytest.raises(BadInputError, match="crops zoom is .*; it must be a factor from 1 to 8"):
        CropRecipe(zoom=zoom)

"""Training crops of dynamic scenes, and mixtures of them with others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets.data.crops.flow_crops import CropRecipe, MotionFlowCrops
from motion_offsets.data.crops.scene_crops import MixedCrops, SceneCrops
from motion_offsets.data.scenes.dynamic_scenes import GAMMA
from motion_offsets.data.scenes.scene_sampling import SceneRecipe
from motion_offsets.errors import BadInputError

RECIPE = CropRecipe(crop_size=32, margin=12)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    folders = tmp_path / "photos", tmp_path / "objects"
    for folder in folders:
        folder.mkdir()
    Image.fromarray(generator.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(folders[0] / "a.png")
    pixels = generator.integers(0, 256, (20, 20, 4), dtype=np.uint8)
    pixels[4:16, 4:16, 3] = 255
    Image.fromarray(pixels).save(folders[1] / "b.png")
    return folders


def source(photos: tuple[Path, Path], seed: int = 0, **scenes: object) -> SceneCrops:
    return SceneCrops(photos[0], [photos[1]], [], 20, RECIPE, SceneRecipe(**scenes), seed)


def test_items_depend_on_seed_and_index_alone(photos: tuple[Path, Path]) -> None:
    one, two = source(photos, 4), source(photos, 4)
    two[3]
    for name, value in one[7].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[7][name]))
    assert not torch.equal(one[7]["blurred"], one[8]["blurred"])
    assert not torch.equal(one[7]["blurred"], source(photos, 5)[7]["blurred"])


def test_items_fit_those_of_other_sources(photos: tuple[Path, Path]) -> None:
    ours, others = source(photos)[0], MotionFlowCrops(photos[0], 1, RECIPE)[0]
    assert {name: getattr(value, "shape", None) for name, value in ours.items()} == {
        name: getattr(value, "shape", None) for name, value in others.items()
    }
    assert ours["gamma"] == GAMMA
    start, end = ours["ends"]
    assert (end[0] - start[0] >= 0).all()


def test_a_scene_in_which_nothing_moves_is_a_sharp_photo(photos: tuple[Path, Path]) -> None:
    item = source(photos, still_share=1.0)[2]
    assert (item["ends"].abs() < 1e-4).all()
    sharp = item["sharp"][:, 12:-12, 12:-12]
    assert (item["blurred"] - sharp).abs().max() <= 0.51 / 255


def test_a_still_camera_leaves_the_background_alone(photos: tuple[Path, Path]) -> None:
    crops = source(photos, still_camera_share=1.0, most_objects=1, object_size=0.5)
    moving = [(crops[index]["ends"].abs().amax((0, 1)) > 0.01).float().mean() for index in range(6)]
    assert all(share < 0.6 for share in moving)
    assert any(share > 0.01 for share in moving)


def test_a_mixture_takes_each_source_by_its_share(photos: tuple[Path, Path]) -> None:
    sources = MotionFlowCrops(photos[0], 400, RECIPE), source(photos)
    mixed = MixedCrops(sources, [3, 1], seed=1)
    assert len(mixed) == 400
    dynamic = [mixed[index]["gamma"] == GAMMA for index in range(120)]
    assert 0.1 < sum(dynamic) / 120 < 0.4
    assert [MixedCrops(sources, [3, 1], seed=1)[index]["gamma"] == GAMMA for index in range(20)] == dynamic[:20]
    with pytest.raises(BadInputError, match="one of at least 0 for each of 2 sources"):
        MixedCrops(sources, [1])


def test_gentle_scenes_move_by_less_than_ten_pixels(photos: tuple[Path, Path]) -> None:
    def paths(share: float) -> list[float]:
        crops = source(photos, gentle_share=share, shake=40.0)
        return [
            float((item["ends"][1] - item["ends"][0]).norm(dim=0).max()) for item in map(crops.__getitem__, range(12))
        ]

    gentle = paths(1.0)
    assert max(gentle) < 10.5
    assert max(gentle) > 3
    assert max(paths(0.0)) > 20


def test_a_tone_curve_changes_both_pictures_alike(photos: tuple[Path, Path]) -> None:
    plain, toned = source(photos)[3], source(photos, tone_share=1.0)[3]
    assert (plain["gamma"], toned["gamma"]) == (GAMMA, 0)
    assert (plain["sharp"] - toned["sharp"]).abs().max() > 0.02
    # One curve, which rises, takes each value of the sharp frame to its own, and the blurred picture's as well.
    order = plain["sharp"].flatten().argsort()
    x, y = plain["sharp"].flatten()[order].numpy(), toned["sharp"].flatten()[order].numpy()
    assert (np.diff(y) >= -1e-6).all()
    expected = np.interp(plain["blurred"].flatten().numpy(), x, y)
    assert np.abs(expected - toned["blurred"].flatten().numpy()).max() <= 2.5 / 255

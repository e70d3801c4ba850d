"""Crops enlarged with their motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_offsets.data.crops.enlarged_crops import EnlargedCrops
from motion_offsets.data.crops.flow_crops import CropRecipe, MotionFlowCrops
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis

SIZE, MARGIN, COUNT = 96, 40, 12


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> tuple[MotionFlowCrops, EnlargedCrops]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).resize((400, 400), Image.Resampling.BICUBIC).save(folder / "photo.png")
    recipe = CropRecipe(crop_size=SIZE, margin=MARGIN, enlarge=2.0)
    source = MotionFlowCrops(folder, COUNT, recipe, seed=3)
    return source, EnlargedCrops(source, recipe, seed=3)


def test_the_motion_explains_the_enlarged_blur_as_it_did_before(crops: tuple[MotionFlowCrops, EnlargedCrops]) -> None:
    source, enlarged = crops
    basis = trajectory_basis("quadratic", sample_times(31), 31)
    factors = set()
    for index in range(COUNT):
        before, after = source[index], enlarged[index]
        assert {name: getattr(value, "shape", None) for name, value in before.items()} == {
            name: getattr(value, "shape", None) for name, value in after.items()
        }
        middle = before["ends"][..., SIZE // 2, SIZE // 2]
        factors.add(round(float(after["ends"][..., SIZE // 2, SIZE // 2].norm() / middle.norm()), 2))
        errors = []
        for item in (before, after):
            again = expose(item["sharp"][None], item["ends"].flatten(0, 1)[None], basis)
            inner = (again[0] - item["blurred"])[:, 20:-20, 20:-20]
            errors.append(float(inner.square().mean().sqrt()))
        assert errors[1] < errors[0] + 0.01
    assert min(factors) == 1.0
    assert 1.5 < max(factors) <= 2.05


def test_an_item_depends_on_its_number_alone(crops: tuple[MotionFlowCrops, EnlargedCrops]) -> None:
    _, enlarged = crops
    again = EnlargedCrops(enlarged.source, enlarged.recipe, seed=3)
    assert len(again) == COUNT
    for index in (5, 2):
        torch.testing.assert_close(enlarged[index], again[index])


@pytest.mark.parametrize("enlarge", [0.5, 9, float("nan")])
def test_a_factor_that_is_none(enlarge: float) -> None:
    with pytest.raises(BadInputError, match="enlarge"):
        CropRecipe(enlarge=enlarge)

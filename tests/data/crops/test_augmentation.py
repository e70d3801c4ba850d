"""Augmentation keeps geometry true: what is done to the picture and to its offsets agrees with the blur they make."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_offsets.data.crops.augmentation import (
    degrade,
    flip,
    flip_offsets,
    half_plane,
    jitter,
    quarter_turn,
    quarter_turn_offsets,
    random_crop,
    reverse_time,
    textured,
)
from motion_offsets.exposure.blur import create_blur

Change = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
CHANGES: dict[str, Change] = {
    "flip": (flip, flip_offsets),
    "one quarter": (quarter_turn, quarter_turn_offsets),
    "three quarters": (lambda picture: quarter_turn(picture, 3), lambda offsets: quarter_turn_offsets(offsets, 3)),
    "time reversal": (lambda picture: picture, reverse_time),
}


@pytest.mark.parametrize("name", CHANGES)
def test_blurring_and_changing_can_be_done_in_either_order(name: str) -> None:
    torch.manual_seed(0)
    of_picture, of_offsets = CHANGES[name]
    sharp, offsets = torch.rand(1, 3, 20, 26), torch.randn(1, 5, 2, 20, 26) * 3
    changed_first = create_blur(of_picture(sharp), of_offsets(offsets))
    torch.testing.assert_close(changed_first, of_picture(create_blur(sharp, offsets)), atol=1e-5, rtol=1e-5)
    assert not torch.equal(of_offsets(offsets), offsets)


def test_half_plane_turns_every_motion_to_one_side_in_time() -> None:
    start = torch.tensor([[-1.5, 1.0, 0, 0], [0.5, 2, 1, -1]]).view(2, 1, 4)
    end = torch.tensor([[1.5, -2.0, 0, 0], [1, 1, -1, 1]]).view(2, 1, 4)
    turned = half_plane(torch.stack([start, end]))
    assert turned[0, :, 0].tolist() == [[-1.5, -2, 0, 0], [0.5, 1, -1, -1]]
    assert turned[1, :, 0].tolist() == [[1.5, 1, 0, 0], [1, 2, 1, 1]]


def test_texture_is_found_where_an_image_varies_nearby() -> None:
    picture = torch.full((3, 60, 80), 0.5)
    picture[:, 20:40, 10:20] = torch.rand(3, 20, 10)
    found = textured(picture, 5, 0.02)
    assert found.shape == (1, 50, 70)
    assert found[0, 25, 10] == 1
    assert found[0, 25, 20] == 1  # two pixels beside it
    assert found[0, 25, 40] == 0
    assert (textured(picture, 5, 0) == 1).all()


def test_crops_of_small_photos_are_mirrored_to_size() -> None:
    photo = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    crop = random_crop(photo, 8, np.random.default_rng(0))
    assert crop.shape == (8, 8, 3)
    assert set(crop.ravel()) <= set(photo.ravel())


def test_jitter_changes_brightness_and_keeps_black() -> None:
    photo = np.full((4, 4, 3), 100, np.uint8)
    photo[0] = 0
    changed = jitter(photo, np.random.default_rng(0))
    assert (changed[0] == 0).all()
    assert (changed[1:] != 100).any()
    assert changed.dtype == np.uint8


def test_degraded_pictures_have_eight_bits_and_the_noise_asked_for() -> None:
    picture = torch.full((3, 64, 64), 0.5)
    clean = degrade(picture, 0, 0.02, 0, np.random.default_rng(0))
    assert torch.equal(clean, torch.full_like(clean, 128 / 255))
    noisy = degrade(picture, 1, 0.02, 0, np.random.default_rng(1))
    assert 0.0005 < noisy.std() < 0.021
    assert torch.equal(noisy * 255, (noisy * 255).round())
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert not torch.equal(degrade(ramp, 0, 0, 1, np.random.default_rng(2)), (ramp * 255).round() / 255)


def test_an_enlarged_crop_is_a_smaller_place_as_large() -> None:
    """On a ramp of one level per pixel: the enlarged crop rises by as much less, and covers all factors up to zoom."""
    ramp = np.tile(np.arange(200, dtype=np.uint8)[:, None], (200, 1, 3)).reshape(200, 200, 3)
    spans = []
    for seed in range(40):
        crop = random_crop(ramp, 64, np.random.default_rng(seed), zoom=2.0)
        assert crop.shape == (64, 64, 3)
        assert crop.dtype == np.uint8
        spans.append(int(crop.max()) - int(crop.min()) + 1)
    assert min(spans) < 35
    assert max(spans) > 58
    assert 40 < np.median(spans) < 50  # 64 / sqrt(2), as ratios are alike
    usual, one = (random_crop(ramp, 64, np.random.default_rng(5), *zoom) for zoom in ((), (1.0,)))
    assert np.array_equal(usual, one)

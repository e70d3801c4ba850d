"""Which regions count as flat, and the motion there."""

from __future__ import annotations

import pytest
import torch

from motion_offsets.evaluation.flat_regions import FLAT_WINDOW, flat_regions, mean_length


def test_a_region_is_flat_where_its_window_has_no_texture() -> None:
    photo = torch.full((1, 3, 60, 80), 0.5)
    photo[..., 40:] += 0.02 * (torch.arange(40) % 2)
    flat = flat_regions(photo)
    assert flat.shape == (1, 60, 80)
    assert flat[..., : 40 - FLAT_WINDOW // 2].all()
    assert not flat[..., 40:].any()
    # Two of 255 levels pass for noise.
    faint = torch.full((1, 3, 60, 80), 0.5) + 3.8 / 255 * (torch.arange(80) % 2)
    assert flat_regions(faint).all()


def test_the_length_of_the_motion_there() -> None:
    displacement = torch.zeros(1, 2, 4, 6)
    displacement[:, 0, :, :3], displacement[:, 1, :, :3] = 3, -4
    left = torch.zeros(1, 4, 6, dtype=torch.bool)
    assert mean_length(displacement, left) is None
    left[..., :3] = True
    assert mean_length(displacement, left) == pytest.approx(5)
    assert mean_length(displacement, torch.ones_like(left)) == pytest.approx(2.5)

"""Predicted edges: what the shock filter makes of a ramp, and which gradients count."""

from __future__ import annotations

import pytest
import torch

from motion_offsets.exposure.edges import gradients, shock_filtered, strong_gradients


def test_a_ramp_becomes_a_step_in_its_middle() -> None:
    ramp = (torch.arange(32.0) - 12).clamp(0, 7) / 7  # from 0 to 1 over columns 12 to 19
    step = shock_filtered(ramp.expand(1, 1, 20, 32))
    assert (step[..., :15] < 0.1).all()
    assert (step[..., 17:] > 0.9).all()
    assert step.min() >= 0
    assert step.max() <= 1
    torch.testing.assert_close(step.flip(3), shock_filtered(ramp.flip(0).expand(1, 1, 20, 32)))
    torch.testing.assert_close(step.mT, shock_filtered(ramp.expand(1, 1, 20, 32).mT))


def test_an_even_image_stays_as_it_is() -> None:
    plain = torch.full((2, 1, 9, 11), 0.3)
    assert torch.equal(shock_filtered(plain), plain)
    assert not strong_gradients(plain).any()


def test_gradients_of_a_plane() -> None:
    plane = 2 * torch.arange(6.0) + 5 * torch.arange(4.0)[:, None]
    found = gradients(plane[None, None])
    assert (found[0, 0, :, :-1] == 2).all()
    assert (found[0, 1, :-1] == 5).all()
    assert not found[0, 0, :, -1].any()
    assert not found[0, 1, -1].any()


def test_three_tenths_of_the_gradients_are_strong() -> None:
    image = torch.rand(3, 1, 40, 50) * torch.tensor([1.0, 0.1, 10]).view(3, 1, 1, 1)  # of each image by itself
    found = strong_gradients(image)
    kept = found.abs().sum(1) > 0
    assert kept.float().mean((1, 2)).tolist() == pytest.approx([0.3] * 3, abs=0.001)
    torch.testing.assert_close(found, gradients(image) * kept[:, None])
    lengths = gradients(image).norm(dim=1)
    assert all(lengths[one][kept[one]].min() >= lengths[one][~kept[one]].max() for one in range(3))

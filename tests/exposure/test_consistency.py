"""The figures of the honesty check against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from motion_offsets.exposure.blur import create_blur
from motion_offsets.exposure.consistency import BLURRED, assess, blur_measure, gradient_energy, mean_offset_length
from motion_offsets.exposure.trajectories import offsets_at, sample_times


def test_gradient_energy_of_a_ramp() -> None:
    ramp = torch.arange(8.0).expand(1, 3, 6, 8)
    assert gradient_energy(ramp) == pytest.approx(1)
    assert gradient_energy(ramp + 3 * torch.arange(6.0)[:, None]) == pytest.approx(10)


def test_figures_of_a_high_photo_are_those_of_the_whole() -> None:
    image, other, points = torch.rand(1, 3, 300, 40), torch.rand(1, 3, 300, 40), torch.randn(1, 4, 300, 40)
    down, across = image.diff(dim=2).square().mean(), image.diff(dim=3).square().mean()
    assert gradient_energy(image) == pytest.approx(float(down + across), rel=1e-5)
    length = offsets_at(points, sample_times(5), "quadratic").norm(dim=2).mean()
    assert mean_offset_length(points, "quadratic", 5) == pytest.approx(float(length), rel=1e-5)
    found = assess(image, image, other, points, "quadratic", 5)
    assert found.reblur_psnr == pytest.approx(-10 * math.log10(float((image - other).square().mean())), abs=1e-4)


@pytest.mark.parametrize("trajectory", ["linear", "bidirectional-linear", "quadratic"])
def test_mean_offset_length_of_a_straight_motion(trajectory: str) -> None:
    ends = {"linear": [-3.0, -4.0]}.get(trajectory, [-3.0, -4.0, 3.0, 4.0])
    points = torch.tensor(ends).view(1, -1, 1, 1).expand(1, -1, 4, 5)
    # |offset(t)| = 5 |t|, and |t| averages to (1 + 0 + 1) / 3 over three samples.
    assert mean_offset_length(points, trajectory, 3) == pytest.approx(10 / 3)


def test_sharp_photos_do_not_count_as_blurred(astronaut: torch.Tensor) -> None:
    assert blur_measure(astronaut) < BLURRED
    offsets = torch.zeros(1, 15, 2, *astronaut.shape[2:])
    offsets[:, :, 1] = 12 * sample_times(15).view(1, 15, 1, 1)
    assert blur_measure(create_blur(astronaut, offsets)) > BLURRED


def test_blank_and_tiny_photos_have_figures() -> None:
    blank = torch.full((1, 3, 16, 16), 0.5)
    found = assess(blank, blank, blank, torch.zeros(1, 4, 16, 16), "quadratic", 15)
    assert found.blur == 0
    assert not found.unchanged
    assert all(math.isfinite(value) for value in found.values())


def test_rounding_errors_of_a_photo_of_one_colour_are_no_gain_in_sharpness() -> None:
    blank = torch.full((1, 3, 16, 16), 0.5)
    nearly = blank + 1e-4 * torch.rand(1, 3, 16, 16)
    still = torch.zeros(1, 4, 16, 16)
    assert assess(blank, nearly, blank, still, "quadratic", 15).sharpness_gain == 1
    invented = assess(blank, torch.rand(1, 3, 16, 16), blank, still, "quadratic", 15)
    assert invented.sharpness_gain > 1000


def test_reblur_psnr() -> None:
    photo = torch.full((1, 3, 16, 16), 0.5)
    found = assess(photo, photo, photo + 0.1, torch.zeros(1, 4, 16, 16), "quadratic", 15)
    assert found.reblur_psnr == pytest.approx(20, abs=1e-4)

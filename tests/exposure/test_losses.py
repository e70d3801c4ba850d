"""The losses of eq. 6-11 against their definitions."""

import pytest
import torch

from motion_offsets import EtrajConfig, EtrajModel
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.losses import (
    ms_ssim_loss,
    reconstruction_loss,
    regularization_loss,
    total_variation_loss,
    total_variation_plain,
)
from motion_offsets.exposure.trajectories import (
    TRAJECTORIES,
    num_control_points,
    offsets_at,
    sample_times,
    trajectory_basis,
)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_regularization_is_the_mean_square_of_all_offsets(trajectory: str) -> None:
    points = torch.randn(2, 2 * num_control_points(trajectory, 5), 6, 7)
    expected = offsets_at(points, sample_times(5), trajectory).square().mean()
    torch.testing.assert_close(regularization_loss(points, trajectory_basis(trajectory, sample_times(5), 5)), expected)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_total_variation_is_equation_10(trajectory: str) -> None:
    points = torch.randn(3, 2 * num_control_points(trajectory, 5), 6, 7, dtype=torch.float64, requires_grad=True)
    offsets = offsets_at(points, sample_times(5, dtype=torch.float64), trajectory)
    basis = trajectory_basis(trajectory, sample_times(5, dtype=torch.float64), 5)
    expected = offsets.diff(dim=-1).abs().mean() + offsets.diff(dim=-2).abs().mean()
    (gradient,) = torch.autograd.grad(expected, points)
    for variation in (total_variation_loss, total_variation_plain):
        value = variation(points, basis)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, points)[0], gradient)


def test_reconstruction_is_a_mean() -> None:
    assert reconstruction_loss(torch.full((2, 3, 4, 5), 0.5), torch.zeros(2, 3, 4, 5)).item() == 0.25


def test_ms_ssim_needs_large_enough_images_and_says_so() -> None:
    image = torch.rand(1, 3, 128, 128)
    with pytest.raises(BadInputError, match="at least 161 pixels, not 128.*ssim_window_size"):
        ms_ssim_loss(image, image)
    assert ms_ssim_loss(image, image, window_size=7).item() == pytest.approx(0, abs=1e-5)
    assert ms_ssim_loss(image, 1 - image, window_size=7).item() > 0.5


def test_the_training_loss_is_the_same_under_autocast() -> None:
    """MS-SSIM subtracts nearly equal squares, which bfloat16 cannot."""
    torch.manual_seed(0)
    model = EtrajModel(EtrajConfig(base_channels=4, ssim_window_size=3))
    points, sharp = torch.randn(1, 4, 40, 40), torch.rand(1, 3, 40, 40)
    blurred = sharp + 0.01 * torch.randn_like(sharp)
    expected = model.reblur_loss(points, blurred, sharp)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = model.reblur_loss(points, blurred, sharp)[1]
    for name, value in expected.items():
        assert torch.equal(found[name], value), name

"""Deconvolution along known motion: the operators' adjoints, what it recovers, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.metrics import psnr
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.deconvolution import _adjoint_of_residual, _divergence, _gradient, deconvolve
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis

BASIS = trajectory_basis("quadratic", sample_times(15), 15)


def bent_motion(height: int, width: int) -> torch.Tensor:
    points = torch.tensor([-6.0, 2.0, 5.0, 3.0]).view(1, 4, 1, 1)
    return points * torch.linspace(0.5, 1, width).expand(1, 4, height, width)


def test_the_adjoints_are_adjoint() -> None:
    x, y = torch.rand(1, 3, 12, 14, dtype=torch.float64), torch.rand(1, 3, 12, 14, dtype=torch.float64)
    points = bent_motion(12, 14).double()
    back = _adjoint_of_residual(torch.zeros_like(x), -y, points, BASIS, "border")  # B'y
    assert (expose(x, points, BASIS) * y).sum().item() == pytest.approx((x * back).sum().item(), rel=1e-6)
    dual = torch.rand(2, 1, 3, 12, 14, dtype=torch.float64)
    assert (_gradient(x) * dual).sum().item() == pytest.approx(-(x * _divergence(dual)).sum().item())


@pytest.mark.parametrize("gamma", [None, 2.2])
def test_known_motion_is_undone(astronaut: torch.Tensor, gamma: float | None) -> None:
    sharp = astronaut[..., 100:260, 150:330]
    points = bent_motion(160, 180)
    blurred = expose(sharp, points, BASIS, gamma=gamma)
    found = deconvolve(blurred, points, BASIS, 0.0005, gamma=gamma)
    inner = (..., slice(10, -10), slice(10, -10))
    assert psnr(found[inner], sharp[inner]) > psnr(blurred[inner], sharp[inner]) + 4
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_sharp_photo_without_motion_stays(astronaut: torch.Tensor) -> None:
    photo = astronaut[..., :100, :100]
    found = deconvolve(photo, torch.zeros(1, 4, 100, 100), BASIS, smoothness=0)
    torch.testing.assert_close(found, photo, atol=1e-5, rtol=0)


def test_more_smoothness_leaves_less_noise(astronaut: torch.Tensor) -> None:
    noisy = torch.full((1, 3, 60, 60), 0.5) + 0.05 * torch.randn(1, 3, 60, 60)
    rest = torch.zeros(1, 4, 60, 60)
    little, much = (deconvolve(noisy, rest, BASIS, smoothness).std() for smoothness in (0.001, 0.05))
    assert much < 0.5 * little


def test_bad_arguments_are_named() -> None:
    image, points = torch.rand(1, 3, 16, 16), torch.zeros(1, 4, 16, 16)
    with pytest.raises(BadInputError, match="smoothness is -1"):
        deconvolve(image, points, BASIS, smoothness=-1)
    with pytest.raises(BadInputError, match="steps is 0"):
        deconvolve(image, points, BASIS, steps=0)


def test_answers_of_inference_mode_are_taken(astronaut: torch.Tensor) -> None:
    """A pipeline's are of that kind."""
    blurred, points = astronaut[..., :40, :50], bent_motion(40, 50)
    expected = deconvolve(blurred, points, BASIS, steps=3)
    with torch.inference_mode():
        found = deconvolve(blurred.clone(), points.clone(), BASIS.clone(), steps=3)
    torch.testing.assert_close(found, expected)

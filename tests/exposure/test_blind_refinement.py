"""Motion and frame improved by each other: on a photo whose true motion and sharp frame are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets.exposure.blind_refinement import FITS, refine_blindly, working_scale
from motion_offsets.exposure.blur import create_blur
from motion_offsets.exposure.deconvolution import deconvolve
from motion_offsets.exposure.trajectories import offsets_at, sample_times, trajectory_basis

BASIS = trajectory_basis("quadratic", sample_times(31, dtype=torch.float32))
TRUE = (-11.0, -5.0, 11.0, 5.0)
Sharpen = Callable[[Tensor], Tensor]


@pytest.fixture
def shaken(astronaut: Tensor) -> tuple[Tensor, Tensor, Sharpen]:
    """A photo of 320x320 pixels with 24 pixels of motion, its sharp frame, and a deconvolution of it."""
    sharp = astronaut[..., 32:352, 64:384].contiguous()
    photo = create_blur(sharp, offsets_at(_points(*TRUE), sample_times(31).tolist(), "quadratic"))

    def sharpen(points: Tensor) -> Tensor:
        return deconvolve(photo, points, BASIS, steps=15)

    return photo, sharp, sharpen


def _points(*ends: float) -> Tensor:
    return torch.tensor(ends).view(1, 4, 1, 1).expand(1, 4, 320, 320).contiguous()


def _error(points: Tensor) -> float:
    """Mean distance of the ends from the true ones, pixels, whichever way time runs."""
    ways = (_points(*TRUE), _points(*TRUE[2:], *TRUE[:2]))
    return min(float((points - true).unflatten(1, (2, 2)).norm(dim=2).mean()) for true in ways)


def _squared_error(image: Tensor, sharp: Tensor) -> float:
    return float((image - sharp)[..., 24:-24, 24:-24].square().mean())


@pytest.mark.parametrize("first", [(-15.0, -8.0, 15.0, 8.0), (14.0, 6.0, -14.0, -6.0)])
def test_motion_that_is_too_long_is_mended_and_the_frame_gains(
    first: tuple[float, ...], shaken: tuple[Tensor, Tensor, Sharpen]
) -> None:
    photo, sharp, sharpen = shaken
    points, counted = _points(*first), []
    frame = sharpen(points)
    found = refine_blindly(photo, frame, points, "quadratic", BASIS, 40, on_step=lambda: counted.append(None))
    assert len(counted) == FITS * 40
    for moved, share in ((found.control_points, 0.65), (found.of_frame, 0.5)):
        assert _error(moved) < share * _error(points)
        assert _squared_error(sharpen(moved), sharp) < 0.9 * _squared_error(frame, sharp)


@pytest.mark.parametrize("first", [(-11.0, -9.0, 11.0, 9.0), (-11.0, -1.0, 11.0, 1.0)])
def test_motion_in_another_direction_comes_closer(
    first: tuple[float, ...], shaken: tuple[Tensor, Tensor, Sharpen]
) -> None:
    photo, sharp, sharpen = shaken
    points = _points(*first)
    frame = sharpen(points)
    found = refine_blindly(photo, frame, points, "quadratic", BASIS, 40)
    assert _error(found.control_points) < 0.95 * _error(points)
    assert _error(found.of_frame) < 0.9 * _error(points)
    assert _squared_error(sharpen(found.of_frame), sharp) < 0.97 * _squared_error(frame, sharp)


def test_what_stands_still_beside_what_moves_stays_still(shaken: tuple[Tensor, Tensor, Sharpen]) -> None:
    photo, sharp, _ = shaken
    still = torch.arange(320).view(1, 1, 1, 320) >= 160
    photo = torch.where(still, sharp, photo)
    points = torch.where(still, 0.0, _points(-15.0, -8.0, 15.0, 8.0))
    found = refine_blindly(photo, sharp, points, "quadratic", BASIS, 4)
    for moved in (found.control_points, found.of_frame):
        torch.testing.assert_close(moved[..., 160:], points[..., 160:])
        assert not torch.allclose(moved[..., :160], points[..., :160], atol=0.1)


def test_the_estimate_of_the_reduced_photo_counts(shaken: tuple[Tensor, Tensor, Sharpen]) -> None:
    photo, _, sharpen = shaken
    points, seen = _points(-11.0, -9.0, 11.0, 9.0), []

    def estimate(small: Tensor) -> Tensor:
        seen.append(small)
        return _points(*(-end / 2 for end in TRUE))[..., :160, :160]  # time runs the other way, which is as good

    frame = sharpen(points)
    without = refine_blindly(photo, frame, points, "quadratic", BASIS, 40)
    found = refine_blindly(photo, frame, points, "quadratic", BASIS, 40, estimate=estimate)
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], functional.avg_pool2d(photo, 2))
    assert _error(found.control_points) < 0.95 * _error(without.control_points)
    assert _error(found.of_frame) < 0.97 * _error(without.of_frame)


def test_a_photo_that_stands_still_stays_as_it_is(shaken: tuple[Tensor, Tensor, Sharpen]) -> None:
    _, sharp, _ = shaken
    points = torch.zeros(1, 4, 320, 320)
    points[..., :14] = _points(*TRUE)[..., :14]  # 4 % of it moves
    found = refine_blindly(sharp, sharp, points, "quadratic", BASIS, 5)
    assert found.control_points is found.of_frame is points


@pytest.mark.parametrize("size", [(16, 16), (17, 40)])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_small_photos_of_one_colour(size: tuple[int, int], level: float) -> None:
    photo, points = torch.full((1, 3, *size), level), torch.randn(1, 4, *size)
    found = refine_blindly(photo, photo, points, "quadratic", BASIS, 3)
    assert found.control_points is found.of_frame is points


def test_it_works_at_half_size_and_at_a_quarter_megapixel_at_most() -> None:
    assert working_scale(480, 640) == 0.5
    assert working_scale(3000, 4000) == pytest.approx((1 / 48) ** 0.5)

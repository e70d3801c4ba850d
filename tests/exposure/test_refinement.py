"""Refinement: it explains the photo better, brings a wrong path closer to the truth, and keeps its length."""

from __future__ import annotations

import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.metrics import psnr
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.refinement import refine
from motion_offsets.exposure.trajectories import (
    TRAJECTORIES,
    num_control_points,
    offsets_at,
    sample_times,
    trajectory_basis,
)

BASIS = trajectory_basis("quadratic", sample_times(15), 15)


def paths(height: int, width: int, *values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, len(values), 1, 1).expand(1, len(values), height, width).contiguous()


@pytest.mark.parametrize("gamma", [None, 2.2])
def test_a_wrong_path_comes_closer_to_the_true_one(astronaut: torch.Tensor, gamma: float | None) -> None:
    sharp = astronaut[..., 60:188, 120:280]
    true = paths(128, 160, -5.0, 2.0, 5.0, 1.0)
    photo = expose(sharp, true, BASIS, gamma=gamma)
    start = true + paths(128, 160, 1.5, 1.0, -1.0, 1.5)
    found = refine(photo, sharp, start, BASIS, 20, gamma=gamma)
    inner = (..., slice(12, -12), slice(12, -12))
    assert (found - true)[inner].abs().mean() < 0.7 * (start - true)[inner].abs().mean()
    before, after = (expose(sharp, points, BASIS, gamma=gamma)[inner] for points in (start, found))
    assert psnr(after, photo[inner]) > psnr(before, photo[inner]) + 2


def test_a_sharp_frame_that_is_still_blurred_does_not_shorten_the_motion(astronaut: torch.Tensor) -> None:
    """The photo itself as its sharp frame is explained best by no motion."""
    true = paths(128, 160, -6.0, 0.0, 6.0, 0.0)
    photo = expose(astronaut[..., 60:188, 120:280], true, BASIS)
    found = refine(photo, photo, true, BASIS, 20)
    lengths = offsets_at(found, [-1.0, 1.0], "quadratic").norm(dim=2)
    assert lengths.mean() > 5.4


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_every_trajectory_in_inference_mode(astronaut: torch.Tensor, trajectory: str) -> None:
    basis = trajectory_basis(trajectory, sample_times(5), 5)
    with torch.inference_mode():
        photo = astronaut[..., :40, :56].clone()
        points = torch.randn(1, 2 * num_control_points(trajectory, 5), 40, 56)
        found = refine(photo, photo, points, basis, 2)
    assert found.shape == points.shape
    assert torch.isfinite(found).all()
    assert not torch.equal(found, points)


def test_large_photos_are_refined_at_half_a_megapixel_and_in_their_own_pixels(astronaut: torch.Tensor) -> None:
    sharp = torch.nn.functional.interpolate(astronaut, size=(1024, 1024), mode="bicubic").clamp(0, 1)
    true = paths(1024, 1024, -8.0, 3.0, 8.0, 3.0)
    photo = expose(sharp, true, BASIS)
    start = true + paths(1024, 1024, 3.0, 0.0, -3.0, 0.0)
    steps: list[int] = []
    found = refine(photo, sharp, start, BASIS, 12, on_step=lambda: steps.append(1))
    assert len(steps) == 12
    assert (found - true).abs().mean() < 0.8 * (start - true).abs().mean()


def test_no_steps_change_nothing_and_wrong_ones_are_refused(astronaut: torch.Tensor) -> None:
    photo, points = astronaut[..., :20, :20], paths(20, 20, 1.0, 1.0, 1.0, 1.0)
    assert refine(photo, photo, points, BASIS, 0) is points
    for wrong in (-1, 2.5, True):
        with pytest.raises(BadInputError, match=r"refine_steps is .*; give a whole number"):
            refine(photo, photo, points, BASIS, wrong)  # type: ignore[arg-type]

"""Doubled angles: one answer for a path and its reversal, without a jump, and the way back."""

import math

import pytest
import torch

from motion_offsets.exposure.doubled_angle import from_doubled_angle, to_doubled_angle
from motion_offsets.exposure.trajectories import TRAJECTORIES, num_control_points, offsets_at, reverse_time


def _points(trajectory: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2 * num_control_points(trajectory, 5), 6, 7, generator=generator, dtype=torch.float64) * 8


def _straight(angle: float, length: float = 10.0) -> torch.Tensor:
    """A quadratic path from ``-v`` to ``v``."""
    v = [length * math.cos(math.radians(angle)), length * math.sin(math.radians(angle))]
    return torch.tensor([-v[0], -v[1], v[0], v[1]], dtype=torch.float64).view(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("angle", "expected"), [(0, (10, 0)), (45, (0, 10)), (90, (-10, 0)), (-45, (0, -10)), (180, (10, 0))]
)
def test_the_angle_is_doubled_and_the_length_kept(angle: float, expected: tuple[float, float]) -> None:
    code = to_doubled_angle(_straight(angle), "quadratic").flatten()
    torch.testing.assert_close(code, torch.tensor([*expected, 0, 0], dtype=torch.float64), atol=1e-6, rtol=0)


def test_bends_are_kept() -> None:
    # From (-4, 3) over (0, 0) to (6, 1): half of the way is (5, -1), the bend (1, 2).
    points = torch.tensor([-4.0, 3.0, 6.0, 1.0], dtype=torch.float64).view(1, 4, 1, 1)
    code = to_doubled_angle(points, "quadratic").flatten()
    length = 26**0.5
    expected = [24 / length, -10 / length, 1, 2]
    torch.testing.assert_close(code, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_a_path_and_its_reversal_are_one(trajectory: str) -> None:
    points = _points(trajectory)
    reversed_points = reverse_time(points, trajectory)
    torch.testing.assert_close(to_doubled_angle(points, trajectory), to_doubled_angle(reversed_points, trajectory))


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_the_way_back_runs_to_the_right(trajectory: str) -> None:
    points = _points(trajectory, seed=1)
    back = from_doubled_angle(to_doubled_angle(points, trajectory), trajectory)
    ends = offsets_at(back, [-1.0, 1.0], trajectory)
    assert (ends[:, 1, 0] - ends[:, 0, 0] >= 0).all()
    same = (back - points).abs().amax(1) < 1e-6
    turned = (back - reverse_time(points, trajectory)).abs().amax(1) < 1e-6
    assert (same | turned).all()
    assert same.any()
    assert turned.any()


def test_there_is_no_jump_at_the_vertical() -> None:
    one, other = (to_doubled_angle(_straight(angle), "quadratic") for angle in (89.9, -89.9))
    # Less than half a degree apart as lines, so that nothing differs by more than 2 sin(0.4 degrees / 2) of 10 pixels.
    assert (one - other).norm() < 0.0701


@pytest.mark.parametrize("trajectory", ["linear", "quadratic", "cubic"])
def test_derivatives(trajectory: str) -> None:
    code = to_doubled_angle(_points(trajectory)[:1, :, :2, :2], trajectory).requires_grad_()
    points = _points(trajectory)[:1, :, :2, :2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: from_doubled_angle(x, trajectory), code)
    assert torch.autograd.gradcheck(lambda x: to_doubled_angle(x, trajectory), points)


@pytest.mark.parametrize("code", [(0, 0, 0, 0), (1e-9, 0, 1, 1), (-5, 0, 0, 0), (-5, -1e-12, 0, 0), (5, 0, 0, 0)])
def test_derivatives_stay_bounded(code: tuple[float, ...]) -> None:
    start = torch.tensor(code, dtype=torch.float32).view(1, 4, 1, 1)

    def points(value: torch.Tensor) -> torch.Tensor:
        return from_doubled_angle(value, "quadratic").flatten()

    slope = torch.autograd.functional.jacobian(points, start)
    assert slope.isfinite().all()
    assert slope.abs().max() < 1.5

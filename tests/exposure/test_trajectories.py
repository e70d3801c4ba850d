"""Trajectories: eq. 12-14 as printed, at the samples and between them."""

import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.exposure.trajectories import (
    TRAJECTORIES,
    align_time,
    align_time_to,
    fit_control_points,
    num_control_points,
    offsets_at,
    reverse_time,
    sample_times,
    samples_needed,
    trajectory_basis,
)

P1, P2, P3 = torch.tensor([-4.0, 3.0]), torch.tensor([6.0, 1.0]), torch.tensor([0.5, -2.0])


def _points(*points: torch.Tensor) -> torch.Tensor:
    return torch.cat(points).view(1, -1, 1, 1)


def _path(points: torch.Tensor, trajectory: str, num_samples: int = 15) -> torch.Tensor:
    return offsets_at(points, sample_times(num_samples), trajectory)[0, :, :, 0, 0]


def test_linear_follows_equation_12() -> None:
    expected = torch.stack([(1 - 2 * n / 14) * P1 for n in range(15)])
    torch.testing.assert_close(_path(_points(P1), "linear"), expected)


def test_bidirectional_linear_follows_equation_13() -> None:
    expected = [(1 - 2 * n / 14) * P1 if n <= 7 else (2 * n / 14 - 1) * P2 for n in range(15)]
    torch.testing.assert_close(_path(_points(P1, P2), "bidirectional-linear"), torch.stack(expected))


def test_quadratic_follows_equation_14() -> None:
    expected = [(P1 + P2) / 2 * (2 * n / 14 - 1) ** 2 + (P2 - P1) / 2 * (2 * n / 14 - 1) for n in range(15)]
    torch.testing.assert_close(_path(_points(P1, P2), "quadratic"), torch.stack(expected))


def test_cubic_adds_a_term_that_vanishes_at_both_ends_and_in_the_middle() -> None:
    path = _path(_points(P1, P2, P3), "cubic", 5)
    torch.testing.assert_close(path[[0, 2, 4]], torch.stack([P1, torch.zeros(2), P2]))
    quadratic = _path(_points(P1, P2), "quadratic", 5)
    torch.testing.assert_close(path[1] - quadratic[1], P3 * (0.5 - 0.125))


def test_zero_constraint_gives_its_samples_back_and_interpolates_between_them() -> None:
    points = torch.randn(2, 2 * 5, 3, 4)
    torch.testing.assert_close(offsets_at(points, sample_times(5), "zero-constraint"), points.view(2, 5, 2, 3, 4))
    between = offsets_at(points, [-0.75], "zero-constraint")[:, 0]
    torch.testing.assert_close(between, (points[:, 0:2] + points[:, 2:4]) / 2)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_offsets_lead_back_to_their_control_points(trajectory: str) -> None:
    points = torch.randn(2, 2 * num_control_points(trajectory, 5), 3, 4)
    times = sample_times(9)
    found = fit_control_points(offsets_at(points, times, trajectory), times, trajectory, 5)
    torch.testing.assert_close(found, points)


def test_the_nearest_path_is_found_where_none_is_exact() -> None:
    """Straight paths for a bent one: what is symmetric in time, no straight path has."""
    times = sample_times(5)
    bent = torch.stack([time * P1 + time * time * P2 for time in times]).view(1, 5, 2, 1, 1)
    torch.testing.assert_close(fit_control_points(bent, times, "linear"), _points(-P1))
    for offsets, timestamps, trajectory, message in (
        (bent, times[:4], "linear", r"offsets have shape \(1, 5, 2, 1, 1\); at 4 times they must be"),
        (bent[:, ::4], times[::4], "cubic", "2 timestamps do not determine a cubic trajectory; give at least 3"),
        (bent, 2 * times, "linear", "outside the exposure"),
    ):
        with pytest.raises(BadInputError, match=message):
            fit_control_points(offsets, timestamps, trajectory)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_reversal_in_time_is_the_same_path_backwards(trajectory: str) -> None:
    points = torch.randn(2, 2 * num_control_points(trajectory, 7), 4, 5, dtype=torch.float64)
    times = [-1.0, -0.3, 0.0, 0.4, 1.0]
    backwards = offsets_at(points, [-time for time in times], trajectory)
    torch.testing.assert_close(offsets_at(reverse_time(points, trajectory), times, trajectory), backwards)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_offsets_keep_dtype_and_shape(trajectory: str, dtype: torch.dtype) -> None:
    points = torch.zeros(2, 2 * num_control_points(trajectory, 3), 4, 5, dtype=dtype)
    offsets = offsets_at(points, [0.1, 0.2, 0.3, 0.4], trajectory)
    assert offsets.shape == (2, 4, 2, 4, 5)
    assert offsets.dtype == dtype


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_gradients(trajectory: str) -> None:
    points = torch.randn(1, 2 * num_control_points(trajectory, 3), 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: offsets_at(p, [-1.0, -0.4, 0.0, 0.9], trajectory), (points,))


def test_offsets_keep_their_precision_under_autocast() -> None:
    points = torch.tensor([-20.3, 0.0, 33.7, 1.3]).view(1, 4, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(offsets_at(points, [-1.0, 1.0], "quadratic").flatten(), points.flatten())


def test_sample_times_are_symmetric_to_the_bit() -> None:
    times = sample_times(15)
    assert times[7].item() == 0.0
    assert torch.equal(times, -times.flip(0))
    assert (times[0].item(), times[-1].item()) == (-1.0, 1.0)


@pytest.mark.parametrize("size", [(96, 128), (513, 80)])
@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_align_time_mends_a_field_whose_direction_was_scrambled(trajectory: str, size: tuple[int, int]) -> None:
    count = num_control_points(trajectory, 3)
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    motion = torch.stack([8 + 3 * ys, 5 - 4 * xs])
    ends = {"linear": [-motion]}.get(trajectory, [-motion, motion * 0.5, motion])
    if count == 2:
        ends = [-motion, motion]
    if trajectory == "cubic":
        ends = [-motion, motion, 0.2 * motion]
    points = torch.cat(ends)[None]
    assert points.shape[1] == 2 * count
    scrambled = torch.where((xs > 0.1)[None, None], reverse_time(points, trajectory), points)
    mended = align_time(scrambled, trajectory)
    same, opposite = (mended - points).abs().max(), (mended - reverse_time(points, trajectory)).abs().max()
    assert min(same, opposite) == 0


def test_align_time_keeps_a_rotation_whole() -> None:
    ys, xs = torch.meshgrid(torch.arange(-80.0, 80), torch.arange(-80.0, 80), indexing="ij")
    points = torch.stack([ys, -xs, -ys, xs])[None] * 0.1
    half_plane = torch.where((points[:, 2:3] - points[:, 0:1]) < 0, reverse_time(points, "quadratic"), points)
    mended = align_time(half_plane, "quadratic")
    ring = (torch.hypot(xs, ys) > 40) & (torch.hypot(xs, ys) < 76)
    agreement = ((mended - points).abs().amax(1)[0] < 1e-5)[ring].float().mean()
    assert max(agreement, 1 - agreement) > 0.9


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_align_time_to_undoes_a_reversal_and_nothing_else(trajectory: str) -> None:
    points = torch.randn(2, 2 * num_control_points(trajectory, 5), 6, 7)
    scrambled = torch.where(torch.rand(2, 1, 6, 7) < 0.5, reverse_time(points, trajectory), points)
    torch.testing.assert_close(align_time_to(scrambled, points + 0.01, trajectory), points)


def test_bad_input_is_named() -> None:
    with pytest.raises(BadInputError, match="sinusoidal.*one of zero-constraint"):
        num_control_points("sinusoidal", 15)
    with pytest.raises(BadInputError, match="num_samples is 8.*odd"):
        sample_times(8)
    with pytest.raises(BadInputError, match=r"1\.5 is outside"):
        offsets_at(torch.zeros(1, 4, 2, 2), [1.5], "quadratic")
    with pytest.raises(BadInputError, match="2 control points; 3 were given"):
        offsets_at(torch.zeros(1, 6, 2, 2), [0.0], "quadratic")
    with pytest.raises(BadInputError, match="num_samples must be given"):
        trajectory_basis("zero-constraint", [0.0])


@pytest.mark.parametrize(
    ("half", "needed"), [(0.0, 15), (6.9, 15), (7.5, 17), (12.2, 27), (12.5, 27), (12.6, 27), (14.0, 29), (400.0, 63)]
)
def test_an_exposure_has_a_sample_for_each_pixel_of_the_longest_path(half: float, needed: int) -> None:
    points = torch.zeros(2, 4, 9, 9)
    points[1, :, 4, 8] = torch.tensor([-0.6 * half, -0.8 * half, 0.6 * half, 0.8 * half])
    assert samples_needed(points, "quadratic") == needed
    assert samples_needed(points, "quadratic", at_least=31) == max(31, needed)
    assert samples_needed(points, "quadratic", at_least=99) == 99


def test_a_path_that_turns_back_is_as_long_as_its_way() -> None:
    there_and_back = torch.tensor([20.0, 0, 20, 0]).view(1, 4, 1, 1)
    assert samples_needed(there_and_back, "bidirectional-linear") == 41
    zigzag = torch.tensor([0.0, 0, 10, 0, 0, 0, -10, 0, 0, 0]).view(1, 10, 1, 1)
    assert samples_needed(zigzag, "zero-constraint", at_least=5) == 41


def test_samples_are_counted_for_no_photo_and_refused_for_an_even_number() -> None:
    assert samples_needed(torch.zeros(0, 4, 8, 8), "quadratic", 7) == 7
    assert samples_needed(torch.full((1, 4, 8, 8), torch.nan), "quadratic", 7) == 7
    with pytest.raises(BadInputError, match="num_samples is 14"):
        samples_needed(torch.zeros(1, 4, 8, 8), "quadratic", 14)

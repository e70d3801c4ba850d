"""The camera's own motion: known fields are recovered, what moves by itself keeps its path."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from motion_offsets import BadInputError
from motion_offsets.exposure.camera import CameraFit, follow_camera
from motion_offsets.exposure.camera_fit import fit_camera
from motion_offsets.exposure.camera_modes import check_camera_mode
from motion_offsets.exposure.trajectories import num_control_points, offsets_at, reverse_time

HEIGHT, WIDTH = 200, 320
# Per channel of quadratic control points p1 x, p1 y, p2 x, p2 y: constant, by x, by y.
FIELD = torch.tensor([[-9.0, 1.5, -2.0], [-3, 2, 1.5], [8, -1.2, 2], [4, -2, -1.5]], dtype=torch.float64)


def texture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def camera_of(coefficients: Tensor, trajectory: str = "quadratic", height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    fit = CameraFit(coefficients, trajectory, height, width, True, 1.0, 0.0, torch.ones(1, 1, 1, 1))
    return fit.control_points()


def some_reversed(points: Tensor, trajectory: str, generator: torch.Generator) -> Tensor:
    """Blocks of pixels run backwards in time."""
    blocks = torch.rand(1, 1, math.ceil(HEIGHT / 20), math.ceil(WIDTH / 20), generator=generator) < 0.5
    turned = blocks.repeat_interleave(20, 2).repeat_interleave(20, 3)[:, :, :HEIGHT, :WIDTH]
    return torch.where(turned, reverse_time(points, trajectory), points)


def distance(one: Tensor, other: Tensor, trajectory: str = "quadratic") -> Tensor:
    """Largest distance of two paths, whichever way time runs, in each pixel."""
    times = [-1.0, -0.5, 0.0, 0.5, 1.0]
    path = offsets_at(other, times, trajectory)
    apart = [(offsets_at(each, times, trajectory) - path).norm(dim=2).amax(1)
             for each in (one, reverse_time(one, trajectory))]  # fmt: skip
    return torch.minimum(*apart)


@pytest.mark.parametrize("trajectory", ["linear", "bidirectional-linear", "quadratic", "cubic", "zero-constraint"])
def test_an_affine_field_is_recovered_from_noise_outliers_and_reversed_paths(trajectory: str):
    generator = torch.Generator().manual_seed(3)
    channels = 2 * num_control_points(trajectory, 5)
    ends = torch.linspace(-1, 1, channels // 2, dtype=torch.float64) if channels > 2 else torch.ones(1).double()
    field = torch.stack([ends[k // 2] * FIELD[k % 2] + FIELD[2 + k % 2] * 0.1 for k in range(channels)])
    true = camera_of(field, trajectory)
    seen = true + 0.5 * torch.randn(true.shape, generator=generator)
    outliers = torch.rand(1, 1, HEIGHT, WIDTH, generator=generator) < 0.3
    seen = torch.where(outliers, 20 * torch.randn(true.shape, generator=generator), seen)

    fit = fit_camera(some_reversed(seen, trajectory, generator), texture(), trajectory)

    assert fit.moved
    assert fit.trusted
    assert distance(fit.control_points(), true, trajectory).max() < 0.5
    assert 0.5 < fit.explained < 0.9


def test_a_moving_object_keeps_its_path_and_the_rest_gets_the_cameras():
    generator = torch.Generator().manual_seed(4)
    true = camera_of(FIELD)
    own = torch.tensor([2.0, 12, -2, -12]).view(1, 4, 1, 1)
    seen = true + 0.8 * torch.randn(true.shape, generator=generator)
    thing = (..., slice(60, 140), slice(200, 290))
    seen[thing] = own.expand(1, 4, 80, 90) + 0.1
    seen = some_reversed(seen, "quadratic", generator)

    fit = fit_camera(seen, texture(), "quadratic")
    followed = follow_camera(seen, fit)

    inside = (slice(None), slice(85, 115), slice(225, 265))
    assert distance(followed, own + 0.1)[inside].max() < 0.5
    assert distance(followed, true)[:, :, :160].max() < 1
    assert distance(seen, true)[:, :, :160].max() > 2
    assert fit.weight.min() < 0.05
    # "only" gives it the camera's path, too; "off" leaves all as it was.
    assert distance(follow_camera(seen, fit, "only"), true).max() < 0.5
    assert torch.equal(follow_camera(seen, fit, "off"), seen)


def test_where_there_is_no_texture_the_path_is_the_cameras():
    generator = torch.Generator().manual_seed(5)
    true = camera_of(FIELD)
    seen = true + 0.3 * torch.randn(true.shape, generator=generator)
    seen[..., :80] = 25 * torch.randn(1, 4, HEIGHT, 80, generator=generator)
    photo = texture()
    photo[..., :80] = 0.5

    followed = follow_camera(seen, fit_camera(seen, photo, "quadratic"))

    assert distance(followed, true)[:, :, :40].max() < 1


def test_a_still_scene_stays_still_and_an_object_in_it_moves():
    generator = torch.Generator().manual_seed(6)
    seen = 0.2 * torch.randn(1, 4, HEIGHT, WIDTH, generator=generator)
    seen[..., 40:120, 100:180] = torch.tensor([-6.0, 0, 6, 0]).view(1, 4, 1, 1)

    fit = fit_camera(seen, texture(), "quadratic")
    followed = follow_camera(seen, fit)

    assert not fit.moved
    assert torch.equal(fit.coefficients, torch.zeros(4, 3, dtype=torch.float64))
    assert followed[..., 160:, :].abs().max() < 0.01
    assert (followed[..., 60:100, 120:160] - seen[..., 60:100, 120:160]).abs().max() < 0.2


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_photo_without_texture_has_no_motion(grey: float):
    seen = 10 * torch.randn(1, 4, 64, 96, generator=torch.Generator().manual_seed(7))
    fit = fit_camera(seen, torch.full((1, 3, 64, 96), grey), "quadratic")
    assert not fit.moved
    assert fit.trusted
    assert (fit.explained, fit.scale) == (0.0, 0.0)
    assert torch.equal(follow_camera(seen, fit), torch.zeros_like(seen))
    assert fit.path([-1.0, 1.0]).abs().max() == 0


def test_estimates_that_are_unsure_do_not_count():
    generator = torch.Generator().manual_seed(8)
    true = camera_of(FIELD)
    seen, unsure = true.clone(), torch.full((1, 1, HEIGHT, WIDTH), 0.3)
    wrong = torch.tensor([9.0, -9, -9, 9]).view(1, 4, 1, 1)
    seen[..., :200] = wrong + 0.1 * torch.randn(1, 4, HEIGHT, 200, generator=generator)
    unsure[..., :200] = 30.0

    told = fit_camera(seen, texture(), "quadratic", unsure)
    untold = fit_camera(seen, texture(), "quadratic")

    assert distance(told.control_points(), true).max() < 1
    assert distance(untold.control_points(), true).mean() > 5
    assert distance(follow_camera(seen, told), true).max() < 1.2


def test_motions_without_anything_in_common_are_left_alone():
    seen = 15 * torch.randn(1, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(9))
    fit = fit_camera(seen, texture(), "quadratic")
    assert not fit.trusted
    assert follow_camera(seen, fit) is seen
    assert fit.report()["used"] is False
    assert fit.report(mode="only")["used"] is True


def test_path_and_rotation_of_a_camera_that_turns():
    # A turn to the right by 0.5 degrees on either side of t = 0, up by 0.2, clockwise by 0.3, seen at 50 mm.
    focal = 50 * math.hypot(HEIGHT, WIDTH) / math.hypot(36, 24)
    right, up, roll = (math.tan(math.radians(degrees)) for degrees in (0.5, 0.2, 0.3))
    unit = WIDTH / 2
    end = torch.tensor([[focal * right, 0, -roll * unit], [-focal * up, roll * unit, 0]], dtype=torch.float64)
    fit = CameraFit(torch.cat([-end, end]), "quadratic", HEIGHT, WIDTH, True, 1.0, 0.1, torch.ones(1, 1, 25, 40))

    assert fit.path([-1.0, 0.0, 1.0])[2].tolist() == pytest.approx([focal * right, -focal * up])
    turned = fit.rotation([-1.0, 0.0, 1.0], 50)
    assert turned[2].tolist() == pytest.approx([0.2, 0.5, 0.3], abs=1e-3)
    assert turned[0].tolist() == pytest.approx([-0.2, -0.5, -0.3], abs=1e-3)
    assert turned[1].tolist() == [0, 0, 0]
    unknown = fit.report()["rotation_degrees"][-1]
    assert unknown[:2] == [None, None]
    assert unknown[2] == pytest.approx(0.3, abs=1e-3)


def test_a_mode_that_does_not_exist_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(BadInputError, match="`camera` is 'tripod'; it must be one of auto, off, only"):
        check_camera_mode("tripod")
    with pytest.raises(BadInputError, match="photo has shape"):
        fit_camera(torch.zeros(1, 4, 64, 64), torch.zeros(1, 3, 64, 72), "quadratic")
    with pytest.raises(BadInputError, match="not finite"):
        fit_camera(torch.full((1, 4, 64, 64), torch.nan), texture(64, 64), "quadratic")
    with pytest.raises(BadInputError, match="control points have 4 channels; a linear trajectory needs 2"):
        fit_camera(torch.zeros(1, 4, 64, 64), texture(64, 64), "linear")


@pytest.mark.parametrize("which", ["control_points", "photo", "uncertainty"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_single_value_that_is_not_finite_is_refused(which: str, value: float):
    given = {"control_points": torch.zeros(1, 4, 64, 64), "photo": texture(64, 64),
             "uncertainty": torch.ones(1, 1, 64, 64)}  # fmt: skip
    given[which][0, 0, 1, 2] = value
    with pytest.raises(BadInputError, match=f"^{which} holds values that are not finite numbers$"):
        fit_camera(given["control_points"], given["photo"], "quadratic", given["uncertainty"])

"""Long motion in reduced photos: which sizes are looked at, with which weights, and that a real frame gains by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets import BlurToVideoPipeline
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.octaves import estimate_in_octaves, sharpen_in_octaves
from motion_offsets.exposure.trajectories import path_lengths, sample_times, trajectory_basis


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos from 60,000 pixels on count as large, so that these tests do without the millions."""
    monkeypatch.setattr("motion_offsets.exposure.octaves.USUAL_PIXELS", 60_000)


def straight(length: float, height: int, width: int, turned: bool = False) -> Tensor:
    """Control points ``(1, 4, height, width)`` of even motion that slopes 3 down on 4 across."""
    end = torch.tensor([0.4, 0.3]) * (-length if turned else length)
    return torch.cat([-end, end]).view(1, 4, 1, 1).expand(1, 4, height, width).clone()


class Brightener:
    """Adds what tells the size that it is called at: a tenth more per doubling of the height."""

    def __init__(self) -> None:
        self.heights: list[int] = []

    def __call__(self, photos: Tensor, control_points: Tensor) -> Tensor:
        assert photos.shape[2:] == control_points.shape[2:]
        self.heights.append(photos.shape[2])
        return photos + self.added(photos.shape[2])

    @staticmethod
    def added(height: int) -> float:
        return {768: 0.3, 384: 0.2, 192: 0.1}[height]


@pytest.mark.parametrize(
    ("length", "heights", "added"),
    [
        (9.0, [768], 0.3),
        (30.0, [192, 384, 768], 0.5 * 0.3 + 0.5 * (0.875 * 0.2 + 0.125 * 0.1)),  # 15 px at half, 7.5 at a quarter
        (60.0, [192, 384], 0.5 * 0.2 + 0.5 * 0.1),  # the whole photo is not looked at
        (400.0, [192], 0.1),  # and never a photo that is smaller than it must be
    ],
)
@pytest.mark.usefixtures("small_is_large")
def test_sizes_and_their_weights_by_the_length_of_the_paths(length: float, heights: list[int], added: float) -> None:
    photo = torch.rand(1, 3, 768, 752)
    sharpen = Brightener()
    sharp = sharpen_in_octaves(sharpen, photo, straight(length, 768, 752), "quadratic")
    assert sharpen.heights == heights
    torch.testing.assert_close(sharp, photo + added, rtol=0, atol=2e-6)


def test_a_photo_of_usual_size_is_looked_at_as_it_is() -> None:
    photo, sharpen = torch.rand(1, 3, 768, 1080), Brightener()
    assert torch.equal(sharpen_in_octaves(sharpen, photo, straight(90.0, 768, 1080), "quadratic"), photo + 0.3)
    estimator = KnowsShortMotion({1000: 90.0})
    photo = torch.rand(1, 3, 1000, 1500)
    assert torch.equal(estimate_in_octaves(estimator, photo, 4, "quadratic"), KnowsShortMotion({1000: 90.0})(photo))


@pytest.mark.usefixtures("small_is_large")
def test_each_place_has_the_weights_of_its_own_motion() -> None:
    photo = torch.rand(1, 3, 384, 376)
    points = straight(5.0, 384, 376)
    points[..., 188:] = straight(60.0, 384, 188, turned=True)  # paths run the other way in time there
    sharp = sharpen_in_octaves(Brightener(), photo, points, "quadratic")
    torch.testing.assert_close(sharp[..., :185], photo[..., :185] + 0.2, rtol=0, atol=1e-6)
    torch.testing.assert_close(sharp[..., 191:], photo[..., 191:] + 0.1, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("small_is_large")
def test_a_few_long_paths_reduce_nothing_and_a_batch_is_its_photos() -> None:
    photos = torch.rand(3, 3, 384, 376)
    points = torch.cat([straight(length, 384, 376) for length in (0.0, 0.0, 40.0)])
    points[1, :, 100:130, 100:130] = straight(80.0, 30, 30)[0]
    each = zip(photos.split(1), points.split(1), strict=True)
    one_by_one = [sharpen_in_octaves(Brightener(), photo, motion, "quadratic") for photo, motion in each]
    together = sharpen_in_octaves(Brightener(), photos, points, "quadratic")
    assert torch.equal(together, torch.cat(one_by_one))
    assert torch.equal(together[:2], photos[:2] + 0.2)
    torch.testing.assert_close(together[2], photos[2] + 0.25 * 0.2 + 0.75 * 0.1, rtol=0, atol=1e-6)


def test_lengths_of_bent_paths() -> None:
    """A parabola from (-10, 0) over (0, 0) to (10, 0) whose ends lie 6 pixels lower: against fine steps along it."""
    points = torch.tensor([-10.0, 6.0, 10.0, 6.0]).view(1, 4, 1, 1)
    across = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    along = torch.stack([10 * across, 6 * across**2], 1).diff(dim=0).norm(dim=1).sum()
    assert float(path_lengths(points, "quadratic")) == pytest.approx(float(along), rel=2e-3)


class KnowsShortMotion:
    """An estimator that finds these lengths, by the height of the photo, and is unsure by a tenth of each."""

    def __init__(self, lengths: dict[int, float]) -> None:
        self.lengths = lengths
        self.heights: list[int] = []

    def __call__(self, photos: Tensor) -> Tensor:
        height, width = photos.shape[2:]
        self.heights.append(height)
        length = self.lengths[height]
        points = straight(length, height, width, turned=height == 1200)
        return torch.cat([points, torch.full((1, 1, height, width), 0.1 * length)], 1)


@pytest.mark.parametrize(
    ("found", "heights", "length"),
    [
        ({1200: 25.0, 600: 40.0}, [600], 80.0),  # twice 40 pixels: the reduced photo alone tells
        ({1200: 20.0, 600: 15.0}, [600, 1200], 25.0),  # 30 pixels there: half of each
        ({1200: 8.0, 600: 4.0}, [600, 1200], 8.0),
    ],
)
def test_long_motion_of_a_large_photo_is_found_in_the_reduced_one(
    found: dict[int, float], heights: list[int], length: float
) -> None:
    estimator = KnowsShortMotion(found)
    maps = estimate_in_octaves(estimator, torch.rand(1, 3, 1200, 1601), 4, "quadratic")
    assert estimator.heights == heights
    assert maps.shape == (1, 5, 1200, 1601)
    torch.testing.assert_close(path_lengths(maps[:, :4], "quadratic"), torch.full((1, 1, 1200, 1601), length))
    torch.testing.assert_close(maps[:, 4:], torch.full((1, 1, 1200, 1601), 0.1 * length))


def test_motion_is_brought_up_whole_where_its_direction_in_time_changes() -> None:
    def torn(photos: Tensor) -> Tensor:
        height, width = photos.shape[2:]
        points = straight(40.0, height, width)
        points[..., width // 2 :] = straight(40.0, height, width - width // 2, turned=True)
        return points

    found = estimate_in_octaves(torn, torch.rand(1, 3, 1200, 1600), 4, "quadratic")
    torch.testing.assert_close(path_lengths(found, "quadratic"), torch.full((1, 1, 1200, 1600), 80.0))


def test_a_large_photo_with_long_blur_gains(astronaut: Tensor) -> None:
    """The photo of 512x512 pixels enlarged to 1280x1280 and blurred over 60 pixels; the bundled networks."""
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    sharp = functional.interpolate(astronaut, size=(1280, 1280), mode="bicubic", align_corners=False).clamp(0, 1)
    points = straight(60.0, *sharp.shape[2:])
    photo = expose(sharp, points, trajectory_basis("quadratic", sample_times(61, torch.float32)))
    steps: list[tuple[int, int]] = []
    found = pipe.estimate(photo, on_tile=lambda done, total: steps.append((done, total)))
    assert steps[0] == (0, 1)  # the reduced photo: of the whole one, nothing is done yet
    assert abs(float(path_lengths(found, "quadratic").median()) - 60) < 20
    frame = pipe.deblur(photo, found)
    errors = [float((image - sharp)[..., 96:-96, 96:-96].square().mean()) for image in (photo, frame)]
    assert errors[1] < 0.55 * errors[0]

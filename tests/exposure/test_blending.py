"""Blending back: what the motion explains stays, what it does not goes, and nothing leaves the range."""

from __future__ import annotations

import torch

from motion_offsets.evaluation.metrics import psnr
from motion_offsets.exposure.blending import blend_back, kept_share, leave_still
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis

BASIS = trajectory_basis("linear", sample_times(15), 15)


def test_a_right_answer_is_kept(astronaut: torch.Tensor) -> None:
    sharp = astronaut[..., 40:200, 100:300]
    points = torch.full((1, 2, 160, 200), 5.0)
    photo = expose(sharp, points, BASIS)
    kept = blend_back(photo, sharp, expose(sharp, points, BASIS))
    assert psnr(kept, sharp) > 50
    assert kept_share(photo, sharp, photo).min() > 0.9


def test_changes_without_a_motion_that_explains_them_are_taken_back_where_they_are(astronaut: torch.Tensor) -> None:
    sharp = astronaut[..., 40:200, 60:460]
    points = torch.zeros(1, 2, 160, 400)
    points[..., :200] = 5.0
    photo = expose(sharp, points, BASIS)
    # To the right nothing moved, and the answer rings.
    wrong = torch.where(torch.arange(400) < 200, sharp, (photo + 0.2 * (photo - photo.roll(3, 3))).clamp(0, 1))
    kept = blend_back(photo, wrong, expose(wrong, points, BASIS))
    left, right = (..., slice(0, 150)), (..., slice(260, 400))
    assert psnr(kept[left], sharp[left]) > psnr(photo[left], sharp[left]) + 10
    assert psnr(kept[right], sharp[right]) > psnr(wrong[right], sharp[right]) + 8


def test_an_unchanged_photo_and_tiny_ones_stay_as_they_are() -> None:
    for size in ((3, 5), (1, 1), (40, 2)):
        photo = torch.rand(1, 3, *size)
        assert torch.allclose(blend_back(photo, photo.clone(), photo.clone()), photo)
        sharp, reblurred = torch.rand_like(photo), torch.rand_like(photo)
        kept = blend_back(photo, sharp, reblurred)
        assert (kept >= torch.minimum(photo, sharp) - 1e-6).all()
        assert (kept <= torch.maximum(photo, sharp) + 1e-6).all()


def test_what_stood_still_is_left_as_it_is() -> None:
    """Along paths of up to a pixel nothing changes, from three pixels on everything, and of two pixels half of it."""
    generator = torch.Generator().manual_seed(0)
    photo, sharp = torch.rand(2, 1, 3, 8, 50, generator=generator)
    points = torch.zeros(1, 4, 8, 50)
    for columns, length in ((slice(10, 20), 1.0), (slice(20, 30), 2.0), (slice(30, 40), 3.0), (slice(40, 50), 40.0)):
        points[:, 0, :, columns], points[:, 2, :, columns] = -length / 2, length / 2
    found = leave_still(photo, sharp, points, "quadratic")
    torch.testing.assert_close(found[..., :20], photo[..., :20])
    torch.testing.assert_close(found[..., 20:30], (photo + sharp)[..., 20:30] / 2)
    torch.testing.assert_close(found[..., 30:], sharp[..., 30:])

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.metrics import motion_mse, motion_mse_published, psnr, ssim, trajectory_error


def constant_motion(*components: float, side: int = 8) -> torch.Tensor:
    return torch.tensor(components).view(1, 2, 1, 1).expand(1, 2, side, side)


@pytest.mark.parametrize(("difference", "decibels"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0), (0.0, math.inf)])
def test_psnr_of_a_constant_difference(difference: float, decibels: float) -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    assert psnr(images + difference, images).item() == pytest.approx(decibels)


def test_psnr_is_of_each_image_not_of_the_batch() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    references = torch.tensor([0.1, 0.01], dtype=torch.float64).view(2, 1, 1, 1).expand_as(images)
    assert psnr(images, references).tolist() == pytest.approx([20.0, 40.0])


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    images, references = torch.rand(2, 2, 3, 24, 31, dtype=torch.float64)
    for index, (image, reference) in enumerate(zip(images.numpy(), references.numpy(), strict=True)):
        expected = peak_signal_noise_ratio(reference, image, data_range=1)
        assert psnr(images, references)[index].item() == pytest.approx(expected)
        expected = structural_similarity(
            image.transpose(1, 2, 0), reference.transpose(1, 2, 0), channel_axis=2, data_range=1
        )
        assert ssim(images, references)[index].item() == pytest.approx(expected)


def test_ssim_of_two_flat_images_is_the_luminance_term_alone() -> None:
    # (2ab + c1) / (a^2 + b^2 + c1) with c1 = 0.01^2
    images = torch.full((1, 3, 16, 16), 0.5, dtype=torch.float64)
    assert ssim(images, images / 2).item() == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4))
    assert ssim(images, images).item() == pytest.approx(1.0)


def test_half_precision_images_are_compared_in_double() -> None:
    images, references = torch.rand(2, 1, 3, 16, 16, dtype=torch.bfloat16)
    assert psnr(images, references).item() == pytest.approx(psnr(images.double(), references.double()).item())
    assert ssim(images, references).item() == pytest.approx(ssim(images.double(), references.double()).item())


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (1, 3, 8, 9)), ((3, 8, 8), (3, 8, 8))])
def test_images_of_other_shapes_are_refused(metric, shapes) -> None:
    with pytest.raises(BadInputError, match=r"\(B, C, H, W\)"):
        metric(*map(torch.zeros, shapes))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(BadInputError, match="9x6"):
        ssim(torch.zeros(1, 3, 6, 9), torch.zeros(1, 3, 6, 9))


@pytest.mark.parametrize(
    ("displacement", "ours", "published"),
    [
        ((3.0, 4.0), 0.0, 0.0),
        ((-3.0, -4.0), 0.0, 0.0),  # reversed in time
        ((3.0, -4.0), 18.0, 0.0),  # mirrored: min(0 + 64, 36 + 0) / 2, and forgiven by the published script
        ((0.0, 0.0), 12.5, 12.5),  # (9 + 16) / 2
        ((5.0, 2.0), 4.0, 4.0),  # (4 + 4) / 2
        ((-4.0, -2.0), 2.5, 2.5),  # (1 + 4) / 2 against (-3, -4)
    ],
)
def test_motion_errors_of_known_displacements(displacement, ours: float, published: float) -> None:
    found, true = constant_motion(*displacement), constant_motion(3.0, 4.0)
    assert motion_mse(found, true, border=0).tolist() == pytest.approx([ours])
    assert motion_mse_published(found, true, border=0).tolist() == pytest.approx([published])


def test_each_pixel_may_run_its_own_way_in_time() -> None:
    true = torch.randn(2, 2, 40, 50)
    direction = torch.where(torch.rand(2, 1, 40, 50) < 0.5, -1.0, 1.0)
    assert motion_mse(direction * true, true, border=5).tolist() == [0.0, 0.0]
    assert motion_mse(0.5 * direction * true, true, border=0).tolist() == pytest.approx(
        true.double().square().mean(dim=(1, 2, 3)).div(4).tolist(), rel=1e-6
    )


def test_published_error_is_a_lower_bound() -> None:
    found, true = torch.randn(2, 4, 2, 12, 12)
    assert bool((motion_mse_published(found, true, border=0) <= motion_mse(found, true, border=0)).all())


@pytest.mark.parametrize("metric", [motion_mse, motion_mse_published])
def test_thirty_pixels_at_each_border_do_not_count(metric) -> None:
    true = torch.zeros(1, 2, 62, 63)
    found = torch.full_like(true, 9.0)
    found[..., 30:32, 30:33] = 2.0
    assert metric(found, true).tolist() == [4.0]
    found[..., 31, 32] = 0.0
    assert metric(found, true).tolist() == pytest.approx([4.0 * 5 / 6])


def test_a_border_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(BadInputError, match="border of 30 pixels leaves nothing of 70x60"):
        motion_mse(torch.zeros(1, 2, 60, 70), torch.zeros(1, 2, 60, 70))


@pytest.mark.parametrize("metric", [motion_mse, motion_mse_published, trajectory_error])
def test_motions_of_other_shapes_are_refused(metric) -> None:
    with pytest.raises(BadInputError, match=r"\(1, 4, 8, 8\)"):
        metric(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8))
    with pytest.raises(BadInputError, match=r"\(1, 2, 8, 9\)"):
        metric(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 9))


def test_trajectory_error_wants_whole_paths() -> None:
    with pytest.raises(BadInputError, match=r"\(B, N, 2, H, W\)"):
        trajectory_error(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))


def test_trajectory_error_is_a_mean_distance_in_pixels() -> None:
    true = torch.randn(1, 5, 2, 6, 7)
    shift = torch.tensor([3.0, 4.0]).view(1, 1, 2, 1, 1)
    still = torch.zeros(1, 5, 2, 6, 7)
    assert trajectory_error(still + shift, still).tolist() == pytest.approx([5.0])
    assert trajectory_error(true, true).tolist() == [0.0]


def test_trajectory_error_forgives_reversal_of_whole_paths_only() -> None:
    # From -1 over 0 to 3 pixels: reversed as a whole it is the same motion, mirrored it is another one.
    path = torch.tensor([-1.0, 0.0, 3.0]).view(1, 3, 1, 1, 1) * torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)
    path = path.expand(1, 3, 2, 4, 4)
    assert trajectory_error(path.flip(1), path).tolist() == [0.0]
    # (1, 0, -3) against (-1, 0, 3): 8/3; against it reversed, (3, 0, -1): 4/3.
    assert trajectory_error(-path, path).tolist() == pytest.approx([4 / 3])


def test_trajectory_error_chooses_the_direction_pixel_by_pixel() -> None:
    true = torch.randn(1, 5, 2, 6, 6)
    found = true.clone()
    found[..., :3] = true.flip(1)[..., :3]
    assert trajectory_error(found, true).tolist() == [0.0]
    assert trajectory_error(found, true, border=2).tolist() == [0.0]

"""The motion-guided deblurrer: deconvolution along the motion, what its U-Net is told, conventions of transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModel

import motion_offsets
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.accelerated_deconvolution import deconvolution_estimates
from motion_offsets.exposure.blur import create_blur, expose
from motion_offsets.exposure.trajectories import offsets_at, sample_times, trajectory_basis
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.models.configuration_motion_guided import MotionGuidedConfig
from motion_offsets.models.guided_inputs import motion_features, path_samples
from motion_offsets.models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from motion_offsets.models.modeling_motion_guided import START_SHARE, MotionGuidedForImageDeblurring

PRIOR: dict[str, Any] = {"levels": (1,), "base_channels": 4}
SIZES: dict[str, Any] = {"prior_config": PRIOR, "prior_scales": (1, 2, 4)}
SMALL: dict[str, Any] = {"widths": (4, 8), "encoder_blocks": (0, 1), "decoder_blocks": (1,)}
BASIS = trajectory_basis("quadratic", sample_times(15, dtype=torch.float32))


def make(**config: Any) -> MotionGuidedForImageDeblurring:
    return MotionGuidedForImageDeblurring(MotionGuidedConfig(**{**SMALL, **config})).eval()


def straight(dx: float, dy: float, height: int, width: int) -> Tensor:
    """Control points ``(1, 4, H, W)`` of a straight motion from -(dx, dy) to (dx, dy)."""
    ends = torch.tensor([-dx, -dy, dx, dy]).view(1, 4, 1, 1)
    return ends.expand(1, 4, height, width).contiguous()


def test_deconvolution_of_a_wave() -> None:
    """A wave stays one: its amplitude follows the iteration written out for a number, with the kernel's transform."""
    width, steps = 128, 6
    columns = torch.arange(width, dtype=torch.float64)
    turns = 2 * torch.pi * 5 / width
    wave = torch.cos(turns * columns)
    points = straight(4.0, 0.0, 16, width).double()
    # The kernel's transform at that frequency, of 15 samples shared linearly between neighbouring pixels.
    offsets = torch.linspace(-4, 4, 15, dtype=torch.float64)
    low = offsets.floor()
    gain = float(
        ((1 - offsets + low) * torch.cos(turns * low) + (offsets - low) * torch.cos(turns * (low + 1))).mean()
    )
    blurred = gain * wave.expand(1, 1, 16, width)
    ((estimate, residual),) = deconvolution_estimates(blurred, blurred, points, BASIS.double(), (steps,))
    before = ahead = amplitude = gain
    for step in range(1, steps + 1):
        amplitude = ahead + gain * (gain - gain * ahead)
        ahead, before = amplitude + (step - 1) / (step + 2) * (amplitude - before), amplitude
    assert gain < 0.95 * amplitude
    inner = slice(56, 72)  # the repeated border is not periodic, and reaches 4 pixels further per exposure
    assert torch.allclose(estimate[0, 0, 8, inner], amplitude * wave[inner], atol=1e-9)
    assert torch.allclose(residual[0, 0, 8, inner], (gain - gain * amplitude) * wave[inner], atol=1e-9)


def test_deconvolution_along_the_true_motion_gains(astronaut: Tensor) -> None:
    sharp = astronaut[..., 100:228, 150:278].contiguous()
    points = straight(5.0, 3.0, 128, 128)
    blurred = create_blur(sharp, offsets_at(points, sample_times(15).tolist(), "quadratic"))
    ((few, _), (many, _)) = deconvolution_estimates(blurred, blurred, points, BASIS, (1, 8))
    errors = [float((image - sharp)[..., 16:-16, 16:-16].square().mean()) for image in (blurred, few, many)]
    assert errors[1] < errors[0] / 1.2
    assert errors[2] < errors[0] / 1.5


def test_reversed_time_changes_nothing() -> None:
    """One photo cannot tell a motion from its reversal, so the answer must not depend on which one it is given."""
    photo, points = torch.rand(1, 3, 32, 48), 6 * torch.randn(1, 4, 32, 48)
    backwards = torch.cat([points[:, 2:], points[:, :2]], 1)
    assert torch.allclose(motion_features(points, "quadratic"), motion_features(backwards, "quadratic"), atol=1e-6)
    model = make()
    forth, back = (model(photo, control_points=one).sharp for one in (points, backwards))
    assert torch.allclose(forth, back, atol=1e-5)


def test_motion_features_of_a_known_path() -> None:
    # 16 pixels at 30 degrees, bent by 8 pixels downwards.
    points = torch.tensor([-13.8564, -8.0 + 8.0, 13.8564, 8.0 + 8.0]).view(1, 4, 1, 1)
    features = motion_features(points, "quadratic").flatten()
    assert torch.allclose(features, torch.tensor([1.0, 0.5, 0.8660, 0.0, 0.5]), atol=1e-3)


def test_path_samples_of_a_ramp_and_a_bump() -> None:
    ramp = torch.arange(40.0).expand(1, 1, 8, 40)
    bent = torch.tensor([-3.0, 0.0, 5.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 8, 40)
    near, far = path_samples(ramp, bent, "quadratic", (1.0, 2.0))
    # The mean of -3 and 5, and twice that where the path goes on straight.
    assert torch.allclose(near[..., 6:-10], torch.tensor(1.0))
    assert torch.allclose(far[..., 6:-10], torch.tensor(2.0))
    bump = torch.zeros(1, 1, 8, 40)
    bump[..., 20] = 1
    (half,) = path_samples(bump, straight(6.0, 0.0, 8, 40), "quadratic", (0.5,))
    assert half[0, 0, 4].nonzero().flatten().tolist() == [17, 20, 23]
    assert half[0, 0, 4, [17, 20, 23]].tolist() == [0.5, -1.0, 0.5]


@pytest.mark.parametrize("motion", [torch.zeros, torch.randn])
def test_features_have_gradients_at_rest(motion: Any) -> None:
    points = motion(1, 4, 3, 3).requires_grad_()
    motion_features(points, "quadratic").sum().backward()
    assert torch.isfinite(points.grad).all()


def test_it_starts_near_the_photo_towards_deconvolution() -> None:
    photo, points = torch.rand(1, 3, 32, 32), straight(3.0, 1.0, 32, 32)
    model = make()
    for parameter in model.stages[0].unet.head.parameters():
        torch.nn.init.zeros_(parameter)
    found = [image for image, _ in deconvolution_estimates(photo, photo, points, BASIS, (1, 3, 8))]
    expected = photo + START_SHARE * (sum(found) / 3 - photo)
    assert torch.allclose(model(photo, control_points=points).sharp, expected, atol=1e-6)


def test_deconvolution_starts_from_the_prior_s_frame() -> None:
    torch.manual_seed(0)
    photo, points = torch.rand(1, 3, 32, 48), straight(3.0, 1.0, 32, 48)
    model = make(prior_config=MaDmphnConfig(**PRIOR), deconvolution_steps=(0, 2))
    for parameter in model.stages[0].unet.head.parameters():
        torch.nn.init.zeros_(parameter)
    alone = MaDmphnForImageDeblurring(MaDmphnConfig(**PRIOR)).eval()
    alone.load_state_dict(model.prior.state_dict())
    frame = alone(photo, motion_offsets=offsets_at(points, alone.config.tap_times, "quadratic")).sharp
    assert (frame - photo).abs().max() > 1e-3
    (start, unexplained), (found, _) = deconvolution_estimates(photo, frame, points, BASIS, (0, 2))
    assert torch.equal(start, frame)
    assert torch.allclose(unexplained, photo - expose(frame, points, BASIS))
    expected = frame + START_SHARE * (found - frame)
    assert torch.allclose(model(photo, control_points=points).sharp, expected, atol=1e-6)


def test_a_prior_that_sees_the_photo_at_two_sizes() -> None:
    """What it changes in the photo of half the size, where the motion is half as long, is brought up and added."""
    torch.manual_seed(0)
    photo, points = torch.rand(1, 3, 32, 64), straight(6.0, 2.0, 32, 64)
    model = make(prior_config=MaDmphnConfig(**PRIOR), prior_scales=(1, 2), deconvolution_steps=())
    for parameter in model.stages[0].unet.head.parameters():
        torch.nn.init.zeros_(parameter)
    half = functional.avg_pool2d(photo, 2)
    fine = model.prior.sharpen(photo, points, "quadratic")
    change = model.prior.sharpen(half, straight(3.0, 1.0, 16, 32), "quadratic") - half
    coarse = photo + functional.interpolate(change, scale_factor=2, mode="bicubic")
    start = (2 * fine + coarse) / 3
    expected = start + START_SHARE / 2 * (fine + coarse - 2 * start)
    torch.testing.assert_close(model(photo, control_points=points).sharp, expected, atol=1e-5, rtol=1e-5)


def test_the_margin_of_tiles_grows_with_the_coarsest_size_that_the_prior_sees() -> None:
    margins = [make(**config).tile_margin for config in ({}, {"prior_config": PRIOR}, SIZES)]
    assert margins == [96, 96, 192]


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (64, 48)])
@pytest.mark.parametrize(
    "config", [{}, {"num_stages": 2}, {"deconvolution_steps": ()}, {"trajectory": "cubic"}, SIZES]
)
def test_shapes_and_loss(size: tuple[int, int], config: dict[str, Any]) -> None:
    model = make(**config)
    photo = torch.rand(2, 3, *size)
    points = torch.randn(2, 2 * model.config.num_control_points, *size)
    output = model(photo, photo, points)
    assert output.sharp.shape == photo.shape
    assert len(output.stack_outputs) == model.config.num_stages
    assert torch.equal(output.stack_outputs[-1], output.sharp)
    expected = sum((image - photo).square().mean() for image in output.stack_outputs)
    assert torch.allclose(output.loss, expected)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_gradients_reach_an_estimator_of_its_own() -> None:
    model = make(estimator_config=EtrajConfig(base_channels=2).to_dict(), num_stages=2)
    photo = torch.rand(1, 3, 32, 32)
    model(photo, torch.rand(1, 3, 32, 32)).loss.backward()
    assert model.estimator.network.head.weight.grad.abs().sum() > 0


def test_saved_and_loaded_by_the_auto_classes(tmp_path: Path) -> None:
    model = make(estimator_config={"base_channels": 2}, prior_config=PRIOR)
    model.save_pretrained(tmp_path)
    assert motion_offsets.MotionGuidedForImageDeblurring  # importing it registers it
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, MotionGuidedForImageDeblurring)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.widths == (4, 8)
    assert (config.prior_config.levels, config.prior_config.base_channels) == ((1,), 4)
    photo = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(photo).sharp, model(photo).sharp)


def test_unpacked_output_is_a_tuple() -> None:
    photo, points = torch.rand(1, 3, 16, 16), torch.zeros(1, 4, 16, 16)
    unpacked = make()(photo, control_points=points, return_dict=False)
    assert isinstance(unpacked, tuple)
    assert unpacked[0].shape == photo.shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widths": (8,)}, "widths is"),
        ({"encoder_blocks": (1, 2, 3)}, "encoder_blocks is (1, 2, 3); it must be 2 integers"),
        ({"decoder_blocks": (1, 1)}, "decoder_blocks is"),
        ({"deconvolution_steps": (4, 2)}, "rising integers from 0 up"),
        ({"path_distances": (0.0, 1.0)}, "positive numbers"),
        ({"step_size": 1.5}, "above 0 and at most 1"),
        ({"trajectory": "zero-constraint"}, "trajectory is"),
        ({"num_samples": 4}, "num_samples is"),
        ({"padding_mode": "reflect"}, "zeros or border"),
        ({"estimator_config": {"trajectory": "linear"}}, "both must be the same"),
        ({"prior_config": {"motion_aware": False}}, "prior_config must be motion-aware"),
        ({"prior_config": {"estimator_config": {}}}, "prior_config must be motion-aware and have no estimator_config"),
        ({"prior_scales": [2, 4]}, "prior_scales is (2, 4)"),
        ({"prior_config": EtrajConfig()}, "must be None, a dict or an MaDmphnConfig"),
    ],
)
def test_bad_configs(config: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=re.escape(message)):  # transformers wraps what a config raises
        MotionGuidedConfig(**{**SMALL, **config})


def test_bad_inputs() -> None:
    model, photo = make(), torch.rand(1, 3, 32, 32)
    with pytest.raises(BadInputError, match="no estimator"):
        model(photo)
    with pytest.raises(BadInputError, match=r"control_points has shape \(1, 2, 32, 32\)"):
        model(photo, control_points=torch.zeros(1, 2, 32, 32))
    with pytest.raises(BadInputError, match="sides of 16"):
        model(photo[..., :8])
    with pytest.raises(BadInputError, match="sharp_pixel_values"):
        model(photo, photo[..., :16], torch.zeros(1, 4, 32, 32))


def test_exposure_along_the_reversed_path_is_the_adjoint_of_constant_motion() -> None:
    one, other = torch.rand(2, 1, 1, 40, 40, dtype=torch.float64)
    for image in (one, other):  # nothing near the border, where the adjoint gathers what the border repeats
        image[..., :8, :], image[..., -8:, :], image[..., :, :8], image[..., :, -8:] = 0, 0, 0, 0
    points = torch.tensor([-3.0, 1.5, 4.0, 2.25], dtype=torch.float64).view(1, 4, 1, 1).expand(1, 4, 40, 40)
    forward = (expose(one, points, BASIS.double(), "zeros") * other).sum()
    adjoint = (one * expose(other, -points, BASIS.double(), "zeros")).sum()
    assert torch.allclose(forward, adjoint, rtol=1e-12)


def test_sharpening_takes_as_many_samples_as_the_motion_needs_and_training_the_config_s() -> None:
    model = make()
    photo, motion = torch.rand(1, 3, 32, 96), straight(18.0, 0.0, 32, 96)
    sharpened = model.sharpen(photo, motion, "quadratic")
    torch.testing.assert_close(sharpened, model(photo, control_points=motion, num_samples=37).sharp)
    trained = model(photo, control_points=motion).sharp
    torch.testing.assert_close(trained, model(photo, control_points=motion, num_samples=15).sharp)
    assert (trained - sharpened).abs().max() > 1e-4

"""One network at several sizes of the photo: what is joined, and that such a model is used like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.models.etraj_scales import ScaleEstimate, brought_up, fuse, reduced
from motion_offsets.pipelines.tiled_networks import ESTIMATOR_BYTES


def _model(scales: tuple[int, ...] = (1, 2), **fields: object) -> EtrajModel:
    torch.manual_seed(0)
    return EtrajModel(EtrajConfig(base_channels=4, predicts_uncertainty=True, scales=scales, **fields)).eval()


def _constant(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1).expand(1, len(values), 2, 3)


def test_estimates_are_weighted_by_the_inverse_square_of_their_uncertainty() -> None:
    fine = ScaleEstimate(_constant(-4.0, 0.0, 4.0, 2.0), _constant(1.0))
    coarse = ScaleEstimate(_constant(-9.0, 5.0, 9.0, 7.0), _constant(2.0))
    joined = fuse([fine, coarse], "quadratic")
    torch.testing.assert_close(joined.control_points, _constant(-5.0, 1.0, 5.0, 3.0))  # 4/5 and 1/5
    torch.testing.assert_close(joined.uncertainty, _constant(1.2))


def test_a_path_run_backwards_is_joined_as_the_same_path() -> None:
    sure = ScaleEstimate(_constant(-3.0, 1.0, 3.0, 2.0), _constant(0.5))
    backwards = ScaleEstimate(_constant(3.0, 2.0, -3.0, 1.0), _constant(3.0))
    for order in ([sure, backwards], [backwards, sure]):
        torch.testing.assert_close(fuse(order, "quadratic").control_points, sure.control_points)


def test_lengths_grow_with_the_picture() -> None:
    # A ramp of one pixel of motion per column; at twice the size half as steep, and twice as long.
    ramp = torch.arange(6.0).expand(1, 1, 4, 6)
    up = brought_up(ramp, 2)
    assert up.shape == (1, 1, 8, 12)
    torch.testing.assert_close(up[0, 0, 3, 1:-1], 2 * (torch.arange(1.0, 11.0) / 2 - 0.25))
    torch.testing.assert_close(reduced(up, 2)[..., 1:-1], 2 * ramp[..., 1:-1])


@pytest.mark.parametrize("fields", [{}, {"direction": "doubled-angle"}, {"trajectory": "cubic"}])
def test_a_model_of_two_scales_is_its_network_on_the_photo_and_on_half_of_it(fields: dict[str, str]) -> None:
    model, alone = _model(**fields), _model((1,), **fields)
    alone.load_state_dict(model.state_dict())
    photo = torch.rand(2, 3, 64, 96)
    half = torch.nn.functional.avg_pool2d(photo, 2)
    with torch.no_grad():
        found, full, small = model(photo), alone(photo), alone(half)
    coarse = ScaleEstimate(brought_up(small.control_points, 2), brought_up(small.uncertainty, 2))
    expected = fuse([ScaleEstimate(full.control_points, full.uncertainty), coarse], model.config.trajectory)
    torch.testing.assert_close(found.control_points, expected.control_points)
    torch.testing.assert_close(found.uncertainty, expected.uncertainty)
    assert found.at_scales is None
    assert len(model.train()(photo).at_scales) == 2


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 90), (33, 47)])
def test_any_size(height: int, width: int) -> None:
    out = _model((1, 2, 4))(torch.rand(1, 3, height, width))
    assert out.control_points.shape == (1, 4, height, width)
    assert out.uncertainty.shape == (1, 1, height, width)
    assert out.control_points.isfinite().all()


def test_every_weight_learns_from_both_scales() -> None:
    model = _model().train()
    out = model(torch.rand(1, 3, 48, 48))
    (out.control_points.square().mean() + out.uncertainty.mean()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_saved_and_loaded(tmp_path: Path) -> None:
    model, photo = _model(), torch.rand(1, 3, 48, 64)
    model.save_pretrained(tmp_path)
    loaded = EtrajModel.from_pretrained(tmp_path)
    assert loaded.config.scales == (1, 2)
    torch.testing.assert_close(loaded(photo).control_points, model(photo).control_points)


def test_tiles_agree_with_the_whole() -> None:
    """Their margin grows with the coarsest scale."""
    pipe = BlurToVideoPipeline(_model())
    photo = torch.rand(1, 3, 512, 768)
    whole, unsure = pipe.estimate_motion(photo)
    tiled, tiled_unsure = pipe.estimate_motion(photo, max_memory=ESTIMATOR_BYTES * 512 * 640)
    assert pipe.estimator.tile_margin == 144
    assert (whole - tiled).abs().max() < 0.1
    assert (unsure - tiled_unsure).abs().max() < 0.1


def test_a_deblurrer_with_the_same_weights_at_other_scales_has_another_estimator() -> None:
    torch.manual_seed(0)
    carried = EtrajConfig(base_channels=4, scales=[1, 2])
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, estimator_config=carried))
    for scales, agree in (([1, 2], True), ([1], False)):
        estimator = EtrajModel(EtrajConfig(base_channels=4, scales=scales))
        estimator.load_state_dict(deblurrer.estimator.state_dict())
        assert BlurToVideoPipeline(estimator, deblurrer).estimators_agree is agree


@pytest.mark.parametrize("scales", [[], [2], [1, 1], [2, 1], [1, 0], [1, 2.5], "12", [1, True]])
def test_scales_that_are_none(scales: object) -> None:
    with pytest.raises(BadInputError, match="scales"):
        EtrajConfig(predicts_uncertainty=True, scales=scales)


def test_without_uncertainty_half_the_size_counts_a_quarter() -> None:
    torch.manual_seed(0)
    model = EtrajModel(EtrajConfig(base_channels=4, scales=[1, 2])).eval()
    alone = EtrajModel(EtrajConfig(base_channels=4)).eval()
    alone.load_state_dict(model.state_dict())
    photo = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = model(photo)
        full = alone(photo).control_points
        half = 2 * torch.nn.functional.interpolate(
            alone(torch.nn.functional.avg_pool2d(photo, 2)).control_points, scale_factor=2.0, mode="bilinear"
        )
    backwards = torch.cat([half[:, 2:], half[:, :2]], 1)
    nearer = (half - full).square().sum(1, keepdim=True) <= (backwards - full).square().sum(1, keepdim=True)
    torch.testing.assert_close(found.control_points, 0.8 * full + 0.2 * torch.where(nearer, half, backwards))
    assert found.uncertainty is None

"""Starts of training: what a model computes before its first step."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.blur import create_blur
from motion_offsets.training.starts import (
    DECONVOLUTION_STEP,
    grow,
    start_by_deconvolution,
    start_on_detail,
    with_context,
    with_trajectory,
    with_uncertainty,
)

WHOLE_EXPOSURE = tuple(step / 4 for step in range(-4, 5))


def deblurrer(**fields: object) -> MaDmphnForImageDeblurring:
    torch.manual_seed(0)
    config = {"base_channels": 24, "alpha": 1.0, "tap_times": WHOLE_EXPOSURE, "motion_padding_mode": "border"}
    return MaDmphnForImageDeblurring(MaDmphnConfig(**{**config, **fields})).eval()


def photo_and_offsets() -> tuple[torch.Tensor, torch.Tensor]:
    """A 4-pixel turn of motion, different at every pixel, for the nine taps."""
    photo = torch.rand(1, 3, 40, 48)
    motion = torch.stack([torch.linspace(1, 4, 48).expand(40, 48), torch.linspace(-2, 2, 40)[:, None].expand(40, 48)])
    times = torch.tensor(WHOLE_EXPOSURE).view(1, 9, 1, 1, 1)
    return photo, times * motion


def test_another_trajectory_says_the_same_as_well_as_it_can() -> None:
    start = EtrajModel(EtrajConfig(base_channels=4, num_samples=5)).eval()
    image, times = torch.rand(1, 3, 32, 40), [-1.0, -0.5, 0.0, 0.5, 1.0]
    with torch.no_grad():
        points = start(image).control_points
        expected = start.offsets_at(points, times)
        for trajectory in ("cubic", "zero-constraint"):  # these hold every parabola
            model = with_trajectory(start, EtrajConfig(base_channels=4, num_samples=5, trajectory=trajectory)).eval()
            offsets = model.offsets_at(model(image).control_points, times)
            torch.testing.assert_close(offsets, expected, atol=1e-4, rtol=1e-4)
        model = with_trajectory(start, EtrajConfig(base_channels=4, num_samples=5, trajectory="linear")).eval()
        straight = (points[:, :2] - points[:, 2:]) / 2
        torch.testing.assert_close(model(image).control_points, straight, atol=1e-4, rtol=1e-4)


def test_a_network_of_context_starts_with_what_there_is_and_anew_for_another_trajectory() -> None:
    fields = {"base_channels": 4, "scales": [1, 2]}
    around = {"context_widths": [8], "context_encoder_blocks": [1], "predicts_uncertainty": True}
    start = EtrajModel(EtrajConfig(**fields)).eval()
    model = with_context(start, EtrajConfig(**fields, **around)).eval()
    for name, weight in start.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert not model.context.cells.head.weight.any()
    torch.nn.init.normal_(model.context.cells.head.weight)
    other = with_trajectory(model, EtrajConfig(**fields, **around, trajectory="linear"))
    assert not other.context.cells.head.weight.any()
    with pytest.raises(BadInputError, match="start_from predicts its uncertainty itself"):
        with_context(with_uncertainty(start), EtrajConfig(**fields, **around))


def test_another_trajectory_keeps_the_doubled_angle_and_the_uncertainty() -> None:
    fields = {"base_channels": 4, "num_samples": 5, "direction": "doubled-angle", "predicts_uncertainty": True}
    start = EtrajModel(EtrajConfig(**fields)).eval()
    image = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        first = start(image)
        ends = start.offsets_at(first.control_points, [-1.0, 1.0])
        expected = (ends[:, 1] - ends[:, 0]) / 2
        for trajectory in ("linear", "bidirectional-linear", "cubic", "zero-constraint"):
            model = with_trajectory(start, EtrajConfig(trajectory=trajectory, **fields)).eval()
            found = model(image)
            ends = model.offsets_at(found.control_points, [-1.0, 1.0])
            torch.testing.assert_close((ends[:, 1] - ends[:, 0]) / 2, expected, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.uncertainty, first.uncertainty)


def test_a_start_on_detail_leaves_the_uncertainty_at_a_few_pixels() -> None:
    model = EtrajModel(EtrajConfig(base_channels=4, predicts_uncertainty=True)).eval()
    start_on_detail(model)
    bias = model.network.head.bias.tolist()
    assert bias[0] == -bias[2] < 0
    assert bias[1] == bias[3] == 0
    assert 16 * torch.nn.functional.softplus(torch.tensor(bias[4])) == pytest.approx(3.526, abs=1e-3)


def test_uncertainty_is_added_to_the_same_paths() -> None:
    start = EtrajModel(EtrajConfig(base_channels=4, num_samples=5)).eval()
    model, image = with_uncertainty(start).eval(), torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        found = model(image)
        torch.testing.assert_close(found.control_points, start(image).control_points)
    # 16 softplus(-1.4)
    torch.testing.assert_close(found.uncertainty, torch.full((1, 1, 32, 40), 3.526), atol=1e-3, rtol=0)
    cubic = EtrajConfig(base_channels=4, num_samples=5, trajectory="cubic", predicts_uncertainty=True)
    with torch.no_grad():
        torch.testing.assert_close(with_trajectory(model, cubic).eval()(image).uncertainty, found.uncertainty)


def test_deconvolution_start_is_landwebers_iteration() -> None:
    model = deblurrer(levels=(1,))
    start_by_deconvolution(model)
    photo, offsets = photo_and_offsets()
    expected = photo
    for _ in range(2):
        expected = expected + DECONVOLUTION_STEP * create_blur(photo - create_blur(expected, offsets), offsets)
    with torch.no_grad():
        torch.testing.assert_close(model(photo, motion_offsets=offsets).sharp, expected, rtol=0, atol=1e-5)


def test_deconvolution_start_trains_every_weight() -> None:
    """Two steps: a silenced channel gets its gradient once what it feeds has moved."""
    model = deblurrer(levels=(1,))
    start_by_deconvolution(model)
    photo, offsets = photo_and_offsets()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(create_blur(photo, offsets), photo, offsets).loss.backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"motion_aware": False}, "motion-aware"),
        ({"motion_aware_stages": (1, 2)}, "stage 3"),
        ({"residual_output": False}, "residual"),
        ({"base_channels": 16}, "24 or more"),
    ],
)
def test_deconvolution_start_refuses_what_it_cannot_do(fields: dict, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        start_by_deconvolution(deblurrer(**fields))


def test_a_grown_model_computes_what_the_small_one_did() -> None:
    small, large = deblurrer(levels=(1,)), deblurrer(levels=(1, 2, 4))
    start_by_deconvolution(small)
    for parameter in small.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.01)
    grow(small, large)
    photo, offsets = photo_and_offsets()
    with torch.no_grad():
        before = small(photo, motion_offsets=offsets).sharp
        torch.testing.assert_close(large(photo, motion_offsets=offsets).sharp, before, rtol=0, atol=1e-5)


def test_an_estimator_started_on_detail_does_not_see_brightness() -> None:
    model = EtrajModel(EtrajConfig(base_channels=8)).eval()
    start_on_detail(model)
    flat = torch.full((1, 3, 32, 32), 0.2)
    with torch.no_grad():
        dark, bright = model(flat).control_points, model(flat + 0.6).control_points
    torch.testing.assert_close(dark, bright, rtol=0, atol=1e-3)

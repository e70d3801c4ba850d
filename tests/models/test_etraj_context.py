"""The network of context: what it joins, what it starts as, and that such a model is used like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.doubled_angle import from_doubled_angle, to_doubled_angle
from motion_offsets.models.etraj_context import ContextNetwork, Reading
from motion_offsets.models.etraj_scales import brought_up
from motion_offsets.pipelines.tiled_networks import ESTIMATOR_BYTES

CONTEXT: dict[str, Any] = {
    "context_widths": [8, 12],
    "context_encoder_blocks": [1, 1],
    "context_decoder_blocks": [1],
    "predicts_uncertainty": True,
}


def _model(scales: tuple[int, ...] = (1, 2), **fields: Any) -> EtrajModel:
    torch.manual_seed(0)
    return EtrajModel(EtrajConfig(base_channels=4, scales=scales, **{**CONTEXT, **fields})).eval()


def _stirred(model: EtrajModel) -> EtrajModel:
    """With weights, in the context's last layer, that correct every estimate."""
    torch.manual_seed(1)
    torch.nn.init.normal_(model.context.cells.head.weight, std=0.02)
    return model


@pytest.mark.parametrize("trajectory", ["quadratic", "linear", "cubic", "zero-constraint"])
def test_it_starts_as_the_mean_of_the_estimates(trajectory: str) -> None:
    """4/5 of that of the photo and 1/5 of that of half of it, as codes, which have no direction in time."""
    model = _model(trajectory=trajectory)
    alone = EtrajModel(EtrajConfig(base_channels=4, trajectory=trajectory)).eval()
    alone.load_state_dict({name: value for name, value in model.state_dict().items() if name.startswith("network.")})
    photo = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found = model(photo)
        full = to_doubled_angle(alone(photo).control_points, trajectory)
        half = to_doubled_angle(brought_up(alone(functional.avg_pool2d(photo, 2)).control_points, 2), trajectory)
    expected = from_doubled_angle(0.8 * full + 0.2 * half, trajectory)
    torch.testing.assert_close(found.control_points, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.uncertainty, torch.full((2, 1, 64, 96), 3.5275), atol=1e-3, rtol=0)


def test_shares_and_correction_of_known_outputs() -> None:
    """Outputs of 1/16, log 3 and 0: three quarters of the first reading, a quarter of the second, and a pixel more."""
    context = ContextNetwork((1, 2), 4, 2, (4,), (0,), ())
    torch.nn.init.zeros_(context.cells.head.weight)
    outputs = torch.tensor([1 / 16, 0, 0, 0, 0, torch.log(torch.tensor(3.0)).item(), 0])
    with torch.no_grad():
        context.cells.head.bias.copy_(outputs)
    codes = [torch.full((1, 4, 32, 32), value) for value in (8.0, 4.0)]
    readings = [Reading(code, torch.rand(1, 2, 16 // s, 16 // s), s) for code, s in zip(codes, (1, 2), strict=True)]
    code, spread = context(torch.rand(1, 3, 32, 32), readings)
    torch.testing.assert_close(code[0, :, 5, 7], torch.tensor([8.0, 7.0, 7.0, 7.0]))
    torch.testing.assert_close(spread, torch.full((1, 1, 32, 32), 16 * 0.693147))


@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 4), (1, 3)])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 90), (33, 47)])
def test_any_size(scales: tuple[int, ...], height: int, width: int) -> None:
    out = _stirred(_model(scales))(torch.rand(1, 3, height, width))
    assert out.control_points.shape == (1, 4, height, width)
    assert out.uncertainty.shape == (1, 1, height, width)
    assert out.control_points.isfinite().all()
    assert (out.uncertainty > 0).all()


@pytest.mark.parametrize("photo", [torch.zeros(1, 3, 48, 64), torch.ones(1, 3, 48, 64), torch.rand(0, 3, 48, 64)])
def test_photos_of_one_colour_and_none(photo: Tensor) -> None:
    out = _stirred(_model())(photo)
    assert out.control_points.shape == (len(photo), 4, 48, 64)
    assert out.control_points.isfinite().all()
    assert out.uncertainty.isfinite().all()


def test_every_weight_learns() -> None:
    model = _stirred(_model()).train()
    out = model(torch.rand(1, 3, 64, 64))
    (out.control_points.square().mean() + out.uncertainty.mean()).backward()
    # Without a neighbour that differs, weights of neighbours make no difference; the photo's do.
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_saved_and_loaded(tmp_path: Path) -> None:
    model, photo = _stirred(_model()), torch.rand(1, 3, 48, 64)
    model.save_pretrained(tmp_path)
    loaded = EtrajModel.from_pretrained(tmp_path)
    assert loaded.config.context_widths == (8, 12)
    torch.testing.assert_close(loaded(photo).control_points, model(photo).control_points)
    torch.testing.assert_close(loaded(photo).uncertainty, model(photo).uncertainty)


def test_tiles_agree_with_the_whole() -> None:
    pipe = BlurToVideoPipeline(_stirred(_model()))
    photo = torch.rand(1, 3, 512, 768)
    whole, unsure = pipe.estimate_motion(photo)
    tiled, tiled_unsure = pipe.estimate_motion(photo, max_memory=ESTIMATOR_BYTES * 512 * 640)
    # Where a path is short its direction is any, and turns on the last digit: codes are compared.
    difference = to_doubled_angle(whole, "quadratic") - to_doubled_angle(tiled, "quadratic")
    assert difference.abs().max() < 0.1
    assert (unsure - tiled_unsure).abs().max() < 0.1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"context_widths": [8, 0]}, "context_widths"),
        ({"context_encoder_blocks": [1]}, "context_encoder_blocks .* must have 2 entries"),
        ({"context_decoder_blocks": []}, "context_decoder_blocks .* must have 1 entries"),
        ({"predicts_uncertainty": False}, "predicts_uncertainty .* with context_widths"),
        ({"backbone": "pyramid"}, "backbone .* must be table1 with context_widths"),
        ({"context_widths": []}, "context_encoder_blocks .* must have 0 entries"),
    ],
)
def test_fields_that_do_not_fit(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        EtrajConfig(**{**CONTEXT, **fields})

"""The estimator: Table 1's size, transformers' conventions, and a loss that a gradient step lowers."""

from pathlib import Path

import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.exposure.blur import create_blur
from motion_offsets.exposure.trajectories import TRAJECTORIES, num_control_points
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.etraj_pyramid import convex_upsample
from motion_offsets.models.modeling_etraj import EtrajModel


def _small(**fields: object) -> EtrajModel:
    torch.manual_seed(0)
    return EtrajModel(EtrajConfig(base_channels=4, ssim_window_size=7, **fields)).eval()


@pytest.mark.parametrize("trajectory", ["quadratic", "bidirectional-linear"])
def test_parameters_are_those_published(trajectory: str) -> None:
    model = EtrajModel(EtrajConfig(trajectory=trajectory))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_129_604


def test_weights_start_as_the_paper_says() -> None:
    model = _small()
    assert all((parameter == 0).all() for name, parameter in model.named_parameters() if name.endswith("bias"))
    weight = model.network.head.weight
    bound = (6 / (weight.shape[1] * 25 + weight.shape[0] * 25)) ** 0.5
    assert 0.9 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (40, 56)])
def test_any_size_and_trajectory(trajectory: str, height: int, width: int) -> None:
    model = _small(trajectory=trajectory, num_samples=5)
    out = model(torch.rand(2, 3, height, width))
    assert out.control_points.shape == (2, 2 * num_control_points(trajectory, 5), height, width)
    assert out.motion_offsets.shape == (2, 5, 2, height, width)
    assert out.loss is None
    torch.testing.assert_close(out.motion_offsets, model.offsets_at(out.control_points, [-1, -0.5, 0, 0.5, 1]))


PYRAMID = {
    "backbone": "pyramid",
    "widths": [8, 12, 16],
    "encoder_blocks": [1, 0, 1],
    "decoder_blocks": [1, 0],
    "direction": "doubled-angle",
    "predicts_uncertainty": True,
}


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (48, 64)])
def test_pyramid_of_any_size_and_trajectory(trajectory: str, height: int, width: int) -> None:
    model = _small(trajectory=trajectory, num_samples=5, **PYRAMID)
    out = model(torch.rand(2, 3, height, width))
    assert out.control_points.shape == (2, 2 * num_control_points(trajectory, 5), height, width)
    assert out.uncertainty.shape == (2, 1, height, width)
    assert (out.uncertainty > 0).all()
    ends = model.offsets_at(out.control_points, [-1, 1])
    assert (ends[:, 1, 0] >= ends[:, 0, 0]).all()


def test_pyramid_is_saved_and_loaded(tmp_path: Path) -> None:
    model = _small(**PYRAMID)
    model.save_pretrained(tmp_path)
    again = EtrajModel.from_pretrained(tmp_path)
    assert again.config.widths == (8, 12, 16)
    photo = torch.rand(1, 3, 32, 48)
    first, second = model(photo), again(photo)
    torch.testing.assert_close(first.control_points, second.control_points)
    torch.testing.assert_close(first.uncertainty, second.uncertainty)


def test_pyramid_of_an_empty_batch() -> None:
    out = _small(**PYRAMID)(torch.rand(0, 3, 32, 48))
    assert out.control_points.shape == (0, 4, 32, 48)


def test_pyramid_trains_through_checkpoints() -> None:
    model = _small(**PYRAMID).train()
    photo = torch.rand(1, 3, 32, 32)
    model(photo).control_points.sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(photo).control_points.sum().backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    torch.testing.assert_close(found, expected)


def test_convex_upsampling_keeps_what_is_even_and_what_one_weight_chooses() -> None:
    coarse = torch.arange(12.0).view(1, 1, 3, 4)
    even = convex_upsample(torch.full((1, 2, 3, 4), 7.0), torch.randn(1, 144, 3, 4))
    torch.testing.assert_close(even, torch.full((1, 2, 12, 16), 7.0))
    weights = torch.zeros(1, 9, 16, 3, 4)
    weights[:, 5] = 100  # the neighbour to the right
    right = convex_upsample(coarse, weights.flatten(1, 2))
    expected = coarse[..., [1, 2, 3, 3]].repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(right, expected)


@pytest.mark.parametrize(
    "photo", [torch.full((1, 3, 32, 48), 0.4), torch.zeros(1, 3, 32, 48), torch.ones(1, 3, 16, 16)]
)
def test_pyramid_of_one_colour_is_finite(photo: torch.Tensor) -> None:
    out = _small(**PYRAMID)(photo)
    assert out.control_points.isfinite().all()
    assert out.uncertainty.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"backbone": "unet"}, "backbone"),
        ({"direction": "left"}, "direction"),
        ({"widths": [8, 0]}, "widths"),
        ({"encoder_blocks": [1]}, "encoder_blocks"),
        ({"decoder_blocks": [1, 1, 1]}, "decoder_blocks"),
        ({"predicts_uncertainty": "yes"}, "predicts_uncertainty"),
    ],
)
def test_wrong_fields_are_named(fields: dict, name: str) -> None:
    with pytest.raises(BadInputError, match=name):
        EtrajConfig(**fields)


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    model = _small(ssim_weight=0.3, regularization_weight=0.02, total_variation_weight=0.05)
    blurred, sharp = torch.rand(1, 3, 104, 104), torch.rand(1, 3, 104, 104)
    out = model(blurred, sharp)
    weights = {"l2": 1, "ssim": 0.3, "regularization": 0.02, "total_variation": 0.05}
    assert set(out.losses) == set(weights)
    torch.testing.assert_close(out.loss, sum(weight * out.losses[name] for name, weight in weights.items()))
    torch.testing.assert_close(out.reblurred, create_blur(sharp, out.motion_offsets), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.losses["l2"], (out.reblurred - blurred).square().mean())


def test_a_few_steps_lower_the_reblurring_loss() -> None:
    model = _small(ssim_weight=0.0).train()
    generator = torch.Generator().manual_seed(1)
    sharp = torch.nn.functional.interpolate(
        torch.rand(1, 3, 16, 16, generator=generator), scale_factor=4, mode="bicubic"
    )
    motion = torch.zeros(1, 15, 2, 64, 64)
    motion[0, :, 0] = torch.linspace(-5, 5, 15)[:, None, None]
    blurred = create_blur(sharp, motion)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss = model(blurred, sharp, output_motion_offsets=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_saved_and_loaded_is_the_same_model(tmp_path: Path) -> None:
    model = _small(trajectory="cubic", num_samples=9)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    again = EtrajModel.from_pretrained(tmp_path)
    assert again.config.to_dict() | {"_name_or_path": ""} == model.config.to_dict()
    image = torch.rand(1, 3, 24, 24)
    assert torch.equal(again(image).control_points, model(image).control_points)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    _small(trajectory="quadratic").save_pretrained(tmp_path)
    EtrajConfig(base_channels=4, trajectory="linear").save_pretrained(tmp_path)
    with pytest.raises(BadInputError, match="network.head"):
        EtrajModel.from_pretrained(tmp_path)


def test_autocast_and_compile() -> None:
    model, image = _small(), torch.rand(1, 3, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        points = model(image).control_points
    assert points.dtype == torch.float32
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(image).control_points, model(image).control_points)


def test_return_dict_false_gives_a_tuple() -> None:
    points, offsets = _small()(torch.rand(1, 3, 16, 16), return_dict=False)
    assert (points.shape[1], offsets.shape[1]) == (4, 15)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_samples": 8}, "num_samples is 8.*odd"),
        ({"trajectory": "spline"}, "trajectory is 'spline'.*quadratic"),
        ({"base_channels": 0}, "base_channels is 0"),
        ({"padding_mode": "mirror"}, "padding_mode is 'mirror'"),
    ],
)
def test_bad_configs_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        EtrajConfig(**fields)


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"\(1, 1, 32, 32\)"):
        _small()(torch.rand(1, 1, 32, 32))
    with pytest.raises(BadInputError, match="at least 16"):
        _small()(torch.rand(1, 3, 15, 32))

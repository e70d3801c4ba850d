"""MA-DMPHN and DMPHN: sizes, structure, stacking, and conventions of transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets.errors import BadInputError
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.models.modeling_etraj import EtrajModel
from motion_offsets.models.modeling_ma_dmphn import MaDmphnForImageDeblurring, cut_patches, join_patches
from motion_offsets.models.motion_aware_conv import MotionAwareConv2d, motion_aware_conv2d

PLAIN: dict[str, Any] = {"motion_aware": False, "residual_output": False}
SMALL: dict[str, Any] = {"base_channels": 4}


def make(**config: Any) -> MaDmphnForImageDeblurring:
    return MaDmphnForImageDeblurring(MaDmphnConfig(**{**SMALL, **config})).eval()


def offsets_like(image: Tensor, reach: float = 30) -> Tensor:
    return reach * torch.randn(image.shape[0], 9, 2, *image.shape[2:])


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (PLAIN, 5_424_393),
        ({}, 5_424_393),  # a motion-aware convolution has the parameters of an ordinary one
        ({**PLAIN, "num_stacks": 4}, 4 * 5_424_393),
        ({**PLAIN, "levels": (1, 2, 4, 8)}, 4 * 5_424_393 // 3),
        ({"estimator_config": {}}, 5_424_393 + 1_129_604),
    ],
)
def test_parameter_counts(config: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        model = MaDmphnForImageDeblurring(MaDmphnConfig(**config))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_keys_are_the_published_ones() -> None:
    network = make(levels=(1, 2)).networks[0].state_dict()
    assert "encoder_lv1.layer2.0.weight" in network
    assert "decoder_lv2.layer22.2.bias" in network
    assert tuple(network["decoder_lv1.layer16.weight"].shape) == (16, 8, 4, 4)
    names = {key.split(".")[1] for key in network}
    assert names == {f"layer{n}" for n in (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 16, 17, 18, 20, 21, 22, 24)}


@pytest.mark.parametrize("stages", [(3,), (1, 2, 3), (1,)])
def test_motion_aware_stages(stages: tuple[int, ...]) -> None:
    model = make(motion_aware_stages=stages)
    aware = {name.split(".")[3] for name, module in model.named_modules() if isinstance(module, MotionAwareConv2d)}
    layers = {1: {"layer13", "layer14"}, 2: {"layer17", "layer18"}, 3: {"layer21", "layer22"}}
    assert aware == set().union(*(layers[stage] for stage in stages))
    image = torch.rand(1, 3, 32, 32)
    still = model(image, motion_offsets=torch.zeros(1, 9, 2, 32, 32)).sharp
    assert not torch.equal(model(image, motion_offsets=offsets_like(image)).sharp, still)


@pytest.mark.parametrize("cut", [(2, 1), (1, 2), (2, 2)])
def test_patches_are_row_by_row_and_join_again(cut: tuple[int, int]) -> None:
    image = torch.rand(2, 3, 8, 12)
    patches = cut_patches(image, cut)
    rows, columns = cut
    expected = [part for one in image for row in one.chunk(rows, dim=1) for part in row.chunk(columns, dim=2)]
    assert torch.equal(patches, torch.stack(expected))
    assert torch.equal(join_patches(patches, cut), image)


def test_two_levels_written_out() -> None:
    model = make(levels=(1, 2), **PLAIN)
    network = model.networks[0]
    image = torch.rand(1, 3, 16, 24)
    shifted = image - 0.5
    top, bottom = (network.encoder_lv2(half) for half in shifted.chunk(2, dim=2))
    features = torch.cat((top, bottom), 2)
    inner = network.encoder_lv1(shifted + network.decoder_lv2(features)) + features
    torch.testing.assert_close(model(image).sharp, network.decoder_lv1(inner) + 0.5)


def test_residual_output_adds_the_image() -> None:
    plain, residual = make(**PLAIN), make(motion_aware=False)
    residual.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(residual(image).sharp, plain(image).sharp + image - 0.5)


def test_offsets_move_with_their_patches() -> None:
    """The finest decoder of 1-2-4 works on halves; each half has its own part of the offsets, in its own pixels."""
    offsets = offsets_like(torch.rand(2, 3, 16, 16))
    pyramid = make()._offset_pyramid(offsets, ((2, 1), (1, 2)))
    halves = torch.stack([half for one in offsets for half in one.chunk(2, dim=2)])
    assert torch.equal(pyramid[1][2], halves)
    pooled = make(motion_aware_stages=(1,))._offset_pyramid(torch.full((1, 9, 2, 16, 16), 8.0), ((2, 1), (1, 2)))
    assert torch.equal(pooled[0][0], torch.full((1, 9, 2, 4, 4), 2.0))


@pytest.mark.parametrize("levels", [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 8)])
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (45, 64)])
def test_any_size(levels: tuple[int, ...], size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    out = make(levels=levels)(image, motion_offsets=offsets_like(image))
    assert out.sharp.shape == image.shape
    assert out.sharp.isfinite().all()


def test_loss_is_the_sum_over_the_stack() -> None:
    image, sharp = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    out = make(num_stacks=3)(image, sharp, offsets_like(image))
    assert len(out.stack_outputs) == 3
    assert out.sharp is out.stack_outputs[-1]
    terms = [(output - sharp).square().mean() for output in out.stack_outputs]
    torch.testing.assert_close(list(out.losses.values()), terms)
    torch.testing.assert_close(out.loss, sum(terms))


def test_carries_its_own_estimator() -> None:
    model = make(estimator_config=EtrajConfig(base_channels=4))
    image = torch.rand(1, 3, 32, 40)
    out = model(image)
    points = model.estimator(image).control_points
    expected = model.estimator.offsets_at(points, [step / 7 for step in range(-4, 5)])
    torch.testing.assert_close(out.motion_offsets, expected)
    out.sharp.sum().backward()
    assert all(parameter.grad is not None for parameter in model.estimator.parameters())


def test_initialisation() -> None:
    model = make(base_channels=16, **PLAIN)
    weight = model.networks[0].encoder_lv1.layer2[0].weight
    bound = math.sqrt(6 / (2 * 16 * 9))
    assert 0.98 * bound < weight.abs().max() <= bound
    assert all(torch.all(value == 0) for name, value in model.state_dict().items() if name.endswith("bias"))
    # A residual deblurrer starts near its input.
    image = torch.rand(1, 3, 32, 32)
    out = make(base_channels=32)(image, motion_offsets=offsets_like(image))
    assert (out.sharp - image).square().mean() < 0.01


def test_save_and_load(tmp_path: Path) -> None:
    model = make(num_stacks=2, levels=(1, 2), estimator_config={"trajectory": "cubic", "base_channels": 4})
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = MaDmphnForImageDeblurring.from_pretrained(tmp_path)
    assert loaded.config.to_dict().keys() == model.config.to_dict().keys()
    assert loaded.config.estimator_config.trajectory == "cubic"
    assert loaded.config.levels == (1, 2)
    assert loaded.config.tap_times == model.config.tap_times
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(image).sharp, model(image).sharp)


def test_a_saved_config_does_not_name_the_folder_of_its_estimator(tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, trajectory="cubic")).save_pretrained(tmp_path / "estimator")
    estimator = EtrajModel.from_pretrained(tmp_path / "estimator")
    MaDmphnConfig(base_channels=4, estimator_config=estimator.config).save_pretrained(tmp_path / "deblurrer")
    written = (tmp_path / "deblurrer" / "config.json").read_text()
    assert "cubic" in written
    assert str(tmp_path) not in written
    assert "auto_map" not in json.loads(written)["estimator_config"]


def test_gradient_checkpointing_changes_nothing() -> None:
    model = make(estimator_config={"base_channels": 4}).train()
    image, sharp = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(image, sharp).loss.backward()
        grads.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


def test_compiles_without_graph_break() -> None:
    torch._dynamo.reset()
    model = make(estimator_config={"base_channels": 4})
    image = torch.rand(1, 3, 20, 32)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(image).sharp
        torch.testing.assert_close(compiled, model(image).sharp)


def test_motion_that_leaves_the_photo_finds_its_border_repeated() -> None:
    """As if the features had been continued far enough, where by default they end in zeros."""
    features, weight = torch.rand(2, 4, 12, 14), torch.randn(4, 4, 3, 3)
    offsets = offsets_like(features, reach=8)
    wide, around = (functional.pad(x, (40,) * 4, mode) for x, mode in ((features, "replicate"), (offsets, "constant")))
    expected = motion_aware_conv2d(wide, weight, None, around, 0.5)[..., 40:-40, 40:-40]
    kept = make(alpha=0.5, motion_padding_mode="border")._stage_offsets(offsets.flatten(1, 2))[2]
    torch.testing.assert_close(motion_aware_conv2d(features, weight, None, kept, 0.5), expected, rtol=0, atol=1e-4)
    by_default = make(alpha=0.5)._stage_offsets(offsets.flatten(1, 2))[2]
    assert torch.equal(by_default, offsets)


def test_autocast() -> None:
    model = make()
    image = torch.rand(1, 3, 32, 32)
    offsets = offsets_like(image)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = model(image, image, offsets)
    assert got.loss.dtype == torch.float32
    torch.testing.assert_close(got.sharp.float(), model(image, motion_offsets=offsets).sharp, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"levels": (1, 3)}, "levels is"),
        ({"num_stacks": 0}, "num_stacks is 0; it must be"),
        ({"base_channels": 2.5}, "base_channels is 2.5"),
        ({"motion_aware": "yes"}, "motion_aware is 'yes'"),
        ({"motion_aware_stages": ()}, "motion_aware_stages is"),
        ({"motion_aware_stages": (3, 4)}, "motion_aware_stages is"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"motion_padding_mode": "mirror"}, "motion_padding_mode is 'mirror'; it must be one of zeros, border"),
        ({"tap_times": (0.0,) * 8}, "tap_times is"),
        ({"tap_times": (2.0,) * 9}, "tap_times is"),
        ({"estimator_config": "etraj"}, "estimator_config is 'etraj'"),
        ({"estimator_config": {}, "motion_aware": False}, "estimator_config is given and motion_aware is False"),
        ({"estimator_config": {"num_samples": 14}}, "num_samples is 14"),
    ],
)
def test_bad_configs_are_refused_in_one_line(config: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=words) as error:
        MaDmphnConfig(**config)
    assert "\n" not in str(error.value)


def test_bad_calls_are_refused() -> None:
    model = make()
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(BadInputError, match="has no estimator"):
        model(image)
    with pytest.raises(BadInputError, match="sides of 16 or more"):
        model(torch.rand(1, 3, 15, 16), motion_offsets=torch.zeros(1, 9, 2, 15, 16))
    with pytest.raises(BadInputError, match="motion_offsets has shape"):
        model(image, motion_offsets=torch.zeros(1, 15, 2, 16, 16))
    with pytest.raises(BadInputError, match="sharp_pixel_values has shape"):
        model(image, torch.rand(1, 3, 32, 32), offsets_like(image))

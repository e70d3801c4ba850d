"""Published weights: read as tensors alone, converted into the same function, refused by name if they do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import assert_refused, run
from huggingface_hub import ModelCard
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.interchange.conversion import convert

PLAIN: dict[str, Any] = {"base_channels": 4, "motion_aware": False, "residual_output": False}


def published_etraj(model: EtrajModel) -> dict[str, Tensor]:
    """The state dict that Motion-ETR would have saved for the function of a model of ours."""
    ours = {key.removeprefix("network."): value.clone() for key, value in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for stage in (1, 2, 3):
            state[f"conv_{stage}.1.{kind}"] = ours[f"encoder{stage}.conv.{kind}"]
            for block in (0, 1, 2):
                for inner, outer in ((1, 1), (2, 4)):
                    key = f"encoder{stage}.blocks.{block}.conv{inner}.{kind}"
                    state[f"conv_{stage}.3.{block}.conv_block.{outer}.{kind}"] = ours[key]
            for inner, outer in ((1, 0), (2, 2)):
                value = ours[f"bottleneck{stage}.conv{inner}.{kind}"]
                state[f"bottleneck_{stage}.model.{outer}.{kind}"] = value
                state[f"bottleneck_{stage}.conv{inner}.{kind}"] = value
            state[f"uconv_{stage}.{kind}"] = ours[f"upsample{stage}.{kind}"]
        head = ours[f"head.{kind}"]
        swapped = [channel ^ 1 for channel in range(len(head))]  # dy before dx
        state[f"conv_out_0.{kind}"] = head[swapped]
    # Of the photo x in [0, 1] instead of 2 x - 1, its 2x2 cells ordered (row, column, colour).
    first = ours["encoder1.conv.weight"]
    order = [colour * 4 + row * 2 + column for row in (0, 1) for column in (0, 1) for colour in (0, 1, 2)]
    state["conv_1.1.weight"] = 2 * first[:, order]
    state["conv_1.1.bias"] = ours["encoder1.conv.bias"] - first.sum((1, 2, 3))
    return state


def saved(state: dict[str, Any], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return file


@pytest.mark.parametrize("trajectory", ["linear", "bidirectional-linear", "quadratic"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_motion_etr_computes_the_same(tmp_path: Path, trajectory: str, prefix: str) -> None:
    model = EtrajModel(EtrajConfig(trajectory=trajectory, base_channels=4)).eval()
    torch.nn.init.normal_(model.network.encoder1.conv.bias)
    state = {prefix + key: value for key, value in published_etraj(model).items()}
    file = saved(state, tmp_path / "latest_net_offset.pth")
    converted = convert(file, None if trajectory == "linear" else trajectory)
    assert isinstance(converted, EtrajModel)
    assert (converted.config.trajectory, converted.config.padding_mode) == (trajectory, "zeros")
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(converted(image).control_points, model(image).control_points)


def test_the_first_layer_sees_what_the_published_one_sees(tmp_path: Path) -> None:
    """The published first convolution written out: the photo in [0, 1], cells in the order row, column, colour."""
    state = published_etraj(EtrajModel(EtrajConfig(base_channels=4)))
    state["conv_1.1.weight"], state["conv_1.1.bias"] = torch.randn(4, 12, 5, 5), torch.randn(4)
    converted = convert(saved(state, tmp_path / "x.pth"), "quadratic").network.encoder1
    image = torch.rand(1, 3, 16, 20)
    cells = [image[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    padded = functional.pad(torch.cat(cells, 1), (2, 2, 2, 2), mode="reflect")
    expected = functional.conv2d(padded, state["conv_1.1.weight"], state["conv_1.1.bias"])
    inputs = functional.pad(functional.pixel_unshuffle(2 * image - 1, 2), (2, 2, 2, 2), mode="reflect")
    torch.testing.assert_close(converted.conv(inputs), expected, rtol=1e-4, atol=1e-4)


def test_the_bundled_estimator_survives_the_published_layout(tmp_path: Path, astronaut: Tensor) -> None:
    """Through the command, in the published size, and loaded as any model of ours."""
    model = EtrajModel.from_pretrained("etraj-quadratic", scales=[1])  # as the published network sees the photo
    state = published_etraj(model)
    file = saved(state, tmp_path / "quad" / "latest_net_offset.pth")
    result = run("convert", file.parent, "-o", tmp_path / "ours", "--trajectory", "quadratic")
    assert result.exit_code == 0, result.output
    assert "EtrajModel, 1,129,604 parameters" in result.stdout
    assert AutoImageProcessor.from_pretrained(tmp_path / "ours").to_dict()
    again = run("convert", file.parent, "-o", tmp_path / "ours", "--trajectory", "quadratic")
    assert again.exit_code == 0, again.output
    image = astronaut[..., :64, :96]
    with torch.no_grad():
        expected = model(image).control_points
        found = EtrajModel.from_pretrained(tmp_path / "ours")(image).control_points
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "trajectory", "said"),
    [
        ({}, None, "may be bidirectional-linear or quadratic; give `trajectory`"),
        ({}, "linear", "has 4 output channels, and linear does not"),
        ({}, "zero-constraint", "give `trajectory` bidirectional-linear or quadratic"),
        ({"uconv_2.bias": None}, "quadratic", "lacks uconv_2.bias"),
        ({"norm.weight": torch.zeros(1)}, "quadratic", "has norm.weight too many"),
        ({"uconv_3.bias": torch.zeros(5)}, "quadratic", r"uconv_3.bias is \(5,\) instead of \(8,\)"),
        ({"conv_out_0.weight": torch.zeros(6, 8, 5, 5)}, "quadratic", "has 6 output channels"),
        ({"conv_1.1.weight": None}, "quadratic", "has no convolution conv_1.1.weight"),
        ({"bottleneck_1.conv1.bias": torch.ones(32)}, "quadratic", "bottleneck_1.model.0.bias differ"),
    ],
)
def test_motion_etr_that_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, Tensor | None], trajectory: str | None, said: str
) -> None:
    state = published_etraj(EtrajModel(EtrajConfig(base_channels=4))) | change
    file = saved({key: value for key, value in state.items() if value is not None}, tmp_path / "net.pth")
    with pytest.raises(BadInputError, match=said) as error:
        convert(file, trajectory)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


class Intruder:
    """What a hostile pickle holds: code to run on loading."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("intruded"),))


def test_pickles_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"conv_1.1.weight": Intruder()}, protocol=2))
    result = run("convert", "net.pth", "-o", "ours")
    assert_refused(result, "net.pth: cannot be read as weights alone")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.pth"]


def dmphn_folder(model: MaDmphnForImageDeblurring, folder: Path) -> Path:
    """The folder of pickles in which DMPHN's weights are published."""
    count = len(model.networks)
    for stack, network in enumerate(model.networks, 1):
        for part, module in network.named_children():
            name = part.replace("_lv", f"_s{stack}_lv") if count > 1 else part
            saved(module.state_dict(), folder / f"{name}.pkl")
    return folder


@pytest.mark.parametrize(("num_stacks", "levels"), [(1, (1, 2, 4)), (1, (1, 2, 4, 8)), (3, (1, 2, 4))])
def test_dmphn_layouts(tmp_path: Path, num_stacks: int, levels: tuple[int, ...]) -> None:
    model = MaDmphnForImageDeblurring(MaDmphnConfig(num_stacks=num_stacks, levels=levels, **PLAIN)).eval()
    folder = dmphn_folder(model, tmp_path / "weights")
    assert run("convert", folder, "-o", tmp_path / "ours").exit_code == 0
    converted = MaDmphnForImageDeblurring.from_pretrained(tmp_path / "ours").eval()
    card = ModelCard.load(tmp_path / "ours" / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "not-stated")
    assert "The weights are those of its authors" in card.text
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(converted(image).sharp, model(image).sharp)


def test_a_fourth_network_that_is_not_used_stays_out(tmp_path: Path) -> None:
    model = MaDmphnForImageDeblurring(MaDmphnConfig(num_stacks=4, **PLAIN)).eval()
    folder = dmphn_folder(model, tmp_path / "SDNet3")
    with pytest.raises(BadInputError, match="holds 4 networks, and its name says 3; give `num_stacks`"):
        convert(folder)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(convert(folder, num_stacks=3)(image).sharp, model(image).stack_outputs[2])


def test_dmphn_that_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = dmphn_folder(MaDmphnForImageDeblurring(MaDmphnConfig(**PLAIN)), tmp_path / "weights")
    weights = torch.load(folder / "decoder_lv2.pkl", weights_only=True)
    for change, said in (
        ({"layer24.bias": None}, "lacks layer24.bias"),
        ({"layer25.bias": torch.zeros(1)}, "has layer25.bias too many"),
        ({"layer24.bias": torch.zeros(4)}, "layer24.bias is (4,) instead of (3,)"),
    ):
        changed = {key: value for key, value in (weights | change).items() if value is not None}
        saved(changed, folder / "decoder_lv2.pkl")
        assert_refused(run("convert", folder, "-o", tmp_path / "ours"), folder / "decoder_lv2.pkl", said)
    (folder / "decoder_lv2.pkl").unlink()
    assert_refused(run("convert", folder, "-o", tmp_path / "ours"), folder, "lacks decoder_lv2.pkl")
    assert not (tmp_path / "ours").exists()


def test_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    file = saved(published_etraj(EtrajModel(EtrajConfig(base_channels=4, trajectory="linear"))), tmp_path / "net.pth")
    out = tmp_path / "ours"
    assert_refused(run("convert", tmp_path / "gone.pth", "-o", out), "gone.pth: no such file")
    assert_refused(run("convert", tmp_path / "empty", "-o", out), "empty: holds no published weights")
    assert_refused(run("convert", tmp_path / "empty", "-o", out, "--trajectory", "linear"), "leave --trajectory out")
    assert_refused(run("convert", file, "-o", out, "--stacks", 2), "leave --stacks out")
    assert_refused(run("convert", saved({"a": 1}, tmp_path / "a.pth"), "-o", out), "holds no state dict")
    assert_refused(run("convert", file, "-o", tmp_path / "full"), "'thesis.txt', which is not our result")
    assert not out.exists()


@pytest.mark.parametrize(("name", "photo"), [("DMPHN_1_2_4", "000003"), ("SDNet2", "000008")])
def test_published_weights_give_the_published_photo(data_dir: Path, name: str, photo: str) -> None:
    """The middle of the photo, where its patches meet as in the whole, and of that what its borders do not reach."""
    model = convert(data_dir / "dmphn" / "checkpoints" / name)
    part, border = (368, 160, 912, 560), 136  # of 1280x720
    with Image.open(data_dir / "dmphn" / "photos" / f"{photo}.png") as picture:
        blurred = np.array(picture.convert("RGB").crop(part))
    with Image.open(data_dir / "dmphn" / "results" / name / f"{photo}.png") as picture:
        result = np.array(picture.convert("RGB").crop(part))
    with torch.no_grad():
        sharp = model(torch.from_numpy(blurred).permute(2, 0, 1)[None] / 255).sharp
    difference = np.abs(sharp[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255 - result)
    assert difference[border:-border, border:-border].max() <= 1.01
    assert np.abs(blurred - 1.0 * result)[border:-border, border:-border].max() > 20  # there was something to do

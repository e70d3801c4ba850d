"""MAXIM's TensorFlow.js package, written here for a tiny network: read, dequantised, mapped, refused whole."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import assert_refused, run

from motion_offsets import MaximForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.interchange.conversion import convert
from motion_offsets.interchange.tfjs import find_graph_model, read_graph_model

STAGES, LEVELS, BASE, SIDES = 2, 2, 4, (4, 2, 2)
CHANNELS = (BASE, 2 * BASE)
PREFIX = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
SHARD = 20_000
Layer = tuple[str, str, tuple[int, ...]]  # published name, kind, shape of its kernel or number of channels


def gating(name: str, channels: int, side: int) -> Iterator[Layer]:
    for each in "xy":
        inner = f"{name}/SplitHeadMultiAxisGating_{each}"
        yield f"{name}/LayerNorm_{each}", "norm", (channels,)
        yield f"{name}/in_project_{each}", "dense", (channels, channels)
        yield f"{name}/out_project_{each}", "dense", (channels, channels)
        yield f"{inner}/LayerNorm_in", "norm", (channels,)
        yield f"{inner}/in_project", "dense", (channels, 2 * channels)
        yield f"{inner}/Dense_0", "dense", (side**2, side**2)
        yield f"{inner}/Dense_1", "dense", (side**2, side**2)
        yield f"{inner}/out_project", "dense", (2 * channels, channels)


def mixing(name: str, channels: int, side: int) -> Iterator[Layer]:
    name = f"{name}/SplitHeadMultiAxisGmlpLayer_0"
    yield f"{name}/LayerNorm_in", "norm", (channels,)
    yield f"{name}/in_project", "dense", (channels, 2 * channels)
    yield f"{name}/out_project", "dense", (2 * channels, channels)
    for axis in ("Grid", "Block"):
        inner = f"{name}/{axis}GmlpLayer"
        yield f"{inner}/LayerNorm", "norm", (channels,)
        yield f"{inner}/in_project", "dense", (channels, 2 * channels)
        yield f"{inner}/{axis}GatingUnit/intermediate_layernorm", "norm", (channels,)
        yield f"{inner}/{axis}GatingUnit/Dense_0", "dense", (side**2, side**2)
        yield f"{inner}/out_project", "dense", (channels, channels)


def attention(name: str, channels: int) -> Iterator[Layer]:
    yield f"{name}/LayerNorm", "norm", (channels,)
    yield f"{name}/channel_attention/Conv_0", "conv", (1, 1, channels, channels // 4)
    yield f"{name}/channel_attention/Conv_1", "conv", (1, 1, channels // 4, channels)


def unet_block(name: str, inputs: int, channels: int, side: int) -> Iterator[Layer]:
    yield f"{name}/Conv_0", "conv", (1, 1, inputs, channels)
    yield from mixing(name, channels, side)
    yield from attention(f"{name}/channel_attention_block_10", channels)
    for number in (1, 2):
        yield f"{name}/channel_attention_block_10/conv{number}", "conv", (3, 3, channels, channels)


def published_layers() -> Iterator[Layer]:
    for stage in range(STAGES):
        for level, channels in enumerate(CHANNELS):
            side = SIDES[level]
            below = CHANNELS[min(level + 1, LEVELS - 1)]
            yield f"stage_{stage}_input_conv_{level}", "conv", (3, 3, 3, channels)
            encoder = f"stage_{stage}_encoder_block_{level}"
            yield from unet_block(encoder, CHANNELS[max(level - 1, 0)] + channels, channels, side)
            yield f"{encoder}/Conv_1", "conv", (4, 4, channels, channels)
            for crossing in (f"{encoder}/cross_gating_block", f"stage_{stage}_input_fuse_sam_{level}"):
                if stage:
                    yield from gating(crossing, channels, side)
                    yield f"{crossing}/Conv_0", "conv", (1, 1, channels, channels)
                    yield f"{crossing}/Conv_1", "conv", (1, 1, channels, channels)
            crossing = f"stage_{stage}_cross_gating_block_{level}"
            yield from gating(crossing, channels, side)
            yield f"{crossing}/ConvTranspose_0", "transposed", (2, 2, channels, below)
            yield f"{crossing}/Conv_0", "conv", (1, 1, LEVELS * channels, channels)
            yield f"{crossing}/Conv_1", "conv", (1, 1, channels, channels)
            decoder = f"stage_{stage}_decoder_block_{level}"
            yield f"{decoder}/ConvTranspose_0", "transposed", (2, 2, channels, below)
            yield from unet_block(f"{decoder}/UNetEncoderBlock_0", (1 + LEVELS) * channels, channels, side)
            if stage < STAGES - 1:
                sam = f"stage_{stage}_supervised_attention_module_{level}"
                yield f"{sam}/Conv_0", "conv", (3, 3, channels, channels)
                yield f"{sam}/Conv_1", "conv", (3, 3, channels, 3)
                yield f"{sam}/Conv_2", "conv", (3, 3, 3, channels)
        bottom = f"stage_{stage}_global_block_0"
        yield f"{bottom}/input_proj", "conv", (1, 1, CHANNELS[-1], CHANNELS[-1])
        yield from mixing(bottom, CHANNELS[-1], SIDES[-1])
        yield from attention(f"{bottom}/channel_attention_block_1_0", CHANNELS[-1])
        for number in (0, 1):
            name = f"{bottom}/channel_attention_block_1_0/channel_mixing/Dense_{number}"
            yield name, "dense", (CHANNELS[-1], CHANNELS[-1])
        # Which map goes to which level, as the graph numbers them: 0 to 3 meet at the coarse, then at the fine level.
        for number, (other, level) in enumerate([(0, 1), (1, 1), (0, 0), (1, 0), (1, 1), (0, 1), (1, 0), (0, 0)]):
            name = f"UpSampleRatio_{8 * stage + number}/Conv_0"
            yield name, "conv", (1, 1, CHANNELS[other], CHANNELS[level])
    yield f"stage_{STAGES - 1}_output_conv_0", "conv", (3, 3, BASE, 3)


class Package:
    """A graph model as TensorFlow.js writes it."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: dict[str, np.ndarray] = {}  # by layer and kind, e.g. "stage_0_input_conv_0:kernel"
        self.entries: list[dict[str, Any]] = []
        self.data = bytearray()
        random = np.random.default_rng(0)
        self._store("constant", np.float32(0.044715))
        for layer, kind, shape in published_layers():
            channels = shape[2] if kind == "transposed" else shape[-1]
            if kind == "norm":
                self._add(layer, "scale", random.normal(size=(1, 1, 1, channels)), "Mul", "jit_fn_/Mul_3")
                self._add(layer, "bias", random.normal(size=(1, 1, 1, channels)), "AddV2", "jit_fn_/AddV2_1")
                continue
            operation = {"conv": "Conv2D", "transposed": "Conv2DBackpropInput", "dense": "Einsum"}[kind]
            below = "einsum/Einsum" if kind == "dense" else operation
            self._add(layer, "kernel", random.normal(size=shape), operation, below)
            self._add(layer, "bias", random.normal(size=(1, 1, 1, channels)), "AddV2", "jit_fn_/AddV2")

    def _add(self, layer: str, kind: str, values: np.ndarray, operation: str, below: str) -> None:
        name = f"{PREFIX}{layer}/{kind}"
        self.weights[f"{layer}:{kind}"] = values.astype(np.float32)
        self._store(name, values.astype(np.float32))
        inputs = [f"{PREFIX}something:0", name]
        self.nodes.append({"name": f"{PREFIX}{layer}/{below}", "op": operation, "input": inputs})

    def _store(self, name: str, values: np.ndarray) -> None:
        self.nodes.append({"name": name, "op": "Const"})
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        stored = values
        if "input_conv_0" in name:
            stored = values.astype(np.float16)
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        elif "input_conv_1" in name and values.ndim == 4:
            low, scale = float(values.min()), float(values.max() - values.min()) / 255
            stored = np.rint((values - low) / scale).astype(np.uint8)
            entry["quantization"] = {"dtype": "uint8", "min": low, "scale": scale, "original_dtype": "float32"}
        self.entries.append(entry)
        self.data += stored.tobytes()

    def write(self, folder: Path) -> Path:
        """As npm unpacks it."""
        inner = folder / "package" / "models"
        inner.mkdir(parents=True)
        count = math.ceil(len(self.data) / SHARD)
        paths = [f"group1-shard{number + 1}of{count}.bin" for number in range(count)]
        for number, name in enumerate(paths):
            (inner / name).write_bytes(self.data[number * SHARD : (number + 1) * SHARD])
        manifest = [{"paths": paths, "weights": self.entries}]
        content = {"format": "graph-model", "modelTopology": {"node": self.nodes}, "weightsManifest": manifest}
        (inner / "model.json").write_text(json.dumps(content), encoding="utf-8")
        return folder


@pytest.fixture(scope="module")
def package() -> Package:
    return Package()


@pytest.fixture
def folder(package: Package, tmp_path: Path) -> Path:
    return package.write(tmp_path / "npm")


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "package" / "models").glob("*.bin"), key=lambda file: int(file.stem[12:].split("of")[0]))


def edit(folder: Path, change: Any) -> Path:
    file = folder / "package" / "models" / "model.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_every_weight_finds_its_place(package: Package, folder: Path) -> None:
    model = convert(folder)
    assert isinstance(model, MaximForImageDeblurring)
    config = model.config
    assert (config.num_stages, config.base_channels, config.block_sizes) == (STAGES, BASE, SIDES)
    assert (config.num_blocks, config.num_bottleneck_blocks) == (1, 1)
    assert model.num_parameters() == sum(weight.size for weight in package.weights.values())
    stage = model.stages[1]
    bottom = "stage_1_global_block_0/SplitHeadMultiAxisGmlpLayer_0"
    published = {
        # A plain convolution, a 1x1 one as a dense layer, a dense one, a transposed one, a mixing matrix, a norm.
        "stage_1_encoder_block_1/Conv_1:kernel": stage.encoders[1].downsample.weight.permute(2, 3, 1, 0),
        "stage_1_input_fuse_sam_0/Conv_1:kernel": stage.fusions[0].second.weight.T[None, None],
        "stage_1_encoder_block_0/cross_gating_block/in_project_y:kernel": stage.encoders[0].gating.second_in.weight.T,
        "stage_1_decoder_block_0/ConvTranspose_0:kernel": stage.decoders[0].upsample.weight.permute(2, 3, 1, 0),
        "stage_1_cross_gating_block_0/SplitHeadMultiAxisGating_x/Dense_1:kernel": (
            stage.gatings[0].first_gate.block.weight.T
        ),
        f"{bottom}/GridGmlpLayer/GridGatingUnit/intermediate_layernorm:scale": (
            stage.bottleneck[0].mixings[0].grid.gate_norm.weight[None, None, None]
        ),
        # Maps of the fine level, shrunk to the coarse one of the encoder, and from the coarse to the fine decoder.
        "UpSampleRatio_8/Conv_0:kernel": stage.encoder_skips[1][0].project.weight.T[None, None],
        "UpSampleRatio_14/Conv_0:kernel": stage.decoder_skips[0][1].project.weight.T[None, None],
    }
    for name, ours in published.items():
        np.testing.assert_array_equal(ours.detach().numpy(), package.weights[name], err_msg=name)


def test_quantised_weights_are_what_they_stand_for(package: Package, folder: Path) -> None:
    inputs = convert(folder).stages[0].inputs
    half = package.weights["stage_0_input_conv_0:kernel"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(inputs[0].weight.detach().permute(2, 3, 1, 0).numpy(), half)
    byte = package.weights["stage_0_input_conv_1:kernel"]
    step = (byte.max() - byte.min()) / 255
    found = inputs[1].weight.detach().permute(2, 3, 1, 0).numpy()
    assert 0 < np.abs(found - byte).max() <= 0.51 * step


def test_command_writes_a_model_that_loads(folder: Path, tmp_path: Path) -> None:
    result = run("convert", folder, "-o", tmp_path / "maxim")
    assert result.exit_code == 0, result.output
    assert "MaximForImageDeblurring" in result.stdout
    assert "Apache-2.0" in (tmp_path / "maxim" / "README.md").read_text(encoding="utf-8")
    loaded = MaximForImageDeblurring.from_pretrained(tmp_path / "maxim").eval()
    photo = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(loaded(photo).sharp, convert(folder)(photo).sharp)


def test_each_folder_of_the_package_will_do(folder: Path) -> None:
    inner = folder / "package" / "models"
    for source in (folder, folder / "package", inner, inner / "model.json"):
        assert find_graph_model(source) == inner / "model.json"
    assert find_graph_model(folder.parent) is None


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "last"])
def test_damaged_shards_are_refused_by_name(folder: Path, tmp_path: Path, damage: str) -> None:
    shard = shards(folder)[-1 if damage == "last" else 2]
    content = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(content + b"more" if damage == "longer" else content[:-4])
    said = "is missing" if damage == "missing" else "the shards hold"
    result = run("convert", folder, "-o", tmp_path / "out")
    # A shard too long is told from its neighbours only by being unlike them.
    assert_refused(result, said, *([] if damage == "longer" else [shard.name]))
    assert not (tmp_path / "out").exists()


def without_a_layer(content: dict[str, Any]) -> None:
    content["modelTopology"]["node"] = [
        node for node in content["modelTopology"]["node"] if "stage_1_encoder_block_0/Conv_1/" not in node["name"]
    ]


def with_a_stranger(content: dict[str, Any]) -> None:
    for node in content["modelTopology"]["node"]:
        node["name"] = node["name"].replace("stage_1_encoder_block_0/Conv_1/C", "stage_1_encoder_block_0/Conv_9/C")


def used_twice(content: dict[str, Any]) -> None:
    nodes = content["modelTopology"]["node"]
    nodes.append({**next(node for node in nodes if node["op"] == "Einsum"), "name": f"{PREFIX}again/einsum/Einsum"})


def without_topology(content: dict[str, Any]) -> None:
    del content["modelTopology"]


def outside(content: dict[str, Any]) -> None:
    content["weightsManifest"][0]["paths"][0] = "../../secret.bin"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_layer, "its graph has no node .*Conv_1"),
        (with_a_stranger, "is not MAXIM's graph .*lacks stage_1_encoder_block_0/Conv_1/kernel; has .*Conv_9"),
        (used_twice, "is not MAXIM's graph .*again"),
        (without_topology, "is not a graph model of TensorFlow.js"),
        (outside, "outside its folder"),
    ],
)
def test_another_graph_is_refused(folder: Path, change: Any, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        convert(edit(folder, change))
    assert "\n" not in str(caught.value)


def test_integers_are_read_beside_floats(tmp_path: Path) -> None:
    """Quantised integers are rounded, and a group's places follow its types' sizes."""
    quantisation = {"dtype": "uint8", "min": -3, "scale": 2}
    entries = [
        {"name": "a", "shape": [2], "dtype": "int32", "quantization": quantisation},
        {"name": "b", "shape": [1], "dtype": "bool"},
        {"name": "c", "shape": [], "dtype": "float32"},
    ]
    (tmp_path / "w.bin").write_bytes(bytes([0, 5, 1]) + np.float32(0.5).tobytes())
    nodes = [{"name": name, "op": "Const"} for name in "abc"]
    content = {"modelTopology": {"node": nodes}, "weightsManifest": [{"paths": ["w.bin"], "weights": entries}]}
    (tmp_path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    weights = read_graph_model(tmp_path / "model.json").weights
    assert {name: weight.tolist() for name, weight in weights.items()} == {"a": [-3, 7], "b": [1], "c": 0.5}


def test_options_of_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    assert_refused(run("convert", folder, "--stacks", "2", "-o", tmp_path / "out"), "leave --trajectory and --stacks")

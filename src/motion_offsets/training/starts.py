"""What training starts from: weights that let blur through from the first step, and small networks that grow."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from ..errors import BadInputError
from ..exposure.trajectories import sample_times, trajectory_basis
from ..models.configuration_etraj import EtrajConfig
from ..models.modeling_etraj import EtrajModel, EtrajResidualBlock
from ..models.modeling_ma_dmphn import MaDmphnForImageDeblurring, ResidualBlock

# How much larger than Xavier's the head starts, and how much faster it learns, with ``high_pass_start``.
HEAD_GAIN = 10.0
# Mean |dx| / 2 of Gong et al.'s motions in the half-plane dx >= 0: the ends of the path start there, pixels.
MIDDLE_OF_HALF_PLANE = 6.7
HEAD = ("network.head.weight", "network.head.bias")
# What the output for the uncertainty starts at; its softplus stands for 3.5 pixels.
UNSURE = -1.4
# Step of the deconvolution that a residual block along the motion starts with; Landweber's converges below 2.
DECONVOLUTION_STEP = 1.5
# Where the photo and the correction lie among the channels at full, half and quarter resolution.
PHOTO = {"full": slice(0, 3), "half": slice(0, 12), "quarter": slice(0, 48)}
BOTH = {"full": slice(0, 6), "half": slice(0, 24), "quarter": slice(0, 96)}
# The weights that read, of 3x3 at stride 2, or write, of 4x4, the four pixels of a cell.
PIXELS_OF_A_CELL = ((1, 1), (1, 2), (2, 1), (2, 2))


@torch.no_grad()
def start_on_detail(model: EtrajModel) -> None:
    """Start an estimator so that it sees blur from the first step.

    Blur is written in fine detail, which is a hundredth of a photo's energy; from Xavier's start the features carry
    brightness for thousands of steps and the direction of motion is not learned. So the first filters start with zero
    mean in each colour and five times as large, the others as He et al. propose for ReLUs, the residual blocks close
    to the identity, and the ends of the path in the middle of the half-plane.
    """
    network = model.network
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, EtrajResidualBlock):
            module.conv2.weight.mul_(0.1)
    first = network.encoder1.conv.weight
    by_colour = first.unflatten(1, (3, 4))
    first.copy_(5 * (by_colour - by_colour.mean((2, 3, 4), keepdim=True)).flatten(1, 2))
    parts = 2 * model.config.num_control_points
    network.head.weight[:parts].mul_(HEAD_GAIN)
    assert network.head.bias is not None
    network.head.bias[parts:] = UNSURE
    if model.config.trajectory == "quadratic":
        network.head.bias[:parts] = torch.tensor([-MIDDLE_OF_HALF_PLANE, 0.0, MIDDLE_OF_HALF_PLANE, 0.0])


@torch.no_grad()
def with_trajectory(start: EtrajModel, config: EtrajConfig) -> EtrajModel:
    """An estimator of another trajectory that sees what ``start`` sees, and says it as well as its trajectory can.

    Control points are what the last convolution makes linearly of the features, and offsets are linear in control
    points (eq. 12-14): the new points are those whose offsets at the N sample times are nearest in least squares.
    """
    model = EtrajModel(config)
    weights = {**start.state_dict(), **_context(model)}
    if config.direction == "doubled-angle":
        return _with_fresh_parts(model, start, weights)
    old, new = (
        trajectory_basis(one.trajectory, sample_times(config.num_samples), one.num_samples).double()
        for one in (start.config, config)
    )
    points = torch.linalg.lstsq(new, old).solution
    parts = 2 * start.config.num_control_points
    for name in HEAD:
        head = weights[name][:parts].double().unflatten(0, (-1, 2))
        ours = torch.einsum("kj,jc...->kc...", points, head).flatten(0, 1).float()
        weights[name] = torch.cat([ours, weights[name][parts:]])
    model.load_state_dict(weights)
    return model


@torch.no_grad()
def with_uncertainty(start: EtrajModel) -> EtrajModel:
    """An estimator that predicts the same paths, and a few pixels of uncertainty everywhere."""
    model = EtrajModel(EtrajConfig(**{**start.config.to_diff_dict(), "predicts_uncertainty": True}))
    weights = start.state_dict()
    for name in HEAD:
        fresh = torch.zeros_like(weights[name][:1]) if name.endswith("weight") else weights[name].new_tensor([UNSURE])
        weights[name] = torch.cat([weights[name], fresh])
    model.load_state_dict(weights)
    return model


def with_context(start: EtrajModel, config: EtrajConfig) -> EtrajModel:
    """An estimator of the config that begins with what ``start`` predicts at each of the config's scales, averaged.

    Raises:
        BadInputError: ``start`` predicts uncertainty itself, or does not fit.
    """
    model = EtrajModel(config)
    if start.config.predicts_uncertainty:
        raise BadInputError(
            "start_from predicts its uncertainty itself, and model has context_widths, whose network is to predict "
            "it; give a start without"
        )
    model.load_state_dict({**start.state_dict(), **_context(model)})
    return model


def _context(model: EtrajModel) -> dict[str, torch.Tensor]:
    """The weights of the network of context, none where the model has none."""
    return {name: value for name, value in model.state_dict().items() if name.startswith("context.")}


def _with_fresh_parts(model: EtrajModel, start: EtrajModel, weights: dict[str, torch.Tensor]) -> EtrajModel:
    """The first odd part means the same for every trajectory, and so does the uncertainty; the others start fresh."""
    parts = 2 * start.config.num_control_points
    for name in HEAD:
        fresh = model.state_dict()[name].clone()
        fresh[:2] = weights[name][:2]
        fresh[2 * model.config.num_control_points :] = weights[name][parts:]
        weights[name] = fresh
    model.load_state_dict(weights)
    return model


@torch.no_grad()
def start_by_deconvolution(model: MaDmphnForImageDeblurring) -> None:
    """Start a residual, motion-aware deblurrer as two steps of deconvolution along the motion.

    The published network has no connection from its encoder to its decoder but the coarsest features, and from
    Xavier's start these hardly say where in their 4x4 pixels a detail lies. So the photo goes down by space to depth
    and comes up by depth to space, with a correction beside it that starts at zero. At full resolution, the first
    motion-aware convolution of each block compares the photo with the blur of what there is so far, the second adds
    the difference, blurred likewise, to the correction: Landweber's deconvolution. All other channels start with He
    et al.'s weights, the first filters with zero mean, five times as large, the residual blocks close to the identity.
    Nothing is fixed afterwards, and the architecture is the published one.

    Raises:
        BadInputError: the model is not motion-aware at full resolution, has no residual output or too few channels.
    """
    config = model.config
    if not (config.motion_aware and 3 in config.motion_aware_stages and config.residual_output):
        raise BadInputError("deconvolution_start needs a motion-aware model, stage 3 among them, with residual output")
    if config.base_channels < 24:
        raise BadInputError(f"base_channels is {config.base_channels}; deconvolution_start needs 24 or more")
    network: Any
    for network in model.networks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                last: Any = module[2]
                last.weight.mul_(0.1)
        for level in range(1, network.num_levels + 1):
            _encode_photo(network.get_submodule(f"encoder_lv{level}"))
            _decode_photo(network.get_submodule(f"decoder_lv{level}"))


def _encode_photo(encoder: Any) -> None:
    first = encoder.layer1.weight
    first.sub_(first.mean((2, 3), keepdim=True)).mul_(5)
    first[PHOTO["full"]] = 0
    first[range(3), range(3), 1, 1] = 1.0
    for conv, channels in ((encoder.layer5, 3), (encoder.layer9, 12)):
        conv.weight.mul_(0.5**0.5)  # no ReLU follows
        conv.weight[: 4 * channels] = 0
        for part, (row, column) in enumerate(PIXELS_OF_A_CELL):
            for channel in range(channels):
                conv.weight[part * channels + channel, channel, row, column] = 1.0
    _silence(encoder.layer9, slice(48, 96))
    for numbers, place in (((2, 3), PHOTO["full"]), ((6, 7), PHOTO["half"]), ((10, 11), BOTH["quarter"])):
        for number in numbers:
            _silence(encoder.get_submodule(f"layer{number}")[2], place)


def _decode_photo(decoder: Any) -> None:
    for number, place in ((13, "quarter"), (14, "quarter"), (17, "half"), (18, "half"), (21, "full"), (22, "full")):
        _silence(decoder.get_submodule(f"layer{number}")[2], BOTH[place])
    for conv, channels in ((decoder.layer16, 12), (decoder.layer20, 3)):
        conv.weight.mul_(2**0.5)  # no ReLU follows, and of the 4x4 weights a pixel meets 2x2
        conv.weight[:, : 2 * channels] = 0
        for group in (0, 1):  # photo, correction
            for part, (row, column) in enumerate(PIXELS_OF_A_CELL):
                for channel in range(channels):
                    source, target = 4 * channels * group + part * channels + channel, channels * group + channel
                    conv.weight[source, target, row, column] = 1.0
    for block in (decoder.layer21, decoder.layer22):
        _deconvolve(block)
    decoder.layer24.weight.zero_()
    decoder.layer24.weight[range(3), range(3, 6), 1, 1] = 1.0


def _deconvolve(block: Any) -> None:
    """``correction += step * blur(photo - blur(photo + correction))``; ReLU passes either sign in its own channel."""
    compare, add = block[0], block[2]
    compare.weight[6:12] = 0
    for colour in range(3):
        for channel, sign in ((6 + colour, 1.0), (9 + colour, -1.0)):
            compare.weight[channel, [colour, 3 + colour]] = -sign / 9  # blur is the mean over the nine taps
            compare.weight[channel, colour, 1, 1] += sign  # the tap in the middle of the exposure is the pixel itself
            add.weight[3 + colour, channel] = sign * DECONVOLUTION_STEP / 9


def _silence(conv: Any, channels: slice) -> None:
    """Let a convolution start with nothing to say in some of its output channels."""
    conv.weight[channels] = 0
    conv.bias[channels] = 0


@torch.no_grad()
def grow(small: MaDmphnForImageDeblurring, large: MaDmphnForImageDeblurring, estimator: bool = True) -> None:
    """Copy a network of few levels into one of more, which then computes the same function.

    A new level starts as a copy of the coarsest one, silenced where it feeds the next: its features (the convolution
    that opens the last encoder stage, with nothing but zero biases after it) and its decoded image (the last
    convolution). Both still receive gradients, so the level comes in as soon as it helps. Without ``estimator``, the
    large one keeps its own.
    """
    weights = large.state_dict()
    for name, value in small.state_dict().items():
        if not estimator and name.startswith("estimator."):
            continue
        if name not in weights or weights[name].shape != value.shape:
            raise BadInputError(
                f"start_from does not fit the model: it has no tensor {name} of shape {tuple(value.shape)}"
            )
        weights[name] = value
    for name in weights:
        level = re.search(r"_lv(\d)\.", name)
        if level and int(level[1]) > len(small.config.levels):
            weights[name] = weights[re.sub(r"_lv\d\.", "_lv1.", name)].clone()
            if re.search(r"encoder_lv\d\.layer(9|10|11)\.", name) and name.endswith("bias"):
                weights[name].zero_()
            elif re.search(r"layer9\.|layer24\.", name):
                weights[name].zero_()
    large.load_state_dict(weights)

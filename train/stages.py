"""The two stages of training: the estimator by reblurring (eq. 6-11), the deblurrer with its offsets (section 5.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from options import TrainingOptions
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from motion_offsets.configuration_etraj import EtrajConfig
from motion_offsets.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.data.flow_crops import MotionFlowCrops
from motion_offsets.data.photos import list_photos, read_photo
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation import MotionFlowPair, motion_flow_pairs
from motion_offsets.exposure import expose
from motion_offsets.metrics import motion_mse, psnr
from motion_offsets.modeling_etraj import EtrajModel, EtrajResidualBlock
from motion_offsets.modeling_ma_dmphn import MaDmphnForImageDeblurring, PatchDecoder, PatchEncoder, ResidualBlock

Autocast = Callable[[], AbstractContextManager]
LossAndTerms = tuple[Tensor, dict[str, Tensor]]


# How much larger than Xavier's the head starts, and how much faster it learns, with ``high_pass_start``.
HEAD_GAIN = 10.0
# Mean |dx| / 2 of Gong et al.'s motions in the half-plane dx >= 0: the ends of the path start there, pixels.
MIDDLE_OF_HALF_PLANE = 6.7


@dataclass
class ParameterGroup:
    """Parameters that learn at a multiple of the run's learning rate."""

    parameters: list[nn.Parameter]
    gain: float


class Stage(Protocol):
    """What the loop needs of a stage."""

    model: nn.Module

    def parameter_groups(self) -> list[ParameterGroup]: ...

    def dataset(self, length: int) -> Dataset: ...

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast
    ) -> LossAndTerms: ...

    def validate(self, model: nn.Module) -> dict[str, float]: ...


class _CropStage:
    model: nn.Module

    def __init__(self, options: TrainingOptions):
        self.options = options
        self.validation = (
            list_photos(options.validation_images)[: options.validation_count] if options.validation_images else []
        )

    def dataset(self, length: int) -> Dataset:
        return MotionFlowCrops(self.options.images, length, self.options.recipe(), self.options.seed)

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained, and at what multiple of the learning rate."""
        return [ParameterGroup(list(self.model.parameters()), 1.0)]

    def cases(self) -> Iterator[MotionFlowPair]:
        """One case of ``bsd-motion-flow`` for each validation photo."""
        for path in self.validation:
            photo = torch.from_numpy(read_photo(path).copy()).permute(2, 0, 1)[None].float() / 255
            yield from motion_flow_pairs(photo, path.name, count=1)


class EstimatorStage(_CropStage):
    """Self-supervised reblurring; while ``flow_weight`` lasts, the known flow shows the way to large motions."""

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        config = EtrajConfig(**options.model_fields())
        self.model = (
            EtrajModel.from_pretrained(options.start_from, config=config) if options.start_from else EtrajModel(config)
        )
        if options.high_pass_start and not options.start_from:
            start_on_detail(self.model)
        self.model.train()

    def parameter_groups(self) -> list[ParameterGroup]:
        head = list(self.model.network.head.parameters())
        others = [p for name, p in self.model.named_parameters() if not name.startswith("network.head.")]
        # Positions are tens of pixels where features are about 1: the head has as much further to go.
        return [ParameterGroup(others, 1.0), ParameterGroup(head, HEAD_GAIN if self.options.high_pass_start else 1.0)]

    def loss(self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast) -> LossAndTerms:
        options = self.options
        inner = model.module if hasattr(model, "module") else model
        inner.config.ssim_weight = self._ssim_weight(progress)
        blurred = batch["blurred"].contiguous(memory_format=torch.channels_last)
        sharp = batch["sharp"] if progress >= options.reblur_from else None
        with autocast():
            output = model(blurred, sharp, output_motion_offsets=False)
        terms, losses = [], dict(output.losses or {})
        if output.loss is not None:
            terms.append(output.loss)
        if options.flow_weight and progress < options.flow_until:
            losses["flow"] = flow_loss(inner, output.control_points, batch["flow"])
            terms.append(options.flow_weight * (1 - progress / options.flow_until) * losses["flow"])
        return torch.stack(terms).sum(), losses

    def _ssim_weight(self, progress: float) -> float:
        wanted = self.options.model_fields().get("ssim_weight", EtrajConfig().ssim_weight)
        return wanted if progress >= self.options.ssim_from else 0.0

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        rows = []
        for case in self.cases():
            points = model(case.blurred, output_motion_offsets=False).control_points
            ends = model.offsets_at(points, [-1.0, 1.0])
            reblurred = expose(case.sharp, points, model.sample_basis())
            rows.append(
                {
                    "reblur_psnr": psnr(reblurred, case.blurred),
                    "motion_mse": motion_mse(ends[:, 1] - ends[:, 0], case.flow),
                    "motion_mse_zero": motion_mse(torch.zeros_like(case.flow), case.flow),
                }
            )
        return _means(rows)


def flow_loss(model: EtrajModel, control_points: Tensor, flow: Tensor) -> Tensor:
    """L1 between the offsets at both ends of the exposure and the known straight motion, pixels."""
    ends = model.offsets_at(control_points, [-1.0, 1.0])
    return functional.l1_loss(ends, torch.stack([-flow / 2, flow / 2], 1))


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
    network.head.weight.mul_(HEAD_GAIN)
    if model.config.trajectory == "quadratic":
        network.head.bias.copy_(torch.tensor([-MIDDLE_OF_HALF_PLANE, 0.0, MIDDLE_OF_HALF_PLANE, 0.0]))


class DeblurrerStage(_CropStage):
    """Mean squared or absolute error (and, if asked, L1 between spectra), offsets from the model's own estimator."""

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        estimator = EtrajModel.from_pretrained(options.estimator) if options.estimator else None
        small = MaDmphnForImageDeblurring.from_pretrained(options.start_from) if options.start_from else None
        fields = options.model_fields()
        if estimator is not None:
            fields["estimator_config"] = estimator.config
        elif small is not None and small.config.estimator_config is not None:
            fields.setdefault("estimator_config", small.config.estimator_config)
        self.model = MaDmphnForImageDeblurring(MaDmphnConfig(**fields))
        if small is not None:
            grow(small, self.model)
        elif estimator is not None and self.model.estimator is not None:
            self.model.estimator.load_state_dict(estimator.state_dict())
        if options.identity_start and small is None:
            start_near_identity(self.model)
        if self.model.estimator is not None and options.freeze_estimator:
            self.model.estimator.requires_grad_(False)
        self.model.train()

    def loss(self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast) -> LossAndTerms:
        margin = (batch["sharp"].shape[-1] - batch["blurred"].shape[-1]) // 2
        sharp = functional.pad(batch["sharp"], (-margin,) * 4)
        output = model(batch["blurred"].contiguous(memory_format=torch.channels_last), sharp)
        losses = dict(output.losses)
        loss = output.loss
        if self.options.pixel_loss == "l1":
            losses["l1"] = torch.stack([functional.l1_loss(image, sharp) for image in output.stack_outputs]).sum()
            loss = losses["l1"]
        if self.options.frequency_weight:
            difference = torch.fft.rfft2(output.sharp.float() - sharp)
            losses["frequency"] = difference.abs().mean()
            loss = loss + self.options.frequency_weight * losses["frequency"]
        return loss, losses

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        rows = []
        for case in self.cases():
            deblurred = psnr(model(case.blurred).sharp.clamp(0, 1), case.sharp)
            rows.append({"deblur_psnr": deblurred, "gain": deblurred - psnr(case.blurred, case.sharp)})
        return _means(rows)


def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in (rows[0] if rows else ())}


@torch.no_grad()
def start_near_identity(model: MaDmphnForImageDeblurring) -> None:
    """Start a deblurrer with residual output so that every weight sees the detail of the photo from the first step.

    The published network has no connection from its encoder to its decoder but the coarsest features, and from
    Xavier's start these hardly say where in its 4x4 pixels a detail lies. So the photo goes down by space to depth, and
    a group of channels beside it, the correction, which starts at zero, comes up by depth to space to be added to the
    photo. All other channels start with He et al.'s weights, the first filters with zero mean in each colour, five
    times as large, the residual blocks close to the identity. Nothing is fixed; the architecture stays as published.
    """
    for network in model.networks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module[2].weight.mul_(0.1)
        for level in range(1, network.num_levels + 1):
            _encode_detail(network.get_submodule(f"encoder_lv{level}"))
            _decode_correction(network.get_submodule(f"decoder_lv{level}"))
        for number in (10, 11):
            _silence(network.encoder_lv1.get_submodule(f"layer{number}")[2], slice(48, 96))


def _encode_detail(encoder: PatchEncoder) -> None:
    first = encoder.layer1.weight
    first.sub_(first.mean((2, 3), keepdim=True)).mul_(5)
    first[:3] = 0
    first[range(3), range(3), 1, 1] = 1.0
    for conv, channels in ((encoder.layer5, 3), (encoder.layer9, 12)):
        conv.weight.mul_(0.5**0.5)  # no ReLU follows
        conv.weight[: 4 * channels] = 0
        for part, (row, column) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2))):
            for channel in range(channels):
                conv.weight[part * channels + channel, channel, row, column] = 1.0
    _silence(encoder.layer9, slice(48, 96))


def _decode_correction(decoder: PatchDecoder) -> None:
    quarter, half, full = slice(48, 96), slice(12, 24), slice(3, 6)
    for number, place in ((13, quarter), (14, quarter), (17, half), (18, half), (21, full), (22, full)):
        _silence(decoder.get_submodule(f"layer{number}")[2], place)
    for conv, source, target, channels in ((decoder.layer16, 48, 12, 12), (decoder.layer20, 12, 3, 3)):
        conv.weight.mul_(0.5**0.5 * 2)  # no ReLU follows, and of the 4x4 weights a pixel meets 2x2
        conv.weight[:, target : target + channels] = 0
        for part, (row, column) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2))):
            for channel in range(channels):
                conv.weight[source + part * channels + channel, target + channel, row, column] = 1.0
    decoder.layer24.weight.zero_()
    decoder.layer24.weight[range(3), range(3, 6), 1, 1] = 1.0


def _silence(conv: nn.Module, channels: slice) -> None:
    """Let a convolution start with nothing to say in some of its output channels."""
    conv.weight[channels] = 0
    conv.bias[channels] = 0


@torch.no_grad()
def grow(small: MaDmphnForImageDeblurring, large: MaDmphnForImageDeblurring) -> None:
    """Copy a network of few levels into one of more, which then computes the same function.

    A new level starts as a copy of the coarsest one, silenced where it feeds the next: its features (the convolution
    that opens the last encoder stage, with nothing but zero biases after it) and its decoded image (the last
    convolution). Both still receive gradients, so the level comes in as soon as it helps.
    """
    weights = large.state_dict()
    for name, value in small.state_dict().items():
        if name not in weights or weights[name].shape != value.shape:
            raise BadInputError(
                f"start_from does not fit the model: {name} has no place of shape {tuple(value.shape)} in it"
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


def build_stage(options: TrainingOptions) -> Stage:
    """The stage that a config names."""
    return EstimatorStage(options) if options.stage == "estimator" else DeblurrerStage(options)

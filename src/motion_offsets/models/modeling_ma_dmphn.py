"""Motion-aware deep multi-patch hierarchical network (MA-DMPHN, section 5.1), DMPHN and its stacks.

The photo is cut into halves, quarters (and eighths). The finest level is encoded and decoded first; its decoded image
is added to the input, and its features to the features, of the next coarser level, whose patches are twice as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import BadInputError
from ..exposure.trajectories import offsets_at
from ..runtime.tiling import DEBLURRER_MARGIN, ESTIMATOR_MARGIN
from .configuration_etraj import EtrajConfig
from .configuration_ma_dmphn import TAPS, MaDmphnConfig
from .deblurring import DeblurrerMixin
from .deblurring_output import DeblurringOutput
from .hub import BundledNamesMixin
from .modeling_etraj import EtrajModel
from .motion_aware_conv import MotionAwareConv2d
from .remote_code import SavedWithCodeMixin

MIN_SIDE = 16
STRIDE = 4
# How the patches of one level are cut into those of the next, (rows, columns): whole, halves, quarters, eighths.
CUTS = ((2, 1), (1, 2), (2, 1))
# A decoder whose image is added to a photo starts near zero: training then starts from the photo, not from noise.
RESIDUAL_GAIN = 0.01
StageOffsets = tuple[Tensor | None, ...]


@dataclass
class NetworkState:
    """What a network hands to the next one of its stack."""

    image: Tensor
    first_image: Tensor
    features: tuple[Tensor, ...]  # one per level, each on the patches of that level


class ResidualBlock(nn.Sequential):
    """Two 3x3 convolutions with a ReLU between them, added to their input; ordinary or motion-aware."""

    def __init__(self, channels: int, alpha: float | None = None) -> None:
        super().__init__(_conv3x3(channels, alpha), nn.ReLU(inplace=True), _conv3x3(channels, alpha))
        self.motion_aware = alpha is not None

    def forward(self, features: Tensor, offsets: Tensor | None = None) -> Tensor:
        first, relu, second = self
        extra = (offsets,) if self.motion_aware else ()
        return features + second(relu(first(features, *extra)), *extra)


def _conv3x3(channels: int, alpha: float | None) -> nn.Module:
    if alpha is None:
        return nn.Conv2d(channels, channels, 3, padding=1)
    return MotionAwareConv2d(channels, channels, alpha)


class ImageConv2d(nn.Conv2d):
    """The last layer of a decoder, features to an image; ``gain`` scales its initial weights."""

    def __init__(self, channels: int, gain: float) -> None:
        super().__init__(channels, 3, 3, padding=1)
        self.gain = gain


class PatchEncoder(GradientCheckpointingLayer):
    """Image patches ``(P, 3, h, w)`` to features ``(P, 4C, h/4, w/4)``. Layers are numbered as published."""

    def __init__(self, config: MaDmphnConfig) -> None:
        super().__init__()
        full, half, quarter = (config.base_channels * factor for factor in (1, 2, 4))
        self.layer1 = nn.Conv2d(3, full, 3, padding=1)
        self.layer2 = ResidualBlock(full)
        self.layer3 = ResidualBlock(full)
        self.layer5 = nn.Conv2d(full, half, 3, stride=2, padding=1)
        self.layer6 = ResidualBlock(half)
        self.layer7 = ResidualBlock(half)
        self.layer9 = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.layer10 = ResidualBlock(quarter)
        self.layer11 = ResidualBlock(quarter)

    def forward(self, patches: Tensor) -> Tensor:
        # The image keeps its precision; what is computed from it has that of the weights.
        features = self.layer3(self.layer2(self.layer1(patches.to(self.layer1.weight.dtype))))
        features = self.layer7(self.layer6(self.layer5(features)))
        return self.layer11(self.layer10(self.layer9(features)))


class PatchDecoder(GradientCheckpointingLayer):
    """Features ``(P, 4C, h/4, w/4)`` to images ``(P, 3, h, w)``; some stages may follow the motion."""

    def __init__(self, config: MaDmphnConfig) -> None:
        super().__init__()
        full, half, quarter = (config.base_channels * factor for factor in (1, 2, 4))
        aware = config.motion_aware_stages if config.motion_aware else ()
        alphas = [config.alpha if stage in aware else None for stage in (1, 2, 3)]
        self.layer13 = ResidualBlock(quarter, alphas[0])
        self.layer14 = ResidualBlock(quarter, alphas[0])
        self.layer16 = nn.ConvTranspose2d(quarter, half, 4, stride=2, padding=1)
        self.layer17 = ResidualBlock(half, alphas[1])
        self.layer18 = ResidualBlock(half, alphas[1])
        self.layer20 = nn.ConvTranspose2d(half, full, 4, stride=2, padding=1)
        self.layer21 = ResidualBlock(full, alphas[2])
        self.layer22 = ResidualBlock(full, alphas[2])
        self.layer24 = ImageConv2d(full, RESIDUAL_GAIN if config.residual_output else 1.0)

    def forward(
        self,
        features: Tensor,
        offsets1: Tensor | None = None,
        offsets2: Tensor | None = None,
        offsets3: Tensor | None = None,
    ) -> Tensor:
        """Offsets, ``(P, 9, 2, ...)``, belong to the three stages and are in pixels of their resolution."""
        features = self.layer16(self.layer14(self.layer13(features, offsets1), offsets1))
        features = self.layer20(self.layer18(self.layer17(features, offsets2), offsets2))
        return self.layer24(self.layer22(self.layer21(features, offsets3), offsets3))


class PatchHierarchy(nn.Module):
    """One DMPHN: an encoder and a decoder a level."""

    def __init__(self, config: MaDmphnConfig) -> None:
        super().__init__()
        self.num_levels = len(config.levels)
        self.residual_output = config.residual_output
        for level in range(1, self.num_levels + 1):
            self.add_module(f"encoder_lv{level}", PatchEncoder(config))
            self.add_module(f"decoder_lv{level}", PatchDecoder(config))

    def forward(self, image: Tensor, offsets: list[StageOffsets], previous: NetworkState | None) -> NetworkState:
        """``image``: ``(B, 3, H, W)``, in [-0.5, 0.5]; ``offsets``: of each decoder level's patches, coarse first."""
        patches = [image]
        for cut in CUTS[: self.num_levels - 1]:
            patches.append(cut_patches(patches[-1], cut))
        states: list[Tensor] = []
        decoded: Tensor | None = None
        features: Tensor | None = None
        for level in reversed(range(self.num_levels)):
            inputs = patches[level] if decoded is None else patches[level] + decoded
            encoded = self.get_submodule(f"encoder_lv{level + 1}")(inputs)
            if features is not None:
                encoded = encoded + features
            if previous is not None:
                encoded = encoded + previous.features[level]
            states.insert(0, encoded)
            features = join_patches(encoded, CUTS[level - 1]) if level else encoded
            # The decoder already works on the larger patches of the next coarser level.
            decoded = self.get_submodule(f"decoder_lv{level + 1}")(features, *offsets[max(level - 1, 0)])
            if level == 1 and previous is not None:
                decoded = decoded + previous.first_image
        assert decoded is not None  # there is at least one level
        output = decoded + image if self.residual_output else decoded
        return NetworkState(output, output if previous is None else previous.first_image, tuple(states))


class MaDmphnPreTrainedModel(BundledNamesMixin, SavedWithCodeMixin, PreTrainedModel):
    config_class = MaDmphnConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["PatchEncoder", "PatchDecoder"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            init.xavier_uniform_(module.weight, gain=module.gain if isinstance(module, ImageConv2d) else 1.0)
            if module.bias is not None:
                init.zeros_(module.bias)


class MaDmphnForImageDeblurring(DeblurrerMixin, MaDmphnPreTrainedModel):
    """Deblurs photos; see [`MaDmphnConfig`] for what it can be."""

    auto_class_name = "AutoModel"

    def __init__(self, config: MaDmphnConfig) -> None:
        super().__init__(config)
        self.networks = nn.ModuleList(PatchHierarchy(config) for _ in range(config.num_stacks))
        estimator = config.estimator_config
        self.estimator = None if estimator is None else EtrajModel(cast(EtrajConfig, estimator))
        self.post_init()

    @property
    def uses_motion(self) -> bool:
        return self.config.motion_aware

    @property
    def own_estimator(self) -> EtrajModel | None:
        return self.estimator

    @property
    def size_multiple(self) -> tuple[int, int]:
        return size_multiple(CUTS[: len(self.config.levels) - 1])

    @property
    def tile_margin(self) -> int:
        # Further levels cut a tile at other places than the photo.
        return ESTIMATOR_MARGIN if len(self.config.levels) > 1 else DEBLURRER_MARGIN

    def sharpen(
        self, pixel_values: Tensor, control_points: Tensor | None, trajectory: str, as_exported: bool = False
    ) -> Tensor:
        # The nine taps of the motion-aware convolutions; without them the network asks its own estimator.
        offsets = None if control_points is None else offsets_at(control_points, self.config.tap_times, trajectory)
        return self(pixel_values, motion_offsets=offsets).sharp

    def forward(
        self,
        pixel_values: Tensor,
        sharp_pixel_values: Tensor | None = None,
        motion_offsets: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> DeblurringOutput | tuple:
        """Deblur ``pixel_values``.

        Args:
            pixel_values: blurred images, ``(B, 3, H, W)`` in [0, 1], sides of 16 pixels or more.
            sharp_pixel_values: ``(B, 3, H, W)``; with them the loss is returned.
            motion_offsets: ``(B, 9, 2, H, W)``, dx and dy in pixels at the config's ``tap_times``; by default the
                model's own estimator computes them. Plain DMPHN ignores them.

        Raises:
            BadInputError: shapes do not fit, or a motion-aware model without an estimator gets no offsets.
        """
        _check_images(pixel_values, sharp_pixel_values)
        if self.config.motion_aware:
            motion_offsets = self._offsets_for(pixel_values) if motion_offsets is None else motion_offsets
            _check_offsets(motion_offsets, pixel_values)
        else:
            motion_offsets = None
        outputs = self._deblur(pixel_values, motion_offsets)
        loss = losses = None
        if sharp_pixel_values is not None:
            terms = [functional.mse_loss(output.float(), sharp_pixel_values.float()) for output in outputs]
            losses = {f"mse_{number}": term for number, term in enumerate(terms, 1)}
            loss = torch.stack(terms).sum()
        result = DeblurringOutput(loss, losses, outputs[-1], outputs, motion_offsets)
        return result if (self.config.return_dict if return_dict is None else return_dict) else result.to_tuple()

    def _offsets_for(self, pixel_values: Tensor) -> Tensor:
        if self.estimator is None:
            raise BadInputError(
                "motion_offsets is None and the model has no estimator; pass (B, 9, 2, H, W) offsets, or use a config "
                "with an estimator_config"
            )
        control_points = self.estimator(pixel_values, output_motion_offsets=False).control_points
        return self.estimator.offsets_at(control_points, self.config.tap_times)

    def _deblur(self, pixel_values: Tensor, motion_offsets: Tensor | None) -> tuple[Tensor, ...]:
        height, width = pixel_values.shape[2:]
        cuts = CUTS[: len(self.config.levels) - 1]
        image = _pad_to_multiple(pixel_values - 0.5, cuts).contiguous(memory_format=torch.channels_last)
        offsets = self._offset_pyramid(motion_offsets, cuts)
        state = None
        outputs = []
        for network in self.networks:
            state = network(image if state is None else state.image, offsets, state)
            outputs.append((state.image[:, :, :height, :width] + 0.5).contiguous())
        return tuple(outputs)

    def _offset_pyramid(self, motion_offsets: Tensor | None, cuts: tuple[tuple[int, int], ...]) -> list[StageOffsets]:
        """The offsets of the three decoder stages on the patches of each level."""
        pyramid: list[StageOffsets] = []
        patches = None
        if motion_offsets is not None:
            # Channels last, so that cutting into rows copies nothing and a pixel's offsets lie side by side.
            patches = _pad_to_multiple(motion_offsets.flatten(1, 2).float(), cuts)
            patches = patches.contiguous(memory_format=torch.channels_last)
        for level in range(max(len(cuts), 1)):
            if patches is not None and level:
                patches = cut_patches(patches, cuts[level - 1])
            pyramid.append(self._stage_offsets(patches))
        return pyramid

    def _stage_offsets(self, patches: Tensor | None) -> StageOffsets:
        stages: list[Tensor | None] = []
        for stage, factor in ((1, 4), (2, 2), (3, 1)):
            if patches is None or stage not in self.config.motion_aware_stages:
                stages.append(None)
            else:
                pooled = functional.avg_pool2d(patches, factor) / factor if factor > 1 else patches
                offsets = pooled.unflatten(1, (TAPS, 2))
                inside = self.config.motion_padding_mode == "border"
                stages.append(_keep_inside(offsets, self.config.alpha) if inside else offsets)
        return tuple(stages)


def _keep_inside(motion_offsets: Tensor, alpha: float) -> Tensor:
    """Shorten ``(P, 9, 2, h, w)`` offsets so that ``p + alpha * offset(p)`` is on the patch: border is repeated."""
    height, width = motion_offsets.shape[3:]
    dtype, device = motion_offsets.dtype, motion_offsets.device
    columns, rows = torch.arange(width, dtype=dtype, device=device), torch.arange(height, dtype=dtype, device=device)
    before = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
    after = torch.stack(torch.meshgrid(width - 1 - columns, height - 1 - rows, indexing="xy"))
    return motion_offsets.clamp(-before / alpha, after / alpha)


def cut_patches(tensor: Tensor, cut: tuple[int, int]) -> Tensor:
    """``(B, C, H, W)`` into ``(B * rows * columns, C, H / rows, W / columns)``, row by row, channels last."""
    rows, columns = cut
    batch, channels, height, width = tensor.shape
    pixels = tensor.permute(0, 2, 3, 1).reshape(batch, rows, height // rows, columns, width // columns, channels)
    return pixels.transpose(2, 3).flatten(0, 2).permute(0, 3, 1, 2)


def join_patches(tensor: Tensor, cut: tuple[int, int]) -> Tensor:
    """The inverse of :func:`cut_patches`."""
    rows, columns = cut
    patches, channels, height, width = tensor.shape
    pixels = tensor.permute(0, 2, 3, 1).reshape(patches // (rows * columns), rows, columns, height, width, channels)
    return pixels.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _pad_to_multiple(tensor: Tensor, cuts: tuple[tuple[int, int], ...]) -> Tensor:
    """Repeat the last row and column until every patch of the finest level can be halved twice."""
    height, width = tensor.shape[2:]
    rows, columns = size_multiple(cuts)
    if height % rows == 0 and width % columns == 0:
        return tensor
    return functional.pad(tensor, (0, -width % columns, 0, -height % rows), mode="replicate")


def size_multiple(cuts: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """What height and width are padded to multiples of."""
    rows = columns = STRIDE
    for cut in cuts:
        rows, columns = rows * cut[0], columns * cut[1]
    return rows, columns


def _check_images(pixel_values: Tensor, sharp_pixel_values: Tensor | None) -> None:
    shape = tuple(pixel_values.shape)
    if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < MIN_SIDE:
        raise BadInputError(
            f"pixel_values has shape {shape}; it must be (B, 3, H, W) with sides of {MIN_SIDE} or more"
        )
    if sharp_pixel_values is not None and tuple(sharp_pixel_values.shape) != shape:
        raise BadInputError(
            f"sharp_pixel_values has shape {tuple(sharp_pixel_values.shape)}; pixel_values has {shape}"
        )


def _check_offsets(motion_offsets: Tensor, pixel_values: Tensor) -> None:
    expected = (pixel_values.shape[0], TAPS, 2, *pixel_values.shape[2:])
    if tuple(motion_offsets.shape) != expected:
        raise BadInputError(f"motion_offsets has shape {tuple(motion_offsets.shape)}; these images need {expected}")


__all__ = ["DeblurringOutput", "MaDmphnForImageDeblurring", "MaDmphnPreTrainedModel"]

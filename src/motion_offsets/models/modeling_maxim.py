"""MAXIM for deblurring (Tu et al. 2022, arXiv 2201.02973): U-Nets of multi-axis MLPs, each improving on the last.

Every stage sees the photo at several sizes. Its encoder's maps of all levels meet at each level, are gated by what
comes up from the bottleneck, and again meet at each level of the decoder. Between stages, supervised attention turns
the decoder's maps into an image and into the features that the next stage fuses with the photo.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import BadInputError
from ..runtime.tiling import ALIGNMENT, ESTIMATOR_MARGIN
from .configuration_maxim import MaximConfig
from .deblurring import DeblurrerMixin
from .deblurring_output import DeblurringOutput
from .hub import BundledNamesMixin
from .multi_axis_mixing import (
    AxisMixing,
    ConvAttention,
    CrossGating,
    MlpAttention,
    MultiAxisMlp,
    PixelConv2d,
    PixelConvTranspose2d,
    Rescale,
)
from .remote_code import SavedWithCodeMixin

MIN_SIDE = 16
# Bytes per pixel of a tile at the peak. benchmarks/maxim_memory.py measured 5,871 on 512x512, the smallest tile of a
# larger photo, and 7,148 on 256x256, where buffers that do not grow with the tile count for more.
TILE_BYTES = 6000
# The paper's loss: Charbonnier's, and a tenth of the difference of the spectra.
CHARBONNIER_EPSILON = 1e-3
FREQUENCY_WEIGHT = 0.1


class ImageConv2d(PixelConv2d):
    """Features to an image that is added to the photo; initially 0, so that training starts from the photo."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3, 3, padding=1)


class MixingBlock(GradientCheckpointingLayer):
    """``num_blocks`` pairs of multi-axis mixing and channel attention, added to their projected input."""

    def __init__(self, config: MaximConfig, inputs: int, channels: int, side: int, convolves: bool = True) -> None:
        super().__init__()
        attention = ConvAttention if convolves else MlpAttention
        self.project = nn.Linear(inputs, channels)
        self.mixings = nn.ModuleList(MultiAxisMlp(channels, side) for _ in range(config.num_blocks))
        self.attentions = nn.ModuleList(attention(channels) for _ in range(config.num_blocks))

    def forward(self, maps: Tensor) -> Tensor:
        projected = maps = self.project(maps)
        for mixing, attention in zip(self.mixings, self.attentions, strict=True):
            maps = attention(mixing(maps))
        return projected + maps


class Encoder(nn.Module):
    """One level on the way down; after the first stage, gated by the same level of the stage before."""

    def __init__(self, config: MaximConfig, level: int, is_first_stage: bool) -> None:
        super().__init__()
        channels, side = _channels(config, level), config.block_sizes[level]
        above = _channels(config, max(level - 1, 0))
        self.block = MixingBlock(config, above + channels, channels, side)
        self.gating = None if is_first_stage else CrossGating(channels, channels, side)
        self.downsample = PixelConv2d(channels, channels, 4, stride=2, padding=1)

    def forward(self, above: Tensor, image: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Its maps, and those that go down to the next level."""
        maps = self.block(torch.cat((above, image), dim=-1))
        if self.gating is not None:
            maps, _ = self.gating(maps, before)
        return maps, self.downsample(maps)


class Decoder(nn.Module):
    """One level on the way up."""

    def __init__(self, config: MaximConfig, level: int) -> None:
        super().__init__()
        channels, levels = _channels(config, level), _levels(config)
        below = _channels(config, min(level + 1, levels - 1))
        self.upsample = PixelConvTranspose2d(below, channels)
        self.block = MixingBlock(config, (1 + levels) * channels, channels, config.block_sizes[level])

    def forward(self, below: Tensor, skips: list[Tensor]) -> Tensor:
        return self.block(torch.cat((self.upsample(below), *skips), dim=-1))


class SupervisedAttention(nn.Module):
    """An image of this level, and the features that it lets through to the next stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = PixelConv2d(channels, channels, 3, padding=1)
        self.image = ImageConv2d(channels)
        self.mask = PixelConv2d(3, channels, 3, padding=1)

    def forward(self, maps: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        image = self.image(maps) + photo
        return maps + self.features(maps) * torch.sigmoid(self.mask(image.to(maps.dtype))), image


class Stage(nn.Module):
    """One U-Net of MAXIM."""

    def __init__(self, config: MaximConfig, number: int) -> None:
        super().__init__()
        levels = range(_levels(config))
        channels = [_channels(config, level) for level in levels]
        sides, is_first = config.block_sizes, number == 0
        self.inputs = nn.ModuleList(PixelConv2d(3, each, 3, padding=1) for each in channels)
        fusions = [] if is_first else [CrossGating(each, each, sides[level]) for level, each in enumerate(channels)]
        self.fusions = nn.ModuleList(fusions)
        self.encoders = nn.ModuleList(Encoder(config, level, is_first) for level in levels)
        self.bottleneck = nn.ModuleList(
            MixingBlock(config, channels[-1], channels[-1], sides[-1], convolves=False)
            for _ in range(config.num_bottleneck_blocks)
        )
        self.encoder_skips = nn.ModuleList(_skips(channels, level) for level in levels)
        self.gatings = nn.ModuleList(
            CrossGating(len(levels) * each, each, sides[level], channels[min(level + 1, len(levels) - 1)])
            for level, each in enumerate(channels)
        )
        self.decoder_skips = nn.ModuleList(_skips(channels, level) for level in levels)
        self.decoders = nn.ModuleList(Decoder(config, level) for level in levels)
        is_last = number == config.num_stages - 1
        self.attentions = nn.ModuleList([] if is_last else [SupervisedAttention(each) for each in channels])
        self.output = ImageConv2d(channels[0]) if is_last else None

    def forward(self, photos: list[Tensor], before: StageMaps | None) -> tuple[list[Tensor], StageMaps]:
        """Images, full size first, the last stage's alone; and what the next stage needs."""
        encoded, maps = self._encode(photos, before)
        for block in self.bottleneck:
            maps = block(maps)
        skips: list[Tensor] = []
        gating = maps
        for level in reversed(range(len(encoded))):
            met = torch.cat(
                [skip(each) for skip, each in zip(self._skips_to(self.encoder_skips, level), encoded, strict=True)],
                dim=-1,
            )
            skip, gating = self.gatings[level](met, gating)
            skips.insert(0, skip)
        decoded: list[Tensor] = []
        for level in reversed(range(len(encoded))):
            met_again = [
                skip(each) for skip, each in zip(self._skips_to(self.decoder_skips, level), skips, strict=True)
            ]
            maps = self.decoders[level](maps, met_again[::-1])  # coarse before fine, as published
            decoded.insert(0, maps)
        if self.output is not None:
            return [self.output(decoded[0]) + photos[0]], StageMaps([], [])
        found = [attend(maps, photo) for attend, maps, photo in zip(self.attentions, decoded, photos, strict=True)]
        combined = [first + second for first, second in zip(encoded, decoded, strict=True)]
        return [image for _, image in found], StageMaps([features for features, _ in found], combined)

    @staticmethod
    def _skips_to(levels: nn.ModuleList, level: int) -> nn.ModuleList:
        return cast(nn.ModuleList, levels[level])

    def _encode(self, photos: list[Tensor], before: StageMaps | None) -> tuple[list[Tensor], Tensor]:
        encoded: list[Tensor] = []
        maps: Tensor | None = None
        for level, photo in enumerate(photos):
            image = self.inputs[level](photo.to(cast(nn.Conv2d, self.inputs[level]).weight.dtype))
            if before is not None:
                image, _ = self.fusions[level](image, before.features[level])
            combined = None if before is None else before.combined[level]
            above = image if maps is None else maps
            skip, maps = self.encoders[level](above, image, combined)
            encoded.append(skip)
        assert maps is not None  # there is at least one level
        return encoded, maps


class StageMaps:
    """What a stage hands to the next, one map a level: attended features, and encoder's plus decoder's maps."""

    def __init__(self, features: list[Tensor], combined: list[Tensor]) -> None:
        self.features, self.combined = features, combined


class MaximPreTrainedModel(BundledNamesMixin, SavedWithCodeMixin, PreTrainedModel):
    config_class = MaximConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["MixingBlock", "CrossGating"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ImageConv2d):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, AxisMixing):  # gates start near 1, as gMLP's
            init.normal_(module.weight, std=0.01)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


class MaximForImageDeblurring(DeblurrerMixin, MaximPreTrainedModel):
    """Deblurs photos without their motion; see [`MaximConfig`].

    The grid of its mixing spans the whole input: a pixel's answer depends on all of the photo, a tile's on the tile.
    """

    auto_class_name = "AutoModel"
    tile_bytes = TILE_BYTES
    core_padding = "reflect"
    is_exportable = False  # ONNX has no antialiased resizing as torch does it

    def __init__(self, config: MaximConfig) -> None:
        super().__init__(config)
        self.stages = nn.ModuleList(Stage(config, number) for number in range(config.num_stages))
        self.post_init()

    @property
    def size_multiple(self) -> tuple[int, int]:
        """What height and width are padded to multiples of, by reflection: 64 for the published weights."""
        multiple = size_multiple(self.config)
        return multiple, multiple

    @property
    def tile_alignment(self) -> int:
        return max(size_multiple(self.config), ALIGNMENT)

    @property
    def tile_margin(self) -> int:
        return ESTIMATOR_MARGIN

    def sharpen(
        self, pixel_values: Tensor, control_points: Tensor | None, trajectory: str, as_exported: bool = False
    ) -> Tensor:
        return self(pixel_values).sharp

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
            sharp_pixel_values: ``(B, 3, H, W)``; with them the paper's loss is returned: Charbonnier's and the
                difference of the spectra, summed over the stages and their image sizes.
            motion_offsets: ignored; all deblurrers take them.

        Raises:
            BadInputError: shapes do not fit.
        """
        _check_images(pixel_values, sharp_pixel_values)
        height, width = pixel_values.shape[2:]
        photos = self._pyramid(pixel_values)
        maps: StageMaps | None = None
        images: list[list[Tensor]] = []
        for stage in self.stages:
            found, maps = stage(photos, maps)
            images.append(found)
        outputs = tuple(found[0].permute(0, 3, 1, 2)[:, :, :height, :width].contiguous() for found in images)
        loss = losses = None
        if sharp_pixel_values is not None:
            losses = _losses(images, self._pyramid(sharp_pixel_values))
            loss = torch.stack(list(losses.values())).sum()
        result = DeblurringOutput(loss, losses, outputs[-1], outputs)
        return result if (self.config.return_dict if return_dict is None else return_dict) else result.to_tuple()

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """``(B, h, w, 3)`` at full, half, quarter size; the padded image's pixels nearest to each centre."""
        padded = pad_by_reflection(images, self.size_multiple[0])
        factors = [2**level for level in range(_levels(self.config))]
        return [
            padded[:, :, factor // 2 :: factor, factor // 2 :: factor].permute(0, 2, 3, 1).contiguous()
            for factor in factors
        ]


def _levels(config: MaximConfig) -> int:
    return len(config.block_sizes) - 1


def _channels(config: MaximConfig, level: int) -> int:
    return config.base_channels * 2**level


def _skips(channels: list[int], level: int) -> nn.ModuleList:
    """From every level to this one."""
    return nn.ModuleList(Rescale(each, channels[level], 2.0 ** (other - level)) for other, each in enumerate(channels))


def size_multiple(config: MaximConfig) -> int:
    """What sides must be multiples of, so that every level's are of its blocks."""
    return math.lcm(*(side * 2**level for level, side in enumerate(config.block_sizes)))


def pad_by_reflection(images: Tensor, multiple: int) -> Tensor:
    """``(B, C, H, W)`` continued downwards and to the right, mirrored as often as it takes, no border twice."""
    for dim in (2, 3):
        length = images.shape[dim]
        if length % multiple == 0:
            continue
        padded = torch.arange(length + -length % multiple, device=images.device)
        within = padded % (2 * (length - 1))
        images = images.index_select(dim, torch.minimum(within, 2 * (length - 1) - within))
    return images


def _losses(images: list[list[Tensor]], sharps: list[Tensor]) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = {}
    for number, found in enumerate(images, 1):
        pairs = [(image.float(), sharp.float()) for image, sharp in zip(found, sharps, strict=False)]
        losses[f"charbonnier_{number}"] = torch.stack([_charbonnier(*pair) for pair in pairs]).sum()
        losses[f"frequency_{number}"] = FREQUENCY_WEIGHT * torch.stack([_frequency(*pair) for pair in pairs]).sum()
    return losses


def _charbonnier(image: Tensor, sharp: Tensor) -> Tensor:
    return torch.sqrt((image - sharp).square() + CHARBONNIER_EPSILON**2).mean()


def _frequency(image: Tensor, sharp: Tensor) -> Tensor:
    if image.shape[0] == 0:  # which the FFT refuses; the mean of nothing is not a number, as of all losses
        return (image - sharp).mean()
    spectrum = torch.view_as_real(torch.fft.rfft2(image - sharp, dim=(1, 2), norm="ortho"))
    return functional.l1_loss(spectrum, torch.zeros_like(spectrum))


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


__all__ = ["MaximForImageDeblurring", "MaximPreTrainedModel"]

"""A backbone for the estimator that spends its arithmetic at a quarter of the resolution and below.

Table 1's network computes with few channels at half the resolution. This one takes the photo by space to depth to a
quarter, goes down to a sixteenth with ever more channels, and comes back to a quarter. There it predicts, and brings
each prediction up to 4x4 pixels as a weighted mean of its 3x3 neighbours, with weights that it predicts too (convex
upsampling, Teed and Deng 2020), so that motion keeps sharp edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from ..exposure.full_precision import without_autocast

CELL = 4  # side, pixels, of what one prediction stands for
NEIGHBOURS = 9
# Contrast is measured within so many pixels; what varies less than FAINT is not brought up to full contrast.
SMOOTHED, MEASURED, FAINT = 9, 17, 0.02
# In eight directions (four at a distance of 1), in a half-plane: the image displaced the other way differs as much.
DISPLACEMENTS = (
    *((1, 0), (1, 1), (0, 1), (-1, 1)),
    *((2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (-1, 2), (-2, 2), (-2, 1)),
    *((4, 0), (4, 2), (3, 3), (2, 4), (0, 4), (-2, 4), (-3, 3), (-4, 2)),
    *((8, 0), (7, 3), (6, 6), (3, 7), (0, 8), (-3, 7), (-6, 6), (-7, 3)),
    *((16, 0), (15, 6), (11, 11), (6, 15), (0, 16), (-6, 15), (-11, 11), (-15, 6)),
)
REACH = 16  # of the longest
QUIET = 0.2  # of the second convolution of a residual block at the start
LOUD = 0.1  # of the last layer


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel of ``(B, C, H, W)``, so that tiles agree with the whole."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class CellBlock(GradientCheckpointingLayer):
    """Normalization, and two 3x3 convolutions with a GELU between them, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2.gain = QUIET  # type: ignore[assignment]

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(functional.gelu(self.conv1(self.norm(features))))


class CellNetwork(nn.Module):
    """A U-Net over cells of 4x4 pixels: ``(B, in_channels, h, w)`` to ``(B, out_channels, 4h, 4w)``.

    The sides ``h`` and ``w`` are multiples of ``2 ** (levels - 1)``.

    Args:
        in_channels: of what is known about a cell.
        widths: channels at 1/4, 1/8, ... of the photo's resolution.
        encoder_blocks: residual blocks per level on the way down.
        decoder_blocks: residual blocks per level on the way up, finest first, one entry fewer.
        out_channels: of the prediction.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        encoder_blocks: Sequence[int],
        decoder_blocks: Sequence[int],
        out_channels: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.encoder = nn.ModuleList(_blocks(*level) for level in zip(widths, encoder_blocks, strict=True))
        self.decoder = nn.ModuleList(_blocks(*level) for level in zip(widths, decoder_blocks, strict=False))
        self.last_norm = ChannelNorm(widths[0])
        self.before_head = nn.Conv2d(widths[0], 2 * widths[0], 3, padding=1)
        self.head = nn.Conv2d(2 * widths[0], out_channels, 1)
        self.mask = nn.Conv2d(2 * widths[0], NEIGHBOURS * CELL**2, 1)
        self.head.gain = self.mask.gain = LOUD  # type: ignore[assignment]

    def forward(self, cells: Tensor) -> Tensor:
        cells = cells.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last)
        features = self.stem(cells)
        skips = []
        for level, blocks in enumerate(self.encoder):
            features = blocks(self.down[level - 1](features) if level else features)
            skips.append(features)
        for level in reversed(range(len(self.decoder))):
            features = self.decoder[level](skips[level] + self.up[level](features))
        features = functional.gelu(self.before_head(self.last_norm(features)))
        weights = self.mask(features)
        # Positions are tens of pixels: under autocast too, the last layer gives them in full precision.
        with without_autocast(features):
            prediction = self.head(features.to(self.head.weight.dtype))
            return convex_upsample(prediction, weights.to(prediction.dtype))


class PyramidNetwork(CellNetwork):
    """``(B, 3, H, W)`` to ``(B, out_channels, H, W)``; sides are multiples of ``4 * 2 ** (levels - 1)``.

    Args: as of :class:`CellNetwork`.
    """

    def __init__(
        self, widths: Sequence[int], encoder_blocks: Sequence[int], decoder_blocks: Sequence[int], out_channels: int
    ) -> None:
        channels = 6 * CELL**2 + len(DISPLACEMENTS)
        super().__init__(channels, widths, encoder_blocks, decoder_blocks, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        contrast = local_contrast(image)
        pixels = space_to_depth(torch.cat([2 * image - 1, contrast], 1), CELL)
        return super().forward(torch.cat([pixels, structure_functions(contrast)], 1))


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(CellBlock(channels) for _ in range(count)))


def local_contrast(image: Tensor) -> Tensor:
    """``(B, 3, H, W)`` without its local mean and over its local standard deviation, so that faint texture counts."""
    detail = image - _box(image, SMOOTHED)
    variance = _box(detail.square().mean(1, keepdim=True), MEASURED)
    return detail * (variance + FAINT**2).rsqrt()


def structure_functions(contrast: Tensor) -> Tensor:
    """How much the image differs from itself displaced, per cell: ``(B, 3, H, W)`` to ``(B, D, H / 4, W / 4)``.

    ``mean |y(p + d) - y(p)|`` over a cell, less its mean over all ``d`` of :data:`DISPLACEMENTS`. Along the blur a
    photo is smooth, so that the values for displacements along and across it tell direction and length from the first
    step of training on.
    """
    grey = contrast.mean(1, keepdim=True)
    height, width = grey.shape[2:]
    padded = functional.pad(grey, (REACH, REACH, REACH, REACH), mode="replicate")
    parts = []
    for across, down in DISPLACEMENTS:
        moved = padded[:, :, REACH + down : REACH + down + height, REACH + across : REACH + across + width]
        parts.append(functional.avg_pool2d((moved - grey).abs(), CELL))
    found = torch.cat(parts, 1)
    return found - found.mean(1, keepdim=True)


def _box(image: Tensor, size: int) -> Tensor:
    """The mean over ``size`` x ``size`` pixels; beyond the border nothing counts. Rows first, then columns: it is a
    twentieth of the work."""
    rows = functional.avg_pool2d(image, (1, size), 1, (0, size // 2), count_include_pad=False)
    return functional.avg_pool2d(rows, (size, 1), 1, (size // 2, 0), count_include_pad=False)


def space_to_depth(image: Tensor, side: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C side^2, H / side, W / side)``."""
    if image.shape[0] == 0:  # which pixel_unshuffle hands back as it is
        return image.new_zeros(0, side**2 * image.shape[1], image.shape[2] // side, image.shape[3] // side)
    return functional.pixel_unshuffle(image, side)


def convex_upsample(coarse: Tensor, weights: Tensor) -> Tensor:
    """Bring ``(B, C, h, w)`` up four times: every pixel is a weighted mean of its cell and its eight neighbours.

    Args:
        coarse: ``(B, C, h, w)``; beyond its border it is repeated.
        weights: ``(B, 9 * 16, h, w)``, whose softmax over the nine are the weights of the 16 pixels of a cell.

    Returns:
        ``(B, C, 4h, 4w)``.
    """
    batch, channels, height, width = coarse.shape
    shares = weights.view(batch, NEIGHBOURS, CELL**2, height, width).softmax(1)
    padded = functional.pad(coarse, (1, 1, 1, 1), mode="replicate")
    total: Tensor | None = None
    for number in range(NEIGHBOURS):
        row, column = divmod(number, 3)
        neighbour = padded[:, :, row : row + height, column : column + width]
        part = neighbour[:, :, None] * shares[:, None, number]
        total = part if total is None else total + part
    assert total is not None
    fine = total.view(batch, channels, CELL, CELL, height, width).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(batch, channels, CELL * height, CELL * width)

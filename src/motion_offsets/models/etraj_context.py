"""A network that sees what the estimator makes of a whole neighbourhood, and corrects it.

Table 1's network decides for each pixel by the texture within some tens of pixels. Where there is none, or where the
photo at one size says something else than at another, the neighbourhood knows more. This network computes on cells of
4x4 pixels and coarser: from the estimates at all sizes of the photo, the features they were read from, and how much
the photo differs from itself displaced. It predicts how much to take over of each estimate, a correction of their
mean, and how far the result is expected to be off.

Paths are handled as numbers that do not depend on their direction in time (see
:mod:`motion_offsets.exposure.doubled_angle`), so that neighbours agree where the motion does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .etraj_pyramid import CELL, DISPLACEMENTS, CellNetwork, local_contrast, structure_functions
from .etraj_scales import reduced

# Outputs of about 1 stand for so many pixels.
PIXELS_PER_UNIT = 16.0
# What the output for the uncertainty starts at; its softplus stands for 3.5 pixels.
UNSURE = -1.4


@dataclass(frozen=True)
class Reading:
    """What the estimator's network made of a photo reduced by ``scale``.

    Args:
        code: ``(B, 2K, H, W)`` at full size, pixels, as
            :func:`~motion_offsets.exposure.doubled_angle.to_doubled_angle` gives it.
        features: ``(B, F, H / (2 scale), W / (2 scale))``, what it was read from.
        scale: the factor.
    """

    code: Tensor
    features: Tensor
    scale: int


class ContextNetwork(nn.Module):
    """From the readings of a photo at several sizes to the code of its paths and their uncertainty.

    ``code = sum_s g_s code_s + r`` with ``g`` a softmax over sizes, which starts at ``g_s ~ s^-2``, and ``r = 0`` at
    the start.

    Args:
        scales: factors of the readings.
        code_channels: ``2K``.
        feature_channels: ``F``.
        widths: as of :class:`~motion_offsets.models.etraj_pyramid.CellNetwork`.
        encoder_blocks: likewise.
        decoder_blocks: likewise.
    """

    def __init__(
        self,
        scales: Sequence[int],
        code_channels: int,
        feature_channels: int,
        widths: Sequence[int],
        encoder_blocks: Sequence[int],
        decoder_blocks: Sequence[int],
    ) -> None:
        super().__init__()
        self.scales, self.code_channels = tuple(scales), code_channels
        # Of every reading: its code, the length of the way, the features, the structure functions.
        inputs = len(self.scales) * (code_channels + 1 + feature_channels + len(DISPLACEMENTS))
        outputs = code_channels + 1 + len(self.scales)
        self.cells = CellNetwork(inputs, widths, encoder_blocks, decoder_blocks, outputs)

    @torch.no_grad()
    def start(self) -> None:
        """Begin with the mean of the readings, weighted by ``1 / s^2``, and a few pixels of uncertainty."""
        head = self.cells.head
        head.weight.zero_()
        assert head.bias is not None
        logits = [-2 * math.log(scale) for scale in self.scales]
        head.bias.copy_(torch.tensor([0.0] * self.code_channels + [UNSURE] + logits))

    def forward(self, image: Tensor, readings: Sequence[Reading]) -> tuple[Tensor, Tensor]:
        """Code ``(B, 2K, H, W)`` and uncertainty ``(B, 1, H, W)``, both in pixels.

        Args:
            image: ``(B, 3, H, W)``, sides multiples of ``4 * 2 ** (levels - 1)`` and of ``8`` times each factor.
            readings: one for each of the factors.
        """
        outputs = self.cells(torch.cat([part for one in readings for part in self._parts(image, one)], 1))
        correction, spread, logits = outputs.float().split([self.code_channels, 1, len(self.scales)], 1)
        code = PIXELS_PER_UNIT * correction
        for one, share in zip(readings, logits.softmax(1).split(1, 1), strict=True):
            code = code + share * one.code
        return code, PIXELS_PER_UNIT * functional.softplus(spread)

    def _parts(self, image: Tensor, reading: Reading) -> list[Tensor]:
        code = functional.avg_pool2d(reading.code, CELL) / PIXELS_PER_UNIT
        length = (code[:, :2].square().sum(1, keepdim=True) + 1e-8).sqrt()
        displaced = structure_functions(local_contrast(reduced(image, reading.scale)))
        return [code, length, *(_on_cells(one, code) for one in (reading.features.float(), displaced))]


def _on_cells(maps: Tensor, code: Tensor) -> Tensor:
    """Maps of any resolution ``(B, C, h, w)`` at that of a code."""
    finer = maps.shape[2] // code.shape[2]
    if finer > 1:
        return functional.avg_pool2d(maps, finer)
    same = maps.shape[2:] == code.shape[2:]
    return maps if same else functional.interpolate(maps, size=code.shape[2:], mode="bilinear", align_corners=False)

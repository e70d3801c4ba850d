"""The layers of MAXIM: multi-axis gated MLPs, cross gating and channel attention (arXiv 2201.02973, section 3).

All work on maps ``(B, H, W, C)``, for which 1x1 convolutions are plain matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
SLOPE = 0.2
SQUEEZE = 4


class PixelConv2d(nn.Conv2d):
    """A convolution of maps ``(B, H, W, C)``; its memory format is channels last already."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class PixelConvTranspose2d(nn.ConvTranspose2d):
    """Doubles the height and width of maps ``(B, H, W, C)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)

    def forward(self, maps: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def norm(channels: int) -> nn.LayerNorm:
    return nn.LayerNorm(channels, eps=EPSILON)


def gelu(maps: Tensor) -> Tensor:
    return functional.gelu(maps, approximate="tanh")


class AxisMixing(nn.Module):
    """Mixes the pixels of each block, or of each dilated grid, by one learnt matrix that all channels share.

    The grid of ``side ** 2`` pixels spans the whole map, whatever its size: this is the global half of MAXIM. The
    blocks of ``side ** 2`` neighbours are the local half.
    """

    def __init__(self, side: int, is_grid: bool) -> None:
        super().__init__()
        self.side, self.is_grid = side, is_grid
        self.weight = nn.Parameter(torch.empty(side**2, side**2))
        self.bias = nn.Parameter(torch.empty(side**2))

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same; H and W are multiples of ``side``."""
        batch, height, width, channels = maps.shape
        side, mixed = self.side, self.side**2
        rows, columns = height // side, width // side
        if self.is_grid:
            cells = maps.reshape(batch, side, rows, side, columns, channels).transpose(2, 3)
            vectors = cells.reshape(batch, mixed, rows * columns * channels)
        else:
            cells = maps.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
            vectors = cells.reshape(batch * rows * columns, mixed, channels)
        # A product of plain matrices, with the bias in the same pass.
        result = torch.baddbmm(self.bias[:, None], self.weight.expand(len(vectors), -1, -1), vectors)
        return result.reshape(cells.shape).transpose(2, 3).reshape(maps.shape)


class GatedMlp(nn.Module):
    """gMLP along one axis: half of the features, mixed in space, gates the other half."""

    def __init__(self, channels: int, side: int, is_grid: bool) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.project_in = nn.Linear(channels, 2 * channels)
        self.gate_norm = norm(channels)
        self.mixing = AxisMixing(side, is_grid)
        self.project_out = nn.Linear(channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        values, gates = gelu(self.project_in(self.norm(maps))).chunk(2, dim=-1)
        gates = self.mixing(self.gate_norm(gates))
        return maps + self.project_out(values * (gates + 1))


class MultiAxisMlp(nn.Module):
    """Half of the channels through a gMLP of the grid, the other half through one of the blocks (figure 3a)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.project_in = nn.Linear(channels, 2 * channels)
        self.grid = GatedMlp(channels, side, is_grid=True)
        self.block = GatedMlp(channels, side, is_grid=False)
        self.project_out = nn.Linear(2 * channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        grid, block = gelu(self.project_in(self.norm(maps))).chunk(2, dim=-1)
        return maps + self.project_out(torch.cat((self.grid(grid), self.block(block)), dim=-1))


class MultiAxisGate(nn.Module):
    """The weights with which one map gates another in a :class:`CrossGating`."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.project_in = nn.Linear(channels, 2 * channels)
        self.grid = AxisMixing(side, is_grid=True)
        self.block = AxisMixing(side, is_grid=False)
        self.project_out = nn.Linear(2 * channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        grid, block = gelu(self.project_in(self.norm(maps))).chunk(2, dim=-1)
        return self.project_out(torch.cat((self.grid(grid), self.block(block)), dim=-1))


class CrossGating(nn.Module):
    """Two maps, each gated by the other (figure 3b).

    Args:
        inputs: channels of the first map; of the second there are ``other_inputs``.
        channels: of both results.
        side: of the blocks and the grid.
        other_inputs: channels of the second map, where that is of half the size; by default it is of the same size
            and has ``channels``.
    """

    def __init__(self, inputs: int, channels: int, side: int, other_inputs: int | None = None) -> None:
        super().__init__()
        self.upsample = None if other_inputs is None else PixelConvTranspose2d(other_inputs, channels)
        self.first = nn.Linear(inputs, channels)
        self.second = nn.Linear(channels, channels)
        self.first_norm, self.second_norm = norm(channels), norm(channels)
        self.first_in, self.second_in = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.first_gate, self.second_gate = MultiAxisGate(channels, side), MultiAxisGate(channels, side)
        self.first_out, self.second_out = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(first)
        second = self.second(second if self.upsample is None else self.upsample(second))
        first_inner = gelu(self.first_in(self.first_norm(first)))
        second_inner = gelu(self.second_in(self.second_norm(second)))
        second = second + self.second_out(second_inner * self.first_gate(first_inner))
        return first + second + self.first_out(first_inner * self.second_gate(second_inner)), second


class ChannelAttention(nn.Module):
    """Scales each channel by what the mean of all of them says (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // SQUEEZE)
        self.excite = nn.Linear(channels // SQUEEZE, channels)

    def forward(self, maps: Tensor) -> Tensor:
        means = maps.mean((1, 2), keepdim=True)
        return maps * torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))


class ConvAttention(nn.Module):
    """Residual channel attention of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.conv1 = PixelConv2d(channels, channels, 3, padding=1)
        self.conv2 = PixelConv2d(channels, channels, 3, padding=1)
        self.attention = ChannelAttention(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.attention(self.conv2(functional.leaky_relu(self.conv1(self.norm(maps)), SLOPE)))


class MlpAttention(nn.Module):
    """Residual channel attention of two dense layers, as the bottleneck has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.dense1 = nn.Linear(channels, channels)
        self.dense2 = nn.Linear(channels, channels)
        self.attention = ChannelAttention(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.attention(self.dense2(gelu(self.dense1(self.norm(maps)))))


class Rescale(nn.Module):
    """A 1x1 convolution and a bilinear change of size by a power of two, antialiased where it shrinks."""

    def __init__(self, inputs: int, channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.project = nn.Linear(inputs, channels)

    def forward(self, maps: Tensor) -> Tensor:
        # The two commute, as bilinear weights sum to 1: the projection is made where there are fewer pixels.
        if self.factor > 1:
            return self._resize(self.project(maps))
        return self.project(self._resize(maps) if self.factor < 1 else maps)

    def _resize(self, maps: Tensor) -> Tensor:
        # Not all devices resize bfloat16.
        image, shrinks = maps.permute(0, 3, 1, 2).float(), self.factor < 1
        size = [round(side * self.factor) for side in image.shape[2:]]
        resized = functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=shrinks)
        return resized.permute(0, 2, 3, 1).to(maps.dtype)

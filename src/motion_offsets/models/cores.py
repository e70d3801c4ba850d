"""The networks without their padding: what is compiled for speed and exported for other programs.

A graph for photos of any size is simple where the sizes are multiples of the networks' strides. So the padding stays
outside of it: :func:`pad_to_multiple` before a core, a crop after it, and the results are the models' own.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration_etraj import is_estimator
from .modeling_etraj import EtrajModel


def estimated_maps(model: EtrajModel, pixel_values: Tensor) -> Tensor:
    """Control points ``(B, 2K, H, W)`` and, of a model that predicts it, their uncertainty as one more channel."""
    found = model(pixel_values, output_motion_offsets=False)
    points = found.control_points.float()
    return points if found.uncertainty is None else torch.cat([points, found.uncertainty.float()], 1)


class EstimatorCore(nn.Module):
    """Photos ``(B, 3, H, W)`` in [0, 1] to control points ``(B, 2K, H, W)``, pixels, float32; sides multiples of
    :attr:`multiple`.

    Args:
        model: the estimator.
        uncertainty: whether its uncertainty, if it predicts one, follows as one more channel.
    """

    padding = "reflect"

    def __init__(self, model: EtrajModel, uncertainty: bool = False) -> None:
        super().__init__()
        self.model, self.uncertainty = model, uncertainty
        self.multiple = (model.config.stride, model.config.stride)

    def forward(self, pixel_values: Tensor) -> Tensor:
        found = estimated_maps(self.model, pixel_values)
        return found if self.uncertainty else found[:, : 2 * self.model.config.num_control_points]


class DeblurrerCore(nn.Module):
    """Photos ``(B, 3, H, W)``, for a motion-aware deblurrer with control points ``(B, 2K, H, W)``, to sharp frames
    ``(B, 3, H, W)``, float32, not clamped; sides multiples of :attr:`multiple`."""

    def __init__(self, model: Any, trajectory: str) -> None:
        super().__init__()
        self.model, self.trajectory = model, trajectory
        self.multiple = model.size_multiple
        self.padding = model.core_padding

    def forward(self, pixel_values: Tensor, control_points: Tensor | None = None) -> Tensor:
        return self.model.sharpen(pixel_values, control_points, self.trajectory).float()


def pad_to_multiple(tensor: Tensor, multiple: tuple[int, int], mode: str) -> Tensor:
    """Continue ``(B, C, H, W)`` downwards and to the right until H and W are multiples."""
    rows, columns = (-size % step for size, step in zip(tensor.shape[2:], multiple, strict=True))
    while rows or columns:
        # A small photo is mirrored as often as it takes; torch mirrors once.
        most = [side - 1 for side in tensor.shape[2:]] if mode == "reflect" else [rows, columns]
        down, right = min(rows, most[0]), min(columns, most[1])
        tensor = functional.pad(tensor, (0, right, 0, down), mode=mode)
        rows, columns = rows - down, columns - right
    return tensor


def reduced_copy(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with weights of this type. Where positions come out, in an estimator's last layers, they stay float32."""
    reduced = copy.deepcopy(model).to(dtype).eval()
    for module in reduced.modules():
        if is_estimator(module):
            estimator = cast(EtrajModel, module)
            estimator.network.head.float()
            if estimator.context is not None:
                estimator.context.cells.head.float()
    return reduced

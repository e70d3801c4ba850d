"""Values of any type that pictures are kept in, as float32 in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import BadInputError
from .deep_pictures import DeepPicture
from .photo_sources import describe


def channels_last(source: np.ndarray | torch.Tensor) -> np.ndarray:
    """``(H, W, C)`` view of an array; sides are at least 16, so the axis of 1 to 4 is the channels."""
    name = describe(source)
    if isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        source = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        first_preferred = True
    else:
        first_preferred = False
    if source.ndim == 2:
        return source[:, :, None]
    if source.ndim == 3:
        channels_first = source.shape[0] <= 4 and (first_preferred or source.shape[2] > 4)
        if channels_first:
            source = np.moveaxis(source, 0, -1)
        if 1 <= source.shape[2] <= 4:
            return source
    raise BadInputError(f"{name}: is not one picture; give (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels")


def deep_values(picture: DeepPicture, name: str) -> np.ndarray:
    """``(H, W, 1)`` or ``(H, W, 3)``, float32 in [0, 1], black at 0, not multiplied by alpha."""
    if picture.top:
        values = np.divide(picture.values, picture.top, dtype=np.float32)
    else:
        whole = picture.values.dtype.kind in "iu"  # of 32 bits, or with a sign
        values = np.clip(picture.values, -1, 2**31 - 1).astype(np.int32) if whole else picture.values
        values = scale_to_unit(values, name)
    if picture.negative:
        values = 1 - values
    if picture.associated and picture.alpha is not None:
        seen = picture.alpha > 0
        values = np.clip(np.divide(values, picture.alpha, out=np.zeros_like(values), where=seen), 0, 1)
    return values


def scale_to_unit(values: np.ndarray, name: str) -> np.ndarray:
    """Values as float32 in [0, 1], by what their type can hold.

    Args:
        values: bool, uint8, uint16, int32 of 16 bits, or float in [0, 1]; of any shape and byte order.
        name: what errors call the picture.

    Raises:
        BadInputError: another type, or values out of its range.
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # some TIFFs are big-endian
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if values.dtype == np.uint8:
        return np.divide(values, 255, dtype=np.float32)
    if values.dtype == np.uint16:
        return np.divide(values, 65535, dtype=np.float32)
    if values.dtype == np.int32:  # how Pillow hands over some 16-bit files, PGM among them
        _check_range(values, 65535, "whole numbers wider than 16 bits; save it with 8 or 16 bits per channel", name)
        return np.divide(values, 65535, dtype=np.float32)
    if np.issubdtype(values.dtype, np.floating):
        _check_range(values, 1, "float values must lie in [0, 1], so divide by the largest possible value", name)
        return np.clip(values, 0, 1).astype(np.float32, copy=False)
    raise BadInputError(f"{name}: has values of type {values.dtype}; give uint8, uint16 or float in [0, 1]")


def _check_range(values: np.ndarray, top: float, advice: str, name: str) -> None:
    low, high = float(values.min()), float(values.max())
    slack = 1e-3 * top  # resizing with a cubic filter, say, overshoots a little
    if not (low >= -slack and high <= top + slack):  # also false for NaN
        raise BadInputError(f"{name}: has values from {low:g} to {high:g}; {advice}")

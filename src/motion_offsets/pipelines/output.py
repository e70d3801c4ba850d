"""What the pipeline gives back, and the forms it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from ..errors import BadInputError
from ..exposure.camera import CameraFit
from ..exposure.consistency import Consistency


@dataclass
class BlurToVideoOutput(BaseOutput):
    """What one call found, a list entry a photo.

    Args:
        frames: the clips; each a list of T PIL pictures, an array ``(T, H, W, 3)`` or a tensor ``(T, 3, H, W)``.
        sharp: the sharp frames, t = 0; each a PIL picture, an array ``(H, W, 3)`` or a tensor ``(3, H, W)``.
        motion_offsets: a tensor ``(T, 2, H, W)`` each, dx and dy in pixels, at the times of the frames.
        control_points: a tensor ``(2K, H, W)`` each, pixels, aligned in time as the frames are.
        reblurred: what the sharp frame and the motion make of the exposure, like ``sharp``.
        consistency: a :class:`~motion_offsets.exposure.consistency.Consistency` each.
        cameras: the camera's motion, a :class:`~motion_offsets.exposure.camera.CameraFit` each; ``None`` if the camera
            mode is ``"off"``.
    """

    frames: list[Any]
    sharp: list[Any]
    motion_offsets: list[Tensor]
    control_points: list[Tensor]
    reblurred: list[Any]
    consistency: list[Consistency]
    cameras: list[CameraFit | None]


def frame_times(num_frames: int) -> list[float]:
    """The times of T >= 2 frames spread evenly over the exposure, -1 to 1; symmetric, exactly 0 in the middle."""
    if isinstance(num_frames, bool) or not isinstance(num_frames, int) or num_frames < 2:
        raise BadInputError(f"num_frames is {num_frames!r}; a clip needs a whole number of frames, at least 2")
    return [step / (num_frames - 1) for step in range(1 - num_frames, num_frames, 2)]


def as_list(images: Any) -> list[Any]:
    """One photo, a list of them or a batch, as a list."""
    if isinstance(images, (list, tuple)):
        return list(images)
    if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        return list(images)
    return [images]


def stack(frames: list[Any], output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    """The frames of a clip in the output type's form."""
    if output_type == "pil":
        return frames
    return np.stack(frames) if output_type == "np" else torch.stack(frames)

"""How photos are extracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..exposure.camera_modes import AUTO
from ..exposure.refine_steps import REFINE_STEPS
from ..pipelines.answer import OnStep as OnStep
from ..runtime.memory import DEFAULT_MAX_MEMORY


@dataclass(frozen=True)
class ExtractionSettings:
    """How photos are extracted.

    Args:
        times: times of the frames, -1 to 1.
        fps: frames per second of the clip.
        animations: suffixes of further clips, ``".gif"`` and ``".webp"``.
        max_memory: bytes that a photo may need.
        refine_steps: of the motion on the photo itself, 0 for none; see :mod:`motion_offsets.exposure.refinement`.
        camera: what becomes of the camera's own motion; see :mod:`motion_offsets.exposure.camera`.
        safe: blend back what the motion does not explain; see :mod:`motion_offsets.exposure.blending`.
        dtype: autocast type, ``None`` for float32.
        keep_location: whether the pictures keep where the photo was taken, if it tells that.
        models: what the report says the models are.
    """

    times: Sequence[float]
    fps: float = 15
    animations: tuple[str, ...] = ()
    max_memory: float = DEFAULT_MAX_MEMORY
    refine_steps: int = REFINE_STEPS
    safe: bool = False
    camera: str = AUTO
    dtype: torch.dtype | None = None
    keep_location: bool = True
    models: dict[str, str] | None = None

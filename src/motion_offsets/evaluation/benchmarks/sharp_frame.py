"""Where a benchmark's sharp frame comes from: the pipeline's network, deconvolution along its motion, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .costs import Stopwatch

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

# What a deblurrer's name may be in place of a model's.
NO_DEBLURRER, DECONVOLUTION = "none", "map"


def sharp_frame(
    pipeline: BlurToVideoPipeline,
    blurred: Tensor,
    points: Tensor,
    watch: Stopwatch,
    dtype: torch.dtype | None = None,
    deconvolve: bool = False,
) -> Tensor | None:
    """The deblurred photo, just as a user gets it.

    Args:
        pipeline: what is measured.
        blurred: ``(1, 3, H, W)`` on the pipeline's device, in [0, 1].
        points: its estimated control points, ``(1, 2K, H, W)`` in pixels.
        watch: gets the seconds, as the part ``"deblurrer"``.
        dtype: autocast type of the network, ``None`` for none.
        deconvolve: without a network, along ``points``; see :mod:`~motion_offsets.exposure.deconvolution`.

    Returns:
        ``(1, 3, H, W)`` in [0, 1] on the same device, or ``None`` if there is no deblurrer either.
    """
    if deconvolve:
        with watch.part("deblurrer"):
            return pipeline.deconvolve(blurred, points)
    if pipeline.deblurrer is None:
        return None
    shared = points if pipeline.estimators_agree else None
    with watch.part("deblurrer"):
        return pipeline.deblur(blurred, shared, dtype=dtype)

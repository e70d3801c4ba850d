"""Where a benchmark's sharp frame comes from: the pipeline's network, deconvolution along its motion, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pipelines.answer import DECONVOLUTION, NETWORK, NO_DEBLURRER

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

__all__ = ["DECONVOLUTION", "NETWORK", "NO_DEBLURRER", "REFINED", "sharp_method"]

# What a benchmark takes ``refine_steps`` for.
REFINED = "the motion is fitted with a sharp frame"


def sharp_method(pipeline: BlurToVideoPipeline, deconvolve: bool) -> str:
    """The ``method`` of :meth:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline.answer`."""
    if deconvolve:
        return DECONVOLUTION
    return NO_DEBLURRER if pipeline.deblurrer is None else NETWORK

"""The pipeline of names: of an estimator and a deblurrer, or of a whole pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blur_to_video import BlurToVideoPipeline


def load_pipeline(model: str, deblurrer: str | None = None, deblurs: bool = True) -> BlurToVideoPipeline:
    """The pipeline of an estimator and a deblurrer, or the one that a pipeline's own name or folder stands for.

    Args:
        model: estimator or pipeline: plain name, folder or Hub name.
        deblurrer: deblurrer by name; by default the pipeline's own, or the bundled one beside an estimator.
        deblurs: ``False`` loads no deblurrer: for the motion alone.
    """
    from ..models.hub import DEFAULT_DEBLURRER, is_pipeline
    from ..models.registry import load_deblurrer, load_estimator
    from .blur_to_video import BlurToVideoPipeline

    whole = is_pipeline(model)
    if deblurs and deblurrer is None and not whole:
        deblurrer = DEFAULT_DEBLURRER
    parts: dict[str, Any] = {}
    if not deblurs:
        parts["deblurrer"] = None
    elif deblurrer is not None:
        parts["deblurrer"] = load_deblurrer(deblurrer)
    if whole:
        return BlurToVideoPipeline.from_pretrained(model, **parts)
    return BlurToVideoPipeline(estimator=load_estimator(model), **parts)

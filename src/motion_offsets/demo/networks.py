"""The networks of the page: one copy of each, shared by everybody; on Hugging Face's ZeroGPU, its decorator."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import BadInputError
from ..exposure.refine_steps import REFINE_STEPS
from ..io.motion_files import as_half
from ..models.hub import DEFAULT_DEBLURRER, DEFAULT_ESTIMATOR, bundled_models
from ..models.registry import deblurrer_class, load_deblurrer, load_estimator
from ..pipelines.answer import CONSISTENCY, MOTION, NO_DEBLURRER, REFINEMENT, SHARP_FRAME
from ..pipelines.blur_to_video import BlurToVideoPipeline
from ..runtime.devices import pick_device, pick_dtype
from . import text
from .answers import Answer
from .jobs import check_current, make_stoppable, step_current
from .limits import Limits

ZERO_GPU_SECONDS = 60
# What the page calls the steps of an answer, and how far it is when they begin.
_STEPS = {
    MOTION: (text.STEP_MOTION, 0.1),
    SHARP_FRAME: (text.STEP_SHARP, 0.4),
    REFINEMENT: (text.STEP_REFINE, 0.6),
    CONSISTENCY: (text.STEP_COMPARE, 0.75),
}

_pipes: dict[tuple[str, str], BlurToVideoPipeline] = {}  # by estimator and deblurrer
_lock = threading.Lock()
_deblurrers: dict[str, str] = {DEFAULT_DEBLURRER: "ma-dmphn"}


def estimators() -> dict[str, str]:
    """The bundled estimators: name to trajectory, the default first."""
    found = {}
    for name, folder in bundled_models().items():
        config = folder / "config.json"
        settings: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        if settings.get("model_type") == "etraj":
            found[name] = str(settings.get("trajectory", "quadratic"))
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT_ESTIMATOR, item[0])))


def use_deblurrers(names: Sequence[str] = ()) -> None:
    """Offer these deblurrers, each loaded on first use; the first is the default, without any the bundled one.

    Raises:
        BadInputError: there is none of a name, or it is an estimator.
    """
    found = {name: str(deblurrer_class(name).config_class.model_type) for name in names or (DEFAULT_DEBLURRER,)}
    with _lock:
        _deblurrers.clear()
        _deblurrers.update(found)
        _pipes.clear()


def deblurrers() -> dict[str, str]:
    """The deblurrers on offer: name to ``model_type``, the default first."""
    return dict(_deblurrers)


def longest(limits: Limits, deblurrer: str | None = None) -> float:
    """Seconds that the networks may work on one photo, with one of :func:`deblurrers` or the default one.

    Raises:
        BadInputError: there is none of that name.
    """
    if deblurrer is not None and deblurrer not in _deblurrers:
        raise BadInputError(f"deblurrer: unknown; give one of {', '.join(_deblurrers)}")
    kind = next(iter(_deblurrers.values())) if deblurrer is None else _deblurrers[deblurrer]
    return limits.slow_seconds if kind in text.SLOW_DEBLURRERS else limits.seconds


def pipeline(model: str, deblurrer: str | None = None, device: str = "auto") -> BlurToVideoPipeline:
    """The one pipeline of a bundled estimator and a deblurrer, loaded on first use; they share their networks.

    Args:
        model: name of a bundled estimator.
        deblurrer: one of :func:`deblurrers`, by default the first.
        device: where to load it.
    """
    with _lock:
        name = next(iter(_deblurrers)) if deblurrer is None else deblurrer
        if (model, name) not in _pipes:
            estimators = [pipe.estimator for (other, _), pipe in _pipes.items() if other == model]
            networks = [pipe.deblurrer for (_, other), pipe in _pipes.items() if other == name]
            estimator = estimators[0] if estimators else make_stoppable(load_estimator(model))
            network = networks[0] if networks else make_stoppable(load_deblurrer(name))
            pipe = BlurToVideoPipeline(estimator, network)
            pipe.set_progress_bar_config(disable=True)
            _pipes[model, name] = pipe.to(pick_device(device))
        return _pipes[model, name]


def _zero_gpu() -> Callable[[Any], Any]:
    """The decorator that borrows a GPU on a ZeroGPU Space; elsewhere the function as it is."""
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return lambda function: function
    return spaces.GPU(duration=ZERO_GPU_SECONDS)


@_zero_gpu()
def find(
    model: str,
    photo: np.ndarray,
    memory: float,
    refine_steps: int = REFINE_STEPS,
    safe: bool = False,
    deblurrer: str | None = None,
) -> Answer:
    """What the networks find in a photo.

    Args:
        model: name of a bundled estimator.
        photo: uint8 ``(H, W, 3)``.
        memory: bytes that the photo may need.
        refine_steps: steps that fit the motion to the photo.
        safe: whether the sharp frame keeps only changes that the motion explains.
        deblurrer: one of :func:`deblurrers`, by default the first.
    """
    pipe = pipeline(model, deblurrer)
    found = pipe.answer(
        pipe.preprocess(photo),
        max_memory=memory,
        dtype=pick_dtype("auto", pipe.device),
        refine_steps=refine_steps,
        safe=safe,
        on_step=_step,
    )
    assert found.sharp is not None
    return Answer(
        photo=photo,
        sharp=(found.sharp[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy(),
        control_points=as_half(found.control_points),
        uncertainty=None if found.uncertainty is None else as_half(found.uncertainty),
        model=model,
        trajectory=pipe.trajectory,
        num_samples=pipe.num_samples,
        consistency=dict(found.consistency[0]),
    )


@_zero_gpu()
def find_motion(model: str, photo: np.ndarray, memory: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The motion alone, without a sharp frame: control points ``(2K, H, W)`` and their uncertainty ``(1, H, W)``, both
    in pixels; ``None`` for the latter if the estimator does not predict it."""
    pipe = pipeline(model)
    dtype = pick_dtype("auto", pipe.device)
    found = pipe.answer(pipe.preprocess(photo), method=NO_DEBLURRER, max_memory=memory, dtype=dtype)
    return as_half(found.control_points), None if found.uncertainty is None else as_half(found.uncertainty)


def _step(name: str, done: int, total: int) -> None:
    """A step's start on the page's bar; between its parts the work can be stopped."""
    if done == 0 and name in _STEPS:
        step_current(*_STEPS[name])
    else:
        check_current()

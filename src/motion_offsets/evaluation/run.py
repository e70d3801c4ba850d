"""Benchmarks with known answers, each run as one flat dictionary of figures, and how these are written down."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from ..errors import BadInputError
from ..exposure.camera_modes import AUTO, check_camera_mode
from ..exposure.refine_steps import check_refine_steps
from ..io.atomic import whole_file
from ..models.hub import DEFAULT_DEBLURRER, DEFAULT_ESTIMATOR, is_pipeline, pipeline_components, resolve_name
from ..pipelines.from_names import load_pipeline
from ..runtime.devices import pick_device, pick_dtype
from ..version import versions
from .benchmarks.base import Asked, Benchmark, Progress, run_benchmark
from .benchmarks.costs import size_figures
from .benchmarks.registry import BENCHMARKS, start, to_markdown
from .benchmarks.sharp_frame import DECONVOLUTION, NO_DEBLURRER
from .metrics import ssim
from .tables import LOSS_TERMS

if TYPE_CHECKING:
    from ..pipelines.blur_to_video import BlurToVideoPipeline

__all__ = [
    "BENCHMARKS",
    "changed_options",
    "checkpoint_sha256",
    "with_provenance",
    "load_measured",
    "open_benchmark",
    "run",
    "to_json",
    "to_markdown",
]


def run(
    benchmark: str,
    images: str | os.PathLike[str],
    model: str = DEFAULT_ESTIMATOR,
    deblurrer: str | None = None,
    limit: int | None = None,
    output: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    label_maps: str | os.PathLike[str] | None = None,
    window: int | None = None,
    refine_steps: int = 0,
    safe: bool = False,
    clean: bool = False,
    true_motion: bool = False,
    camera: str = AUTO,
) -> dict[str, Any]:
    """What ``motion-offsets evaluate`` does: load the models, run a benchmark, say what was run with what.

    It prints nothing to standard output and shows its progress on standard error. The command takes this function's
    arguments as they are and prints :func:`to_json` of the result, or :func:`to_markdown` if ``--markdown`` is given.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        images: folder of sharp photos; for ``gopro`` the data set, a folder, a ZIP file or a Hub name.
        model: estimator, or a pipeline that brings its own deblurrer: plain name, folder or Hub name.
        deblurrer: deblurrer by name; by default the pipeline's own, or the bundled one. ``"none"``: motion alone;
            ``"map"``: no network but deconvolution along the estimated motion, the conventional row of Table 5.
        limit: evaluate only this number of photos, from the first.
        output: JSON file to write the result to as well.
        device: as everywhere on the command line.
        dtype: as everywhere, but ``"auto"`` is float32, so that figures do not depend on the machine's arithmetic.
        label_maps: for ``bsd-dynamic``, the folder of label maps of the photos, by which objects are cut from them.
        window: for ``gopro``, where ``images`` holds consecutive frames: how many make a blurred picture, odd.
        refine_steps: for ``bsd-dynamic``, as the pipeline takes it.
        safe: for ``bsd-dynamic`` and ``unblurred``, as the pipeline takes it.
        clean: for ``bsd-dynamic``: the same scenes without noise and JPEG.
        true_motion: for ``bsd-motion-flow`` and ``bsd-dynamic``: give the deblurrer the true motion in place of the
            estimate. The figures of the motion are then the truth's own.
        camera: what becomes of the camera's own motion, as the pipeline takes it.

    Returns:
        The figures of the benchmark, and ``benchmark``, ``model``, ``deblurrer``, ``trajectory``, ``num_samples``,
        ``loss_weights``, ``deblurrer_trajectory`` (``None`` unless it uses motion), ``checkpoints`` (SHA-256 of the
        weight files), their sizes (:func:`~.evaluation_costs.size_figures`), ``device``, ``dtype``, ``seconds`` and
        ``versions``.

    Raises:
        BadInputError: an unknown benchmark, or anything else that cannot be used; nothing is computed before.
    """
    asked = Asked(
        images,
        limit,
        label_maps,
        window=window,
        refine_steps=refine_steps,
        safe=safe,
        clean=clean,
        true_motion=true_motion,
        camera=camera,
    )
    check_refine_steps(refine_steps)
    check_camera_mode(camera)
    chosen = pick_device(device)
    autocast = None if dtype == "auto" else pick_dtype(dtype, chosen)
    for name in (model, deblurrer):
        if name not in (None, NO_DEBLURRER, DECONVOLUTION):
            resolve_name(name)
    opened = open_benchmark(benchmark, asked, deblurrer)
    # The file is claimed first: a name that cannot be written is refused before minutes of work.
    with nullcontext() if output is None else whole_file(output, (".json",)) as partial:
        pipeline = load_measured(model, deblurrer).to(chosen)
        pipeline.camera = camera
        started = time.perf_counter()
        with tqdm(desc=benchmark, unit="image", file=sys.stderr, mininterval=2) as bar:
            figures = run_benchmark(opened, pipeline, autocast, _show_on(bar))
        seconds = round(time.perf_counter() - started, 1)
        figures |= changed_options(asked)
        result = with_provenance(benchmark, figures, pipeline, model, deblurrer, autocast, seconds)
        if partial is not None:
            partial.write_text(to_json(result) + "\n", encoding="utf-8")
    return result


def open_benchmark(name: str, asked: Asked, deblurrer: str | None = None) -> Benchmark:
    """A benchmark of :data:`BENCHMARKS`, ready to be answered by a deblurrer of this name; see :func:`run`.

    Raises:
        BadInputError: see :func:`.registry.start`.
    """
    ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))  # says at once if what it needs is not installed
    with_deblurrer = replace(asked, deconvolve=deblurrer == DECONVOLUTION, deblurs=deblurrer != NO_DEBLURRER)
    return start(name, with_deblurrer)


def load_measured(model: str, deblurrer: str | None) -> BlurToVideoPipeline:
    """The pipeline that is measured.

    Args:
        model: as for :func:`run`.
        deblurrer: likewise.

    Raises:
        BadInputError: a model cannot be loaded, or a pipeline's folder holds no deblurrer and none is named.
    """
    if deblurrer in (NO_DEBLURRER, DECONVOLUTION):
        return load_pipeline(model, deblurs=False)
    pipeline = load_pipeline(model, deblurrer)
    if pipeline.deblurrer is None:
        raise BadInputError(f"{model}: holds no deblurrer; name one, or give `deblurrer` {NO_DEBLURRER}")
    return pipeline


def changed_options(asked: Asked) -> dict[str, Any]:
    """The options of a run that are not as by default and change what is measured, and the camera mode, for a
    result."""
    changed = {
        name: getattr(asked, name) for name in ("refine_steps", "safe", "clean", "true_motion") if getattr(asked, name)
    }
    return {**changed, "camera": asked.camera}


def with_provenance(
    benchmark: str,
    figures: dict[str, Any],
    pipeline: BlurToVideoPipeline,
    model: str,
    deblurrer: str | None,
    dtype: torch.dtype | None,
    seconds: float,
) -> dict[str, Any]:
    """Figures with everything that it takes to trace them; see :func:`run`."""
    names = model_names(model, deblurrer)
    sizes: dict[str, Any] = {}
    for part, name in names.items():
        file = weight_file(name, part)
        sizes |= size_figures(part, getattr(pipeline, part), None if file is None else file.stat().st_size)
    if deblurrer == DECONVOLUTION:
        sizes |= size_figures("deblurrer", None, None)
    return {
        "benchmark": benchmark,
        "model": os.fspath(model),
        "deblurrer": deblurrer if deblurrer == DECONVOLUTION else names.get("deblurrer"),
        **figures,
        "trajectory": pipeline.trajectory,
        "num_samples": pipeline.num_samples,
        "loss_weights": {name: getattr(pipeline.estimator.config, f"{name}_weight") for name in LOSS_TERMS},
        "deblurrer_trajectory": _trajectory_of(pipeline),
        "checkpoints": {part: checkpoint_sha256(name, part) for part, name in names.items()},
        **sizes,
        "device": _device_name(pipeline.device),
        "dtype": "float32" if dtype is None else str(dtype).removeprefix("torch."),
        "seconds": seconds,
        "versions": {"python": platform.python_version()} | versions(_VERSIONS),
    }


def _trajectory_of(pipeline: BlurToVideoPipeline) -> str | None:
    """The trajectory that a deblurrer follows that uses motion: its own estimator's, or the pipeline's."""
    if pipeline.deblurrer is None or not pipeline.deblurrer.uses_motion:
        return None
    own = pipeline.deblurrer.own_estimator
    return pipeline.trajectory if own is None else own.config.trajectory


def to_json(result: dict[str, Any]) -> str:
    """A result as one JSON object, with four decimals."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}
    return json.dumps(rounded, indent=2, allow_nan=False)


def checkpoint_sha256(name: str | os.PathLike[str], part: str) -> str | None:
    """SHA-256 of the weight file that ``name`` stands for, as ``sha256sum`` prints it.

    Args:
        name: a model's plain name, folder or Hub name, or those of a saved pipeline.
        part: the part meant, ``"estimator"`` or ``"deblurrer"``, if it is a pipeline.

    Returns:
        64 hexadecimal digits, or ``None`` if the weights are not one safetensors file.
    """
    file = weight_file(name, part)
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def weight_file(name: str | os.PathLike[str], part: str) -> Path | None:
    """The safetensors file that :func:`checkpoint_sha256` reads, if it is one."""
    subfolder = part if is_pipeline(name) else ""
    try:
        file = cached_file(resolve_name(name), SAFE_WEIGHTS_NAME, subfolder=subfolder)
    except OSError:
        return None
    return None if file is None else Path(file)


def model_names(model: str, deblurrer: str | None) -> dict[str, str]:
    """The names of the networks that :func:`load_measured` joins."""
    whole = is_pipeline(model)
    parts = pipeline_components(resolve_name(model)) if whole else {}
    names = {"estimator": parts.get("estimator", model)}
    if deblurrer not in (NO_DEBLURRER, DECONVOLUTION):
        own = parts.get("deblurrer", model) if whole else DEFAULT_DEBLURRER
        names["deblurrer"] = own if deblurrer is None else deblurrer
    return names


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


_VERSIONS = ("torch", "transformers", "numpy", "scikit-image", "opencv-python-headless", "pillow")


def _show_on(bar: tqdm) -> Progress:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show

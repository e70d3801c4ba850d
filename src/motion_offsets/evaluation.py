"""Benchmarks with known answers, each run as one flat dictionary of figures, and how these are written down."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from .benchmark_dynamic import DynamicCases, evaluate_dynamic
from .benchmark_motion_flow import evaluate_motion_flow
from .benchmark_photos import Progress, photos_of
from .cli_arguments import load_pipeline, pick_device, pick_dtype
from .errors import BadInputError
from .hub import DEFAULT_DEBLURRER, DEFAULT_ESTIMATOR, is_pipeline, pipeline_components, resolve_name
from .metrics import ssim
from .video import whole_file

BENCHMARKS = ("bsd-motion-flow", "bsd-dynamic")
NO_DEBLURRER = "none"

# Table 2 of the paper, its synthetic set: reblur PSNR, reblur SSIM, motion MSE.
PAPER_TABLE_2 = (
    ("paper, zero-constraint", 37.62, 0.9763, None),
    ("paper, linear", 37.34, 0.9857, 7.42),
    ("paper, bidirectional-linear", 38.64, 0.9872, 7.16),
    ("paper, quadratic", 38.90, 0.9882, 3.27),
)


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
) -> dict[str, Any]:
    """What ``motion-offsets evaluate`` does: load the models, run a benchmark, say what was run with what.

    It prints nothing to standard output and shows its progress on standard error. The command takes this function's
    arguments as they are and prints :func:`to_json` of the result, or :func:`to_markdown` if ``--markdown`` is given.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        images: folder of sharp photos.
        model: estimator, or a pipeline that brings its own deblurrer: plain name, folder or Hub name.
        deblurrer: deblurrer by name; by default the pipeline's own, or the bundled one. ``"none"``: motion alone.
        limit: only the first so many photos.
        output: JSON file to write the result to as well.
        device: as everywhere on the command line.
        dtype: as everywhere, but ``"auto"`` is float32, so that figures do not depend on the machine's arithmetic.
        label_maps: for ``bsd-dynamic``, the folder of label maps of the photos, by which objects are cut from them.

    Returns:
        The figures of the benchmark, and ``benchmark``, ``model``, ``deblurrer``, ``trajectory``, ``num_samples``,
        ``checkpoints`` (SHA-256 of the weight files), ``device``, ``dtype``, ``seconds`` and ``versions``.

    Raises:
        BadInputError: an unknown benchmark, or anything else that cannot be used; nothing is computed before.
    """
    if benchmark not in BENCHMARKS:
        raise BadInputError(f"benchmark is {benchmark!r}; it has to be one of {', '.join(BENCHMARKS)}")
    photos_of(images, limit)
    if (label_maps is None) == (benchmark == "bsd-dynamic"):
        raise BadInputError(
            f"{benchmark} {'wants' if label_maps is None else 'takes no'} --label-maps; it is the folder of PNG label "
            "maps of the photos, and bsd-dynamic cuts its objects out by them"
        )
    ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))  # says at once if what it needs is not installed
    place = pick_device(device)
    precision = None if dtype == "auto" else pick_dtype(dtype, place)
    # The file is claimed first: a name that cannot be written is refused before minutes of work.
    with nullcontext() if output is None else whole_file(output, (".json",)) as partial:
        wanted = None if deblurrer == NO_DEBLURRER else deblurrer
        pipeline = load_pipeline(model, wanted, deblurs=deblurrer != NO_DEBLURRER).to(place)
        started = time.perf_counter()
        with tqdm(desc=benchmark, unit="image", file=sys.stderr, mininterval=2) as bar:
            if label_maps is None:
                figures = evaluate_motion_flow(images, pipeline, limit, precision, _show_on(bar))
            else:
                cases = DynamicCases(images, [images], [label_maps], limit)
                figures = evaluate_dynamic(cases, pipeline, precision, _show_on(bar))
        names = _model_names(model, deblurrer)
        result = {
            "benchmark": benchmark,
            "model": os.fspath(model),
            "deblurrer": names.get("deblurrer"),
            **figures,
            "trajectory": pipeline.trajectory,
            "num_samples": pipeline.num_samples,
            "checkpoints": {part: checkpoint_sha256(name, part) for part, name in names.items()},
            "device": _device_name(place),
            "dtype": "float32" if precision is None else str(precision).removeprefix("torch."),
            "seconds": round(time.perf_counter() - started, 1),
            "versions": _versions(),
        }
        if partial is not None:
            partial.write_text(to_json(result) + "\n", encoding="utf-8")
    return result


def to_json(result: dict[str, Any]) -> str:
    """A result as one JSON object, with four decimals."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}
    return json.dumps(rounded, indent=2, allow_nan=False)


def to_markdown(result: dict[str, Any]) -> str:
    """A result as Markdown tables: beside the paper's Table 2, or beside what doing nothing scores."""
    return _dynamic_tables(result) if result["benchmark"] == "bsd-dynamic" else _motion_flow_tables(result)


def _dynamic_tables(result: dict[str, Any]) -> str:
    rows = [
        ("", "trajectory error, px", "reblur PSNR", "deblur PSNR", "deblur SSIM", "video PSNR"),
        (
            "ours",
            *(
                result[name]
                for name in ("trajectory_error", "reblur_psnr", "deblur_psnr", "deblur_ssim", "video_psnr")
            ),
        ),
        (
            "no motion at all, the photo as it is",
            *(
                result[name]
                for name in (
                    "trajectory_error_zero",
                    "blurred_psnr",
                    "blurred_psnr",
                    "blurred_ssim",
                    "video_psnr_blurred",
                )
            ),
        ),
        ("the deblurred frame repeated", None, None, None, None, result["video_psnr_repeated"]),
    ]
    return "\n\n".join(
        [
            f"bsd-dynamic: {result['images']} scenes; {100 * result['valid_share']:.0f} % of their pixels have a "
            f"known path, which departs from a straight line by {result['bend']:.2f} px (median); depth moves things "
            f"by {result['depth_effect']:.2f} px.",
            _markdown_table(rows),
        ]
    )


def _motion_flow_tables(result: dict[str, Any]) -> str:
    ours = (f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"], result["motion_mse"])
    motion = [("", "reblur PSNR", "reblur SSIM", "motion MSE"), *PAPER_TABLE_2, ours]
    motion.append(("no motion at all", result["blurred_psnr"], result["blurred_ssim"], result["motion_mse_zero"]))
    sharp = [("", "PSNR", "SSIM"), ("blurred", result["blurred_psnr"], result["blurred_ssim"])]
    if result["deblurrer"] is not None:
        sharp.append((f"deblurred, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"]))
    published = result["motion_mse_published"]
    return "\n\n".join(
        [
            f"{result['benchmark']}: {result['images']} photos, {result['pairs']} blurred images.",
            _markdown_table(motion),
            "Our motion MSE is invariant to time reversal only. As the paper's published script computes it, which "
            f"forgives mirrored directions too, it is {_cell('', published)}. SSIM is scikit-image's on floats; which "
            "one the paper printed is unknown. The paper's photos and flows are of this kind, but not the same.",
            _markdown_table(sharp),
        ]
    )


def _markdown_table(rows: Sequence[tuple[Any, ...]]) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    cells = [header, rule, *([row[0], *map(_cell, header[1:], row[1:])] for row in body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _cell(title: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if "SSIM" in title else f"{value:.2f}"


def checkpoint_sha256(name: str | os.PathLike[str], part: str) -> str | None:
    """SHA-256 of the weight file that ``name`` stands for, as ``sha256sum`` prints it.

    Args:
        name: a model's plain name, folder or Hub name, or those of a saved pipeline.
        part: the part meant, ``"estimator"`` or ``"deblurrer"``, if it is a pipeline.

    Returns:
        64 hexadecimal digits, or ``None`` if the weights are not one safetensors file.
    """
    subfolder = part if is_pipeline(name) else ""
    try:
        file = cached_file(resolve_name(name), SAFE_WEIGHTS_NAME, subfolder=subfolder)
    except OSError:
        return None
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _model_names(model: str, deblurrer: str | None) -> dict[str, str]:
    """The names of the parts that :func:`~motion_offsets.cli_arguments.load_pipeline` joins."""
    whole = is_pipeline(model)
    parts = pipeline_components(resolve_name(model)) if whole else {}
    names = {"estimator": parts.get("estimator", model)}
    if deblurrer != NO_DEBLURRER:
        own = parts.get("deblurrer", model) if whole else DEFAULT_DEBLURRER
        names["deblurrer"] = own if deblurrer is None else deblurrer
    return names


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("motion-offsets", "torch", "transformers", "numpy", "scikit-image", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _show_on(bar: tqdm) -> Progress:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show

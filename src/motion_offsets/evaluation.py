"""Benchmarks with known answers, each as one flat dictionary of figures. So far: ``bsd-motion-flow``.

The paper's synthetic set (section 6.2): sharp photos, each blurred by three camera motions of Gong et al.'s generator.
The motions are drawn from a generator seeded by the photo's name: every run, anywhere, sees the same blurred images.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from .cli_arguments import find_photos, load_pipeline, pick_device, pick_dtype
from .data.motion_flow import blur_with_flow, sample_flow, valid_window
from .errors import BadInputError
from .hub import DEFAULT_DEBLURRER, DEFAULT_ESTIMATOR, is_pipeline, pipeline_components, resolve_name
from .metrics import MOTION_BORDER, motion_mse, motion_mse_published, psnr, ssim
from .trajectories import offsets_at
from .video import whole_file

if TYPE_CHECKING:
    from .pipeline_blur_to_video import BlurToVideoPipeline

BENCHMARKS = ("bsd-motion-flow",)
FLOWS_PER_PHOTO = 3
NO_DEBLURRER = "none"
# No more pairs than this wait for their figures, or a GPU would fill the memory with answers.
QUEUED_PAIRS = 8

# Table 2 of the paper, its synthetic set: reblur PSNR, reblur SSIM, motion MSE.
PAPER_TABLE_2 = (
    ("paper, zero-constraint", 37.62, 0.9763, None),
    ("paper, linear", 37.34, 0.9857, 7.42),
    ("paper, bidirectional-linear", 38.64, 0.9872, 7.16),
    ("paper, quadratic", 38.90, 0.9882, 3.27),
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MotionFlowPair:
    """A blurred photo whose sharp frame and motion are known.

    Args:
        name: file name of the photo.
        sharp: ``(1, 3, H, W)`` in [0, 1].
        blurred: ``(1, 3, H, W)`` in [0, 1], of 8 bits' precision.
        flow: ``(1, 2, H, W)``, the displacement over the exposure, dx and dy, whole pixels.
    """

    name: str
    sharp: Tensor
    blurred: Tensor
    flow: Tensor


def photo_generator(name: str) -> np.random.Generator:
    """The random generator that a photo's name seeds, without its folder and suffix."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(Path(name).stem.encode()).digest()[:16], "big"))


def motion_flow_pairs(photo: Tensor, name: str, count: int = FLOWS_PER_PHOTO) -> Iterator[MotionFlowPair]:
    """The blurred versions of one sharp photo.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        name: its file name, which alone decides about the motions.
        count: how many versions.

    Raises:
        BadInputError: the photo is so small that the borders leave nothing of it.
    """
    generator = photo_generator(name)
    for _ in range(count):
        yield make_pair(photo, sample_flow(photo.shape[2], photo.shape[3], generator), name)


def make_pair(photo: Tensor, flow: np.ndarray, name: str) -> MotionFlowPair:
    """Blur ``photo`` ``(1, 3, H, W)`` along ``flow`` ``(2, H, W)`` and cut off what came from outside the photo."""
    blurred = blur_with_flow(photo[0], flow)[None]
    height, width = flow.shape[1:]
    window = (..., *valid_window(flow))
    if min(photo[window].shape[2:]) <= 2 * MOTION_BORDER:
        raise BadInputError(
            f"{name}: {width}x{height} pixels are too few, as the borders of this benchmark leave nothing of them; "
            "give photos with sides of at least 160 pixels"
        )
    return MotionFlowPair(
        name=name,
        sharp=photo[window].contiguous(),
        blurred=(blurred[window].clamp(0, 1) * 255).round() / 255,
        flow=torch.from_numpy(flow)[None][window].contiguous(),
    )


def score_motion(pair: MotionFlowPair, displacement: Tensor, reblurred: Tensor) -> dict[str, float]:
    """Figures of an estimated motion.

    Args:
        pair: the question.
        displacement: ``(1, 2, H, W)``, the offset at t = 1 less that at t = -1.
        reblurred: ``(1, 3, H, W)``, what the motion makes of the true sharp frame.
    """
    return {
        "reblur_psnr": float(psnr(reblurred, pair.blurred)),
        "reblur_ssim": float(ssim(reblurred, pair.blurred)),
        "motion_mse": float(motion_mse(displacement, pair.flow)),
        "motion_mse_published": float(motion_mse_published(displacement, pair.flow)),
        "motion_mse_zero": float(motion_mse(torch.zeros_like(pair.flow), pair.flow)),
        "blurred_psnr": float(psnr(pair.blurred, pair.sharp)),
        "blurred_ssim": float(ssim(pair.blurred, pair.sharp)),
    }


def score_sharp(pair: MotionFlowPair, deblurred: Tensor) -> dict[str, float]:
    """Figures of a deblurred image ``(1, 3, H, W)``."""
    return {
        "deblur_psnr": float(psnr(deblurred, pair.sharp)),
        "deblur_ssim": float(ssim(deblurred, pair.sharp)),
    }


def evaluate_motion_flow(
    images: str | os.PathLike[str],
    pipeline: BlurToVideoPipeline,
    limit: int | None = None,
    dtype: torch.dtype | None = None,
    on_pair: Progress | None = None,
) -> dict[str, Any]:
    """Run ``bsd-motion-flow`` on a folder of sharp photos.

    Args:
        images: the folder; its photos are taken in the order of their names.
        pipeline: estimator and, if there is one, deblurrer, just as a user runs them.
        limit: only the first so many photos.
        dtype: autocast type of the networks, ``None`` for none.
        on_pair: called with the number of pairs done and of all.

    Returns:
        ``images``, ``pairs`` and the means over all pairs of the figures of :func:`score_motion` and
        :func:`score_sharp`; the latter are ``None`` for a pipeline without a deblurrer.

    Raises:
        BadInputError: no folder, no photo in it, a photo that cannot be used, or a limit below 1.
    """
    photos = _photos(images, limit)
    total, scores = len(photos) * FLOWS_PER_PHOTO, []
    # The figures of one pair are computed while the networks see the next, as SSIM keeps one core only busy.
    with ThreadPoolExecutor(1) as background:
        for photo in photos:
            sharp = pipeline.preprocess(photo).float().cpu()
            for pair in motion_flow_pairs(sharp, str(photo)):
                scores.append(background.submit(_score, pair, *_answers(pair, pipeline, dtype)))
                scores[-min(len(scores), QUEUED_PAIRS)].result()
                if on_pair is not None:
                    on_pair(len(scores), total)
        return {"images": len(photos), "pairs": total, **_means([score.result() for score in scores])}


def _answers(
    pair: MotionFlowPair, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The displacement, the true sharp frame reblurred by the motion, and the deblurred image."""
    blurred = pipeline.preprocess(pair.blurred[0])
    control_points = pipeline.estimate(blurred, dtype=dtype)
    ends = offsets_at(control_points, [-1.0, 1.0], pipeline.trajectory)
    reblurred = pipeline.reblur(pair.sharp.to(blurred.device), control_points)
    deblurred = None
    if pipeline.deblurrer is not None:
        shared = control_points if pipeline.estimators_agree else None
        deblurred = pipeline.deblur(blurred, shared, dtype=dtype).float().cpu()
    return (ends[:, 1] - ends[:, 0]).float().cpu(), reblurred.float().cpu(), deblurred


def _score(
    pair: MotionFlowPair, displacement: Tensor, reblurred: Tensor, deblurred: Tensor | None
) -> dict[str, float | None]:
    sharp = {"deblur_psnr": None, "deblur_ssim": None} if deblurred is None else score_sharp(pair, deblurred)
    return {**score_motion(pair, displacement, reblurred), **sharp}


def _means(scores: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure; ``None`` where there is none, as without a deblurrer or for a blank photo's PSNR."""
    means: dict[str, float | None] = {}
    for name in scores[0]:
        values = [math.nan if score[name] is None else score[name] for score in scores]
        mean = float(np.mean(np.array(values, dtype=np.float64)))
        means[name] = mean if math.isfinite(mean) else None
    return means


def _photos(images: str | os.PathLike[str], limit: int | None) -> list[Path]:
    if limit is not None and limit < 1:
        raise BadInputError(f"--limit is {limit}; give the number of photos to use, at least 1")
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise BadInputError(f"{images}: is not a folder; give a folder of sharp photos")
    return sorted(find_photos([str(folder)]), key=lambda photo: photo.name)[:limit]


def run(
    benchmark: str,
    images: str | os.PathLike[str],
    model: str = DEFAULT_ESTIMATOR,
    deblurrer: str | None = None,
    limit: int | None = None,
    output: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
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

    Returns:
        The figures of the benchmark, and ``benchmark``, ``model``, ``deblurrer``, ``trajectory``, ``num_samples``,
        ``checkpoints`` (SHA-256 of the weight files), ``device``, ``dtype``, ``seconds`` and ``versions``.

    Raises:
        BadInputError: an unknown benchmark, or anything else that cannot be used; nothing is computed before.
    """
    if benchmark not in BENCHMARKS:
        raise BadInputError(f"benchmark is {benchmark!r}; it has to be one of {', '.join(BENCHMARKS)}")
    _photos(images, limit)
    ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))  # says at once if what it needs is not installed
    place = pick_device(device)
    precision = None if dtype == "auto" else pick_dtype(dtype, place)
    # The file is claimed first: a name that cannot be written is refused before minutes of work.
    with nullcontext() if output is None else whole_file(output, (".json",)) as partial:
        wanted = None if deblurrer == NO_DEBLURRER else deblurrer
        pipeline = load_pipeline(model, wanted, deblurs=deblurrer != NO_DEBLURRER).to(place)
        started = time.perf_counter()
        with tqdm(desc=benchmark, unit="pair", file=sys.stderr, mininterval=2) as bar:
            figures = evaluate_motion_flow(images, pipeline, limit, precision, _show_on(bar))
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
    """A result of ``bsd-motion-flow`` as Markdown: one table beside the paper's Table 2, one of the deblurring."""
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

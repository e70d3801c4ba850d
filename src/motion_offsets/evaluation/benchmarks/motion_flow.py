"""``bsd-motion-flow``, the paper's synthetic set (section 6.2): photos blurred by camera motions of Gong et al.

The motions are drawn from a generator seeded by the photo's name: every run, anywhere, sees the same blurred images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...data.scenes.motion_flow import blur_with_flow, sample_flow, valid_window
from ...errors import BadInputError, counted
from ...exposure.refine_steps import check_refine_steps
from ...exposure.trajectories import fit_control_points, offsets_at, sample_times
from ..flat_regions import flat_regions, mean_length
from ..metrics import MOTION_BORDER, motion_mse, motion_mse_published, psnr, ssim
from ..paper import PAPER_TABLE_2, QUOTED_TABLE_2
from ..tables import cell, difference, markdown_table, shared_tables
from .base import (
    Asked,
    Benchmark,
    Declaration,
    Example,
    OfPhotos,
    Progress,
    Row,
    Score,
    data_sha256,
    image_sha256,
    means,
    photo_generator,
    run_benchmark,
)
from .costs import Stopwatch
from .sharp_frame import REFINED, sharp_method

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

FLOWS_PER_PHOTO = 3


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
    window = (..., *valid_window(flow))
    if min(photo[window].shape[2:]) <= 2 * MOTION_BORDER:
        height, width = flow.shape[1:]
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
        pair: the photo, with its true motion and sharp frame.
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


class MotionFlowBenchmark(OfPhotos):
    """``bsd-motion-flow`` on a folder of sharp photos, in the order of their names.

    Args:
        images: the folder.
        limit: evaluate only this number of photos, from the first.
        line_kernels: also reblur with the line kernels of the estimated displacements, rounded to whole pixels, as the
            paper does for Sun et al. and Gong et al. (``line_reblur_psnr``, ``line_reblur_ssim``).
        deconvolve: see :func:`~.sharp_frame.sharp_method`.
        true_motion: answer along the true motion, in place of the estimate.
        refine_steps: as :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.

    Raises:
        BadInputError: no folder, no photo in it, or a limit below 1.
    """

    rows_each = FLOWS_PER_PHOTO

    def __init__(
        self,
        images: str | os.PathLike[str],
        limit: int | None = None,
        line_kernels: bool = False,
        deconvolve: bool = False,
        true_motion: bool = False,
        refine_steps: int = 0,
    ):
        super().__init__(images, limit)
        self.refine_steps = check_refine_steps(refine_steps)
        self.line_kernels, self.deconvolve, self.true_motion = line_kernels, deconvolve, true_motion

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        photo = self.photos[number]
        sharp = pipeline.preprocess(photo).float().cpu()
        for pair in motion_flow_pairs(sharp, str(photo)):
            true_points = true_control_points(pair.flow, pipeline) if self.true_motion else None
            answers = _answers(pair, pipeline, dtype, self.deconvolve, true_points, self.refine_steps)
            yield partial(_score, pair, *answers, self.line_kernels)

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        photo = self.photos[number]
        pair = next(motion_flow_pairs(pipeline.preprocess(photo).float().cpu(), str(photo)))
        ends = torch.stack([-pair.flow / 2, pair.flow / 2], dim=1)
        return Example(pair.blurred, pair.sharp, pipeline.estimator.config.gamma, ends)

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images``, ``pairs``, the means over all pairs of the figures of :func:`score_motion` and of
        :func:`score_sharp` (``None`` without a deblurrer), ``motion_length`` in pixels, ``flat_length`` of the
        estimated and ``flat_length_true`` of the true displacement where the photo is flat, median seconds per photo
        of ``megapixels``, and ``data_sha256``, the checksum of the blurred images."""
        found = means(rows, ("flat_length", "flat_length_true"))
        return {"images": len(self), "pairs": len(rows), **found, "data_sha256": data_sha256(rows)}


def evaluate_motion_flow(
    images: str | os.PathLike[str],
    pipeline: BlurToVideoPipeline,
    limit: int | None = None,
    dtype: torch.dtype | None = None,
    on_pair: Progress | None = None,
) -> dict[str, Any]:
    """Run :class:`MotionFlowBenchmark`; ``on_pair`` is called with the number of pairs done and of all."""
    return run_benchmark(MotionFlowBenchmark(images, limit), pipeline, dtype, on_pair)


def true_control_points(flow: Tensor, pipeline: BlurToVideoPipeline) -> Tensor:
    """The control points ``(1, 2K, H, W)`` of displacements ``(1, 2, H, W)`` over the exposure, at constant speed."""
    times = sample_times(max(pipeline.num_samples, 3))
    offsets = times.view(1, -1, 1, 1, 1) * flow[:, None].float() / 2
    return fit_control_points(offsets, times, pipeline.trajectory, pipeline.num_samples)


def _answers(
    pair: MotionFlowPair,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None,
    deconvolve: bool,
    true_points: Tensor | None,
    refine_steps: int,
) -> tuple[Tensor, Tensor, Tensor | None, dict[str, float | None]]:
    """The displacement, the true sharp frame reblurred by the motion, the deblurred image, and the seconds it took."""
    blurred = pipeline.preprocess(pair.blurred[0])
    watch = Stopwatch(blurred.device)
    found = pipeline.answer(
        blurred,
        control_points=None if true_points is None else true_points.to(blurred.device),
        method=sharp_method(pipeline, deconvolve),
        refine_steps=refine_steps,
        dtype=dtype,
        part=watch.part,
    )
    ends = offsets_at(found.control_points, [-1.0, 1.0], pipeline.trajectory)
    reblurred = pipeline.reblur(pair.sharp.to(blurred.device), found.control_points)
    deblurred = None if found.sharp is None else found.sharp.float().cpu()
    return (ends[:, 1] - ends[:, 0]).float().cpu(), reblurred.float().cpu(), deblurred, watch.figures()


def _score(
    pair: MotionFlowPair,
    displacement: Tensor,
    reblurred: Tensor,
    deblurred: Tensor | None,
    seconds: dict[str, float | None],
    line_kernels: bool,
) -> Row:
    row: Row = {"photo": Path(pair.name).name, **score_motion(pair, displacement, reblurred)}
    row |= {"deblur_psnr": None, "deblur_ssim": None} if deblurred is None else score_sharp(pair, deblurred)
    if line_kernels:
        along_lines = blur_with_flow(pair.sharp[0], displacement[0].round().numpy())[None]
        row["line_reblur_psnr"] = float(psnr(along_lines, pair.blurred))
        row["line_reblur_ssim"] = float(ssim(along_lines, pair.blurred))
    row["motion_length"] = float(pair.flow.norm(dim=1).mean())
    flat = flat_regions(pair.blurred)
    row["flat_length"], row["flat_length_true"] = mean_length(displacement, flat), mean_length(pair.flow, flat)
    row["megapixels"] = pair.flow.shape[2] * pair.flow.shape[3] / 1e6
    return {**row, **seconds, "image_sha256": image_sha256(pair.blurred)}


def _tables(result: dict[str, Any]) -> list[str]:
    ours = (f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"], result["motion_mse"])
    header = ("", "reblur PSNR", "reblur SSIM", "motion MSE")
    motion: list[tuple[Any, ...]] = [header, *QUOTED_TABLE_2, *PAPER_TABLE_2, ours]
    if "line_reblur_psnr" in result:
        name = f"ours, {result['model']}, by line kernels"
        motion.append((name, result["line_reblur_psnr"], result["line_reblur_ssim"], result["motion_mse"]))
    paper = {name.removeprefix("paper, "): row for name, *row in PAPER_TABLE_2}.get(result["trajectory"])
    if paper is not None:
        motion.append((f"ours less the paper's {result['trajectory']}", *map(difference, ours[1:], paper)))
    motion.append(("no motion at all", result["blurred_psnr"], result["blurred_ssim"], result["motion_mse_zero"]))
    sharp = [("", "PSNR", "SSIM"), ("blurred", result["blurred_psnr"], result["blurred_ssim"])]
    if result["deblurrer"] is not None:
        sharp.append((f"deblurred, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"]))
    published = result["motion_mse_published"]
    return [
        f"{result['benchmark']}: {counted(result['images'], 'photo')}, {counted(result['pairs'], 'blurred image')}.",
        markdown_table(motion),
        "Our motion MSE is invariant to time reversal only. As the paper's published script computes it, which "
        f"forgives mirrored directions too, it is {cell('', published)}. SSIM is scikit-image's on floats; which "
        "one the paper printed is unknown. The paper's photos and flows are of this kind, but not the same.",
        markdown_table(sharp),
        *shared_tables(result),
    ]


def _start(asked: Asked) -> Benchmark:
    return MotionFlowBenchmark(
        asked.images, asked.limit, asked.line_kernels, asked.deconvolve, asked.true_motion, asked.refine_steps
    )


BENCHMARK = Declaration(
    "bsd-motion-flow",
    _start,
    _tables,
    {"line_kernels": "its motions are lines", "true_motion": "its motion is known", "refine_steps": REFINED},
)

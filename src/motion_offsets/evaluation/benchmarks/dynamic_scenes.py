"""``bsd-dynamic``: shaken cameras, depth and moving objects, with exact trajectories that are no straight lines.

Each sharp photo is the background of one scene, and its name decides everything about it. The checksum tells whether
two runs saw the same images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ...data.scenes.dynamic_scenes import GAMMA
from ...exposure.blur import expose
from ...exposure.refine_steps import check_refine_steps
from ...exposure.trajectories import fit_control_points, offsets_at, sample_times
from ..feature_tracks import check_opencv, follow_features, track_figures, where_valid
from ..flat_regions import flat_regions, mean_length
from ..metrics import psnr, ssim, trajectory_error, video_psnr
from ..tables import markdown_table, shared_tables
from .base import (
    Asked,
    Benchmark,
    Declaration,
    Example,
    Progress,
    Row,
    Score,
    data_sha256,
    image_sha256,
    means,
    run_benchmark,
)
from .costs import Stopwatch
from .dynamic_cases import FRAME_TIMES, SAMPLES, DynamicCase, DynamicCases
from .sharp_frame import REFINED, sharp_method

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

# What a photo without a flat region or a track has no figure of.
PARTLY = (
    "uncertainty_rank_correlation",
    "flat_length",
    "flat_length_true",
    "track_distance",
    "track_distance_zero",
    "track_distance_true",
)
RANKED_PIXELS = 20_000  # of a scene, evenly spread, that a rank correlation is taken over


@dataclass(frozen=True)
class _Answer:
    offsets: Tensor
    offsets_of_frames: Tensor
    reblurred: Tensor
    deblurred: Tensor | None
    frames: Tensor | None
    uncertainty: Tensor | None
    consistency: float | None
    explained: float | None
    seconds: dict[str, float | None]


def _answer(
    case: DynamicCase,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None,
    refine_steps: int,
    safe: bool,
    deconvolve: bool,
    true_motion: bool,
) -> _Answer:
    blurred = pipeline.preprocess(case.blurred[0])
    true_points = None
    if true_motion:
        known = (case.offsets.to(blurred.device), sample_times(SAMPLES))
        true_points = fit_control_points(*known, pipeline.trajectory, pipeline.num_samples)
    watch = Stopwatch(blurred.device)
    found = pipeline.answer(
        blurred,
        control_points=true_points,
        method=sharp_method(pipeline, deconvolve),
        refine_steps=refine_steps,
        safe=safe,
        dtype=dtype,
        part=watch.part,
    )
    points, deblurred = found.control_points, found.sharp
    frames = consistency = explained = None
    if deblurred is not None:
        consistency, explained = found.consistency[0].reblur_psnr, found.consistency[0].explained
        with watch.part("clip"):
            clip = torch.stack(list(pipeline.frames(deblurred, points, FRAME_TIMES.tolist())), 1)
        frames, deblurred = clip.float().cpu(), deblurred.float().cpu()
    # The truth was averaged in linear light, whatever the estimator was trained with.
    reblurred = expose(case.sharp.to(points.device), points, pipeline.exposure_basis(points), gamma=GAMMA)
    offsets = offsets_at(points, sample_times(SAMPLES), pipeline.trajectory)
    of_frames = offsets_at(points, FRAME_TIMES, pipeline.trajectory).float().cpu()
    uncertainty = None if found.uncertainty is None else found.uncertainty.float().cpu()
    made = (offsets.float().cpu(), of_frames, reblurred.float().cpu(), deblurred, frames, uncertainty)
    return _Answer(*made, consistency, explained, watch.figures())


def _score(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    still, deblurred = torch.zeros_like(case.offsets), answer.deblurred
    scores: dict[str, float | None] = {
        "trajectory_error": float(trajectory_error(answer.offsets, case.offsets, valid=case.valid)),
        "trajectory_error_zero": float(trajectory_error(still, case.offsets, valid=case.valid)),
        "reblur_psnr": float(psnr(answer.reblurred, case.blurred)),
        "reblur_ssim": float(ssim(answer.reblurred, case.blurred)),
        "blurred_psnr": float(psnr(case.blurred, case.sharp)),
        "blurred_ssim": float(ssim(case.blurred, case.sharp)),
        "video_psnr_blurred": video_psnr(case.blurred[:, None].expand_as(case.frames), case.frames),
    }
    if deblurred is not None and answer.frames is not None:
        scores["deblur_psnr"] = float(psnr(deblurred, case.sharp))
        scores["deblur_ssim"] = float(ssim(deblurred, case.sharp))
        scores["video_psnr"] = video_psnr(answer.frames, case.frames)
        scores["video_psnr_repeated"] = video_psnr(deblurred[:, None].expand_as(case.frames), case.frames)
    else:
        scores |= dict.fromkeys(("deblur_psnr", "deblur_ssim", "video_psnr", "video_psnr_repeated"))
    facts = {
        "valid_share": float(case.valid.float().mean()),
        "bend": case.bend,
        "depth_effect": case.depth_effect,
        "consistency_psnr": answer.consistency,
        "explained": answer.explained,
        "megapixels": case.blurred.shape[2] * case.blurred.shape[3] / 1e6,
    }
    parts = (_score_uncertainty(case, answer), _score_tracks(case, answer), _score_flat(case, answer))
    for part in parts:
        scores |= part
    return {**scores, **facts, **answer.seconds}


def _score_uncertainty(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    """How well the predicted uncertainty ranks the pixels by their errors at the ends of the path, and its size."""
    names = ("uncertainty", "end_error", "uncertainty_rank_correlation")
    valid = case.valid[0, 0]
    if answer.uncertainty is None or not valid.any():
        return dict.fromkeys(names)
    found, true = answer.offsets[0, [0, -1]], case.offsets[0, [0, -1]]
    error = torch.minimum(*((found - one).norm(dim=1).mean(0) for one in (true, true.flip(0))))[valid]
    expected = answer.uncertainty[0, 0][valid]
    every = max(1, len(error) // RANKED_PIXELS)
    correlation = _rank_correlation(expected[::every].tolist(), error[::every].tolist())
    return dict(zip(names, (float(expected.mean()), float(error.mean()), correlation), strict=True))


def _score_tracks(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    # Where the truth is not known all the time, it could not tell how good a track is.
    tracks = where_valid(follow_features(case.frames[0]), case.valid)
    return track_figures(tracks, answer.offsets_of_frames[0], case.offsets_of_frames()[0])


def _score_flat(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    flat = flat_regions(case.blurred) & case.valid[:, 0]
    found, true = (offsets[:, -1] - offsets[:, 0] for offsets in (answer.offsets, case.offsets))
    return {"flat_length": mean_length(found, flat), "flat_length_true": mean_length(true, flat)}


class DynamicBenchmark:
    """``bsd-dynamic``, one row a scene.

    Args:
        cases: the scenes.
        refine_steps: of the motion on each photo, as
            :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.
        safe: likewise.
        deconvolve: see :func:`~.sharp_frame.sharp_method`.
        true_motion: answer along the path of the estimator's trajectory that is nearest to the true one, in place of
            the estimate.
    """

    rows_each = 1

    def __init__(
        self,
        cases: DynamicCases,
        refine_steps: int = 0,
        safe: bool = False,
        deconvolve: bool = False,
        true_motion: bool = False,
    ):
        self.cases, self.refine_steps, self.safe = cases, check_refine_steps(refine_steps), safe
        self.deconvolve, self.true_motion = deconvolve, true_motion

    def __len__(self) -> int:
        return len(self.cases)

    def name(self, number: int) -> str:
        return self.cases.photos[number].name

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        case = self.cases.case(self.cases.photos[number])
        answer = _answer(case, pipeline, dtype, self.refine_steps, self.safe, self.deconvolve, self.true_motion)
        yield partial(_row, self.name(number), case, answer)

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        case = self.cases.case(self.cases.photos[number])
        return Example(case.blurred, case.sharp, GAMMA, case.offsets, case.frames, case.valid)

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images``; the means over all scenes of ``trajectory_error`` in pixels, PSNR and SSIM reblurred and
        deblurred, ``video_psnr`` of seven frames, each beside what doing nothing scores (``..._zero``,
        ``blurred_...``, the deblurred or the blurred frame repeated); ``consistency_psnr``, the mean PSNR of the
        pipeline's own check, and ``explained``, the mean share of its changes that it accounts for; the rank
        correlations of the former with the trajectory error and of the latter with that error's share of no motion's,
        both of which are to be negative; of an estimator that predicts its uncertainty, ``end_error``, the mean
        distance in pixels of both ends of the path from the true ones, ``uncertainty_ratio``, the mean uncertainty
        over that, 1 if it is calibrated, and ``uncertainty_rank_correlation`` of both over the pixels of a scene;
        ``track_distance`` in pixels from the ``tracks`` of feature points
        through the true frames (Fig. 9), beside that of no motion and of the truth; ``flat_length``, the estimated
        displacement's length in pixels where the photo is flat, beside the true one's there; median seconds per photo
        of ``megapixels``; and what the scenes are like: ``valid_share``, median ``bend`` of the paths,
        ``depth_effect`` and ``motion_length`` in pixels, ``data_sha256``. What needs a deblurrer is ``None`` without
        one."""
        figures: dict[str, Any] = means(rows, PARTLY)
        figures["tracks"] = sum(row["tracks"] for row in rows)
        expected = figures.pop("uncertainty")
        figures["uncertainty_ratio"] = expected / max(figures["end_error"], 1e-6) if expected is not None else None
        figures["bend"] = float(np.median([row["bend"] for row in rows]))
        errors = [row["trajectory_error"] for row in rows]
        shares = [row["trajectory_error"] / max(row["trajectory_error_zero"], 1e-6) for row in rows]
        for name, key, values in (("consistency", "consistency_psnr", errors), ("explained", "explained", shares)):
            figures[f"{name}_rank_correlation"] = _rank_correlation([row[key] for row in rows], values)
        return {"images": len(rows), **figures, "data_sha256": data_sha256(rows)}


def _row(name: str, case: DynamicCase, answer: _Answer) -> Row:
    ends = (case.offsets[:, -1] - case.offsets[:, 0]).norm(dim=1)[case.valid[:, 0]]
    length = float(ends.mean()) if len(ends) else 0.0
    return {
        "photo": name,
        **_score(case, answer),
        "motion_length": length,
        "image_sha256": image_sha256(case.blurred),
    }


def evaluate_dynamic(
    cases: DynamicCases,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None = None,
    on_case: Progress | None = None,
) -> dict[str, Any]:
    """Run :class:`DynamicBenchmark`; ``on_case`` is called with the number of cases done and of all."""
    return run_benchmark(DynamicBenchmark(cases), pipeline, dtype, on_case)


def _rank_correlation(sure: Sequence[float | None], wrong: Sequence[float]) -> float | None:
    if len(wrong) < 3 or None in sure or len(set(sure)) < 2 or len(set(wrong)) < 2:
        return None
    return float(stats.spearmanr(sure, wrong).statistic)


def _tables(result: dict[str, Any]) -> list[str]:
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
    return [
        f"bsd-dynamic: {result['images']} scenes; {100 * result['valid_share']:.0f} % of their pixels have a "
        f"known path, which departs from a straight line by {result['bend']:.2f} px (median); depth moves things "
        f"by {result['depth_effect']:.2f} px.",
        markdown_table(rows),
        _check_table(result),
        *shared_tables(result),
    ]


def _check_table(result: dict[str, Any]) -> str:
    """The pipeline's own check, and whether it knows which answers are good."""
    rows: list[tuple[Any, ...]] = [("", "mean", "rank correlation with the error")]
    rows.append(
        ("PSNR of the reblurred frame", result["consistency_psnr"], result["consistency_rank_correlation"]),
    )
    rows.append(("share of the changes explained", result["explained"], result["explained_rank_correlation"]))
    return (
        "The pipeline's own check, without the truth; below zero, its rank correlations with the trajectory error "
        "(of the share, with the error's part of no motion's) tell good answers from bad ones.\n\n"
        + markdown_table(rows)
    )


def _start(asked: Asked) -> Benchmark:
    check_opencv()
    cases = DynamicCases(asked.images, [asked.images], [str(asked.label_maps)], asked.limit, clean=asked.clean)
    return DynamicBenchmark(cases, asked.refine_steps, asked.safe, asked.deconvolve, asked.true_motion)


BENCHMARK = Declaration(
    "bsd-dynamic",
    _start,
    _tables,
    {
        "label_maps": "the folder of PNG label maps of the photos; it cuts its objects out by them",
        "refine_steps": REFINED,
        "safe": "it blends the photo with a sharp frame",
        "clean": "its blurred pictures have noise and are JPEG files in half of the cases",
        "true_motion": "its motion is known",
    },
    needs=("label_maps",),
)

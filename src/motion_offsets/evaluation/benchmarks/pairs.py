"""``gopro``: given pairs of blurred and sharp pictures, of which the motion is not known (Tables 2-6 of the paper).

Where the true frames of each exposure are there too, so are feature tracks (Fig. 9) and clips (Fig. 8).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...data.reading.pairs import load_pairs
from ...data.reading.sequences import load_sequences
from ...errors import BadInputError, counted
from ...exposure.refine_steps import check_refine_steps
from ...exposure.trajectories import offsets_at, sample_times
from ..feature_tracks import check_opencv, follow_features, track_figures
from ..flat_regions import flat_regions, mean_length
from ..metrics import psnr, ssim, video_psnr
from ..paper import GOPRO_TEST_PAIRS, PAPER_GOPRO_DEBLUR, PAPER_GOPRO_REBLUR, QUOTED_GOPRO_DEBLUR, QUOTED_GOPRO_REBLUR
from ..tables import LOSS_TERMS, cell, difference, markdown_table, shared_tables
from .base import Asked, Benchmark, Declaration, Example, Row, Score, data_sha256, image_sha256, means
from .costs import Stopwatch
from .sharp_frame import REFINED, sharp_method

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

# What needs the frames of a pair, and what a picture without a flat region or a track has no figure of.
OF_FRAMES = (
    "tracks",
    "track_distance",
    "track_distance_zero",
    "video_psnr",
    "video_psnr_blurred",
    "video_psnr_repeated",
)
PARTLY = ("flat_length", "track_distance", "track_distance_zero")


class PairsBenchmark:
    """The pairs of a source's split, one row each.

    Args:
        source: what :func:`~motion_offsets.data.reading.pairs.load_pairs` takes: a folder, a ZIP file, a Hub name;
            with ``window`` what :func:`~motion_offsets.data.reading.sequences.load_sequences` takes, such as
            GOPRO_Large_all.
        limit: evaluate only this number of pairs, from the first.
        split: ``train``, ``validation`` or ``test``.
        window: how many consecutive frames are averaged to a blurred picture, odd, where the source is of frames.
        deconvolve: see :func:`~.sharp_frame.sharp_method`.
        refine_steps: as :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.

    Raises:
        BadInputError: no such source or split, or a limit below 1.
    """

    rows_each = 1

    def __init__(
        self,
        source: str | os.PathLike[str],
        limit: int | None = None,
        split: str = "test",
        window: int | None = None,
        deconvolve: bool = False,
        refine_steps: int = 0,
    ):
        if limit is not None and limit < 1:
            raise BadInputError(f"`limit` is {limit}; give the number of pairs to use, at least 1")
        self.pairs: Any = load_pairs(source, split) if window is None else load_sequences(source, split, window=window)
        self.deconvolve, self.refine_steps = deconvolve, check_refine_steps(refine_steps)
        self._length = len(self.pairs) if limit is None else min(limit, len(self.pairs))

    def __len__(self) -> int:
        return self._length

    def name(self, number: int) -> str:
        pair = self.pairs.select_columns(["sequence", "frame"])[number]
        return f"{pair['sequence']}/{pair['frame']:06d}"

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        pair = self.example(number, pipeline)
        answer = _answer(pair, pipeline, dtype, self.deconvolve, self.refine_steps)
        yield partial(_row, self.name(number), pair, answer)

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        pair = self.pairs[number]
        blurred, sharp = (pipeline.preprocess(pair[name]).float().cpu() for name in ("blurred", "sharp"))
        frames = None
        if "frames" in pair:
            frames = torch.stack([pipeline.preprocess(frame).float().cpu() for frame in pair["frames"]], 1)
        return Example(blurred, sharp, pipeline.estimator.config.gamma, frames=frames)

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images`` and the means over all pairs of PSNR and SSIM reblurred (Table 2), deblurred (Table 5) and as the
        photo is; of the estimated displacement's length in pixels, everywhere and where the photo is flat, which is
        what the regularisation loss keeps small (section 6.3); median seconds per picture of ``megapixels``; and
        ``data_sha256``. Where there are true frames, ``video_psnr`` of as many, beside the blurred and the deblurred
        one repeated, and ``track_distance`` in pixels from ``tracks`` through them (Fig. 9), beside that of no
        motion; otherwise these are ``None``."""
        found: dict[str, Any] = means(rows, PARTLY)
        if found["tracks"] is not None:
            found["tracks"] = sum(row["tracks"] for row in rows)
        return {"images": len(rows), **found, "data_sha256": data_sha256(rows)}


@dataclass(frozen=True)
class _Answer:
    reblurred: Tensor
    displacement: Tensor
    deblurred: Tensor | None
    frames: Tensor | None
    offsets_of_frames: Tensor | None
    seconds: dict[str, float | None]


def _answer(
    pair: Example, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None, deconvolve: bool, refine_steps: int
) -> _Answer:
    """As many frames as the pair has."""
    blurred, sharp = (pipeline.preprocess(picture[0]) for picture in (pair.blurred, pair.sharp))
    watch = Stopwatch(blurred.device)
    method = sharp_method(pipeline, deconvolve)
    found = pipeline.answer(blurred, method=method, refine_steps=refine_steps, dtype=dtype, part=watch.part)
    points, deblurred = found.control_points, found.sharp
    ends = offsets_at(points, [-1.0, 1.0], pipeline.trajectory)
    reblurred = pipeline.reblur(sharp, points)
    frames = of_frames = None
    if pair.frames is not None:
        times = sample_times(pair.frames.shape[1])
        of_frames = offsets_at(points, times, pipeline.trajectory).float().cpu()
        if deblurred is not None:
            with watch.part("clip"):
                frames = torch.stack(list(pipeline.frames(deblurred, points, times.tolist())), 1)
            frames = frames.float().cpu()
    deblurred = None if deblurred is None else deblurred.float().cpu()
    displacement = (ends[:, 1] - ends[:, 0]).float().cpu()
    return _Answer(reblurred.float().cpu(), displacement, deblurred, frames, of_frames, watch.figures())


def _row(name: str, pair: Example, answer: _Answer) -> Row:
    blurred, sharp, deblurred = pair.blurred, pair.sharp, answer.deblurred
    return {
        "photo": name,
        "reblur_psnr": float(psnr(answer.reblurred, blurred)),
        "reblur_ssim": float(ssim(answer.reblurred, blurred)),
        "deblur_psnr": None if deblurred is None else float(psnr(deblurred, sharp)),
        "deblur_ssim": None if deblurred is None else float(ssim(deblurred, sharp)),
        "blurred_psnr": float(psnr(blurred, sharp)),
        "blurred_ssim": float(ssim(blurred, sharp)),
        **_score_frames(pair, answer),
        "motion_length": float(answer.displacement.norm(dim=1).mean()),
        "flat_length": mean_length(answer.displacement, flat_regions(blurred)),
        "megapixels": blurred.shape[2] * blurred.shape[3] / 1e6,
        **answer.seconds,
        "image_sha256": image_sha256(blurred),
    }


def _score_frames(pair: Example, answer: _Answer) -> dict[str, float | None]:
    scores: dict[str, float | None] = dict.fromkeys(OF_FRAMES)
    if pair.frames is None or answer.offsets_of_frames is None:
        return scores
    scores |= track_figures(follow_features(pair.frames[0]), answer.offsets_of_frames[0])
    scores["video_psnr_blurred"] = video_psnr(pair.blurred[:, None].expand_as(pair.frames), pair.frames)
    if answer.frames is not None and answer.deblurred is not None:
        scores["video_psnr"] = video_psnr(answer.frames, pair.frames)
        scores["video_psnr_repeated"] = video_psnr(answer.deblurred[:, None].expand_as(pair.frames), pair.frames)
    return scores


def _tables(result: dict[str, Any]) -> list[str]:
    ours = (f"ours, {result['model']}", result["reblur_psnr"], result["reblur_ssim"])
    reblur: list[tuple[Any, ...]] = [
        ("", "reblur PSNR", "reblur SSIM"),
        *QUOTED_GOPRO_REBLUR,
        *PAPER_GOPRO_REBLUR,
        ours,
    ]
    paper = {name.removeprefix("paper, "): row for name, *row in PAPER_GOPRO_REBLUR}.get(_paper_row(result))
    if paper is not None:
        reblur.append((f"ours less the paper's {_paper_row(result)}", *map(difference, ours[1:], paper)))
    reblur.append(("no motion at all", result["blurred_psnr"], result["blurred_ssim"]))
    deblur: list[tuple[Any, ...]] = [("", "PSNR", "SSIM"), *QUOTED_GOPRO_DEBLUR, *PAPER_GOPRO_DEBLUR]
    if result["deblurrer"] is not None:
        ours = (f"ours, {result['deblurrer']}", result["deblur_psnr"], result["deblur_ssim"])
        deblur.append(ours)
        name = f"MA-DMPHN {result.get('deblurrer_trajectory')}"
        paper = {name.removeprefix("paper, "): row for name, *row in PAPER_GOPRO_DEBLUR}.get(name)
        if paper is not None:
            deblur.append((f"ours less the paper's {name}", *map(difference, ours[1:], paper)))
    deblur.append(("blurred", result["blurred_psnr"], result["blurred_ssim"]))
    whole = result["images"] == GOPRO_TEST_PAIRS and result["tracks"] is None
    part = "" if whole else " They are not GoPro's test set: the rows do not compare."
    if result["tracks"] is None:
        clips = "These pairs come without their frames, so there are no feature tracks and no clips to compare."
    else:
        clips = _clip_table(result)
    return [
        f"gopro: {counted(result['images'], 'pair')}.{part}",
        markdown_table(reblur),
        f"Estimated displacements are {cell('', result['motion_length'])} px long on average.",
        markdown_table(deblur),
        *shared_tables(result, clips),
    ]


def _clip_table(result: dict[str, Any]) -> str:
    """Fig. 8 in figures."""
    rows: list[tuple[Any, ...]] = [("", "video PSNR"), ("ours", result["video_psnr"])]
    rows.append(("the photo repeated", result["video_psnr_blurred"]))
    rows.append(("the deblurred frame repeated", result["video_psnr_repeated"]))
    return markdown_table(rows)


def _paper_row(result: dict[str, Any]) -> str:
    """The row of the paper's Tables 2-4 whose estimator is like ours."""
    samples = result["num_samples"]
    name = result["trajectory"] if samples == 15 else f"{result['trajectory']}, N = {samples}"
    weights = result.get("loss_weights", {})
    left_out = [LOSS_TERMS[term] for term, weight in weights.items() if not weight]
    return f"{name} without {' and '.join(left_out)} loss" if left_out else name


def _start(asked: Asked) -> Benchmark:
    if asked.window is not None:
        check_opencv()
    refine_steps = asked.refine_steps
    return PairsBenchmark(
        asked.images, asked.limit, window=asked.window, deconvolve=asked.deconvolve, refine_steps=refine_steps
    )


BENCHMARK = Declaration(
    "gopro", _start, _tables, {"window": "number of frames that its blur is made of", "refine_steps": REFINED}
)

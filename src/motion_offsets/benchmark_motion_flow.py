"""``bsd-motion-flow``, the paper's synthetic set (section 6.2): photos blurred by camera motions of Gong et al.

The motions are drawn from a generator seeded by the photo's name: every run, anywhere, sees the same blurred images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .benchmark_photos import Checksum, Progress, means, photo_generator, photos_of
from .data.motion_flow import blur_with_flow, sample_flow, valid_window
from .errors import BadInputError
from .metrics import MOTION_BORDER, motion_mse, motion_mse_published, psnr, ssim
from .trajectories import offsets_at

if TYPE_CHECKING:
    from .pipeline_blur_to_video import BlurToVideoPipeline

FLOWS_PER_PHOTO = 3
# No more pairs than this wait for their figures, or a GPU would fill the memory with answers.
QUEUED_PAIRS = 8


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
        :func:`score_sharp`; the latter are ``None`` for a pipeline without a deblurrer. ``data_sha256`` is the
        checksum of the blurred images.

    Raises:
        BadInputError: no folder, no photo in it, a photo that cannot be used, or a limit below 1.
    """
    photos, checksum = photos_of(images, limit), Checksum()
    total, scores = len(photos) * FLOWS_PER_PHOTO, []
    # The figures of one pair are computed while the networks see the next, as SSIM keeps one core only busy.
    with ThreadPoolExecutor(1) as background:
        for photo in photos:
            sharp = pipeline.preprocess(photo).float().cpu()
            for pair in motion_flow_pairs(sharp, str(photo)):
                checksum.add(pair.blurred)
                scores.append(background.submit(_score, pair, *_answers(pair, pipeline, dtype)))
                scores[-min(len(scores), QUEUED_PAIRS)].result()
                if on_pair is not None:
                    on_pair(len(scores), total)
        figures = means([score.result() for score in scores])
        return {"images": len(photos), "pairs": total, **figures, "data_sha256": checksum.hexdigest()}


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

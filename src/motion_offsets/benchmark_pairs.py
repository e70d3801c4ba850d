"""``gopro``: given pairs of blurred and sharp pictures, of which the motion is not known (Tables 2-6 of the paper)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .benchmark_photos import Row, Score, data_sha256, image_sha256, means
from .data.pairs import load_pairs
from .errors import BadInputError
from .metrics import psnr, ssim
from .trajectories import offsets_at

if TYPE_CHECKING:
    from .pipeline_blur_to_video import BlurToVideoPipeline

# A region is flat where the blurred picture's grey values deviate by no more than two of 255 levels in 15x15 pixels.
FLAT_DEVIATION, FLAT_WINDOW = 2 / 255, 15


class PairsBenchmark:
    """The pairs of a source's split, one row each.

    Args:
        source: what :func:`~motion_offsets.data.pairs.load_pairs` takes: a folder, a ZIP file, a Hub name.
        limit: only the first so many pairs.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        BadInputError: no such source or split, or a limit below 1.
    """

    rows_each = 1

    def __init__(self, source: str | os.PathLike[str], limit: int | None = None, split: str = "test"):
        if limit is not None and limit < 1:
            raise BadInputError(f"--limit is {limit}; give the number of pairs to use, at least 1")
        self.pairs: Any = load_pairs(source, split)
        self._length = len(self.pairs) if limit is None else min(limit, len(self.pairs))

    def __len__(self) -> int:
        return self._length

    def name(self, number: int) -> str:
        pair = self.pairs.select_columns(["sequence", "frame"])[number]
        return f"{pair['sequence']}/{pair['frame']:06d}"

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        pair = self.pairs[number]
        blurred, sharp = (pipeline.preprocess(pair[name]) for name in ("blurred", "sharp"))
        points = pipeline.estimate(blurred, dtype=dtype)
        ends = offsets_at(points, [-1.0, 1.0], pipeline.trajectory)
        reblurred = pipeline.reblur(sharp, points)
        deblurred = None
        if pipeline.deblurrer is not None:
            shared = points if pipeline.estimators_agree else None
            deblurred = pipeline.deblur(blurred, shared, dtype=dtype).float().cpu()
        displacement = (ends[:, 1] - ends[:, 0]).float().cpu()
        blurred, sharp, reblurred = (picture.float().cpu() for picture in (blurred, sharp, reblurred))
        yield partial(_row, self.name(number), blurred, sharp, reblurred, displacement, deblurred)

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images`` and the means over all pairs of PSNR and SSIM reblurred (Table 2), deblurred (Table 5) and as the
        photo is; of the estimated displacement's length in pixels, everywhere and where the photo is flat, which is
        what the regularisation loss keeps small (section 6.3); and ``data_sha256``."""
        found = means([{name: value for name, value in row.items() if name != "flat_length"} for row in rows])
        flat = [row["flat_length"] for row in rows if row["flat_length"] is not None]
        found["flat_length"] = float(np.mean(flat)) if flat else None
        return {"images": len(rows), **found, "data_sha256": data_sha256(rows)}


def _row(
    name: str, blurred: Tensor, sharp: Tensor, reblurred: Tensor, displacement: Tensor, deblurred: Tensor | None
) -> Row:
    length = displacement.norm(dim=1)
    flat = flat_regions(blurred)
    return {
        "photo": name,
        "reblur_psnr": float(psnr(reblurred, blurred)),
        "reblur_ssim": float(ssim(reblurred, blurred)),
        "deblur_psnr": None if deblurred is None else float(psnr(deblurred, sharp)),
        "deblur_ssim": None if deblurred is None else float(ssim(deblurred, sharp)),
        "blurred_psnr": float(psnr(blurred, sharp)),
        "blurred_ssim": float(ssim(blurred, sharp)),
        "motion_length": float(length.mean()),
        "flat_length": float(length[flat].mean()) if flat.any() else None,
        "image_sha256": image_sha256(blurred),
    }


def flat_regions(blurred: Tensor) -> Tensor:
    """``(1, H, W)`` bool: where nothing in a ``(1, 3, H, W)`` picture tells how it moved."""
    grey = blurred[0].mean(0).double().numpy()
    mean, square = (ndimage.uniform_filter(values, FLAT_WINDOW) for values in (grey, grey**2))
    return torch.from_numpy(square - mean**2 <= FLAT_DEVIATION**2)[None]

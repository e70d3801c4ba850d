"""What the benchmarks share: their photos, what the photos' names decide, checksums and means."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInputError
from ...exposure.camera_modes import AUTO
from ...io.path_names import as_path
from ...io.photo_files import find_photos, seed_of_name

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

Progress = Callable[[int, int], None]
Row: TypeAlias = dict[str, Any]
Score: TypeAlias = Callable[[], Row]
QUEUED = 3


def photo_generator(name: str) -> np.random.Generator:
    """The random generator that a photo's name seeds, without its folder and suffix."""
    return np.random.default_rng(seed_of_name(name))


def photos_of(images: str | os.PathLike[str], limit: int | None) -> list[Path]:
    """The photos of a folder by name, the first ``limit`` of them; :class:`BadInputError` if there are none."""
    if limit is not None and limit < 1:
        raise BadInputError(f"`limit` is {limit}; give the number of photos to use, at least 1")
    folder = as_path(images)
    if not folder.is_dir():
        raise BadInputError(f"{images}: is not a folder; give a folder of sharp photos")
    return sorted(find_photos([str(folder)]), key=lambda photo: photo.name)[:limit]


@dataclass(frozen=True)
class Example:
    """One test case with its answer, to draw pictures of.

    Args:
        blurred: ``(1, 3, H, W)`` in [0, 1].
        sharp: the true frame at t = 0, like ``blurred``.
        gamma: light in which the exposure was averaged, see :func:`~motion_offsets.exposure.blur.create_blur`.
        offsets: ``(1, N, 2, H, W)``, the true motion offsets evenly over the exposure, pixels, if they are known.
        frames: ``(1, T, 3, H, W)``, the true frames evenly over the exposure, if there are any.
        valid: ``(1, 1, H, W)`` bool, where the true offsets are defined; by default everywhere.
    """

    blurred: Tensor
    sharp: Tensor
    gamma: float | None = None
    offsets: Tensor | None = None
    frames: Tensor | None = None
    valid: Tensor | None = None


@dataclass(frozen=True)
class Asked:
    """What a run asks of a benchmark; each looks at what it takes.

    Args:
        images: folder of sharp photos, or a data set.
        limit: evaluate only this number of photos or pairs, from the first.
        label_maps: folder of label maps of the photos, by which objects are cut from them.
        line_kernels: reblur by line kernels, too.
        window: where ``images`` holds consecutive frames: how many make a blurred picture, odd.
        refine_steps, safe: as the pipeline takes them.
        deconvolve: deblur without a network, along the estimated motion.
        clean: blurred pictures without noise and JPEG.
        true_motion: answer along the true motion, in place of the estimate.
        camera: what the pipeline makes of the camera's own motion, as it takes it.
        deblurs: whether there is a deblurrer, or the deconvolution in its place.
    """

    images: str | os.PathLike[str]
    limit: int | None = None
    label_maps: str | os.PathLike[str] | None = None
    line_kernels: bool = False
    window: int | None = None
    refine_steps: int = 0
    safe: bool = False
    clean: bool = False
    true_motion: bool = False
    camera: str = AUTO
    deconvolve: bool = False
    deblurs: bool = True


@dataclass(frozen=True)
class Declaration:
    """A benchmark as its file declares it, under the name ``BENCHMARK``; :mod:`.registry` finds it there.

    Args:
        name: what a run calls it.
        start: makes it from what is asked.
        tables: the parts of a run's result as Markdown: sentences, and tables beside the paper's figures or beside
            what doing nothing scores.
        takes: the fields of :class:`Asked` that it takes besides ``images`` and ``limit``, and what for.
        needs: those of them that it cannot do without.
        needs_sharp_frames: whether there is nothing to measure without a deblurrer.
    """

    name: str
    start: Callable[[Asked], Benchmark]
    tables: Callable[[dict[str, Any]], list[str]]
    takes: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    needs_sharp_frames: bool = False


class Benchmark(Protocol):
    """Test cases with known answers, by number: what a run goes through, alone or with a share of the numbers."""

    rows_each: int
    """Rows that one number gives."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """The file, or whatever else tells one from the others."""
        ...

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        """Run the networks, and give for each row a function that computes it, on the CPU and in no hurry."""
        ...

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        """What is known of a number; the first of several."""
        ...

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What all rows say together, in whatever order they were computed but given in the order of the numbers."""
        ...


class OfPhotos:
    """What benchmarks of a folder of sharp photos share: their numbers are the photos, in the order of their names.

    Args:
        images: the folder.
        limit: take only this number of photos, from the first.

    Raises:
        BadInputError: no folder, no photo in it, or a limit below 1.
    """

    def __init__(self, images: str | os.PathLike[str], limit: int | None = None):
        self.photos = photos_of(images, limit)

    def __len__(self) -> int:
        return len(self.photos)

    def name(self, number: int) -> str:
        return self.photos[number].name


def rows_of(
    benchmark: Benchmark, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None, numbers: Iterable[int]
) -> Iterator[tuple[int, list[Row]]]:
    """The rows of each number, in order; those of one are computed while the networks see the next.

    SSIM keeps one core only busy. No more than a few numbers wait, or a GPU would fill the memory with answers.
    """
    waiting: deque[tuple[int, list[Future[Row]]]] = deque()
    with ThreadPoolExecutor(1) as background:
        for number in numbers:
            scores = benchmark.scores(number, pipeline, dtype)
            waiting.append((number, [background.submit(score) for score in scores]))
            if len(waiting) > QUEUED:
                first, rows = waiting.popleft()
                yield first, [row.result() for row in rows]
        for first, rows in waiting:
            yield first, [row.result() for row in rows]


def image_sha256(images: Tensor) -> str:
    """SHA-256 of ``(B, 3, H, W)`` images in [0, 1] as eight-bit values."""
    levels = (images.detach().cpu().clamp(0, 1) * 255).round().byte()
    return hashlib.sha256(np.asarray(levels.shape, dtype=np.int64).tobytes() + levels.numpy().tobytes()).hexdigest()


def data_sha256(rows: Sequence[Row]) -> str:
    """SHA-256 over the ``image_sha256`` of all rows; it tells whether two runs saw the same data."""
    return hashlib.sha256("".join(row["image_sha256"] for row in rows).encode()).hexdigest()


def means(scores: Sequence[Row], partly: Collection[str] = ()) -> dict[str, float | None]:
    """The mean of each figure that is not text; of seconds, the median.

    ``None`` where a row has none: no deblurrer, a blank photo's PSNR. The figures named in ``partly`` are means over
    the rows that have them.
    """
    found: dict[str, float | None] = {}
    for name in (name for name, value in scores[0].items() if not isinstance(value, str)):
        values = [math.nan if score[name] is None else score[name] for score in scores]
        if name in partly:
            values = [value for value in values if not math.isnan(value)] or [math.nan]
        middle = np.median if name.endswith("_seconds") else np.mean
        mean = float(middle(np.array(values, dtype=np.float64)))
        found[name] = mean if math.isfinite(mean) else None
    return found


def run_benchmark(
    benchmark: Benchmark,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None = None,
    on_row: Progress | None = None,
) -> dict[str, Any]:
    """All numbers of a benchmark, and its figures.

    Args:
        benchmark: the photos, and what is measured on each.
        pipeline: estimator and, if there is one, deblurrer, just as a user runs them.
        dtype: autocast type of the networks, ``None`` for none.
        on_row: called with the number of rows done and of all.
    """
    rows: list[Row] = []
    for _, found in rows_of(benchmark, pipeline, dtype, range(len(benchmark))):
        for row in found:
            rows.append(row)
            if on_row is not None:
                on_row(len(rows), len(benchmark) * benchmark.rows_each)
    return benchmark.figures(rows)

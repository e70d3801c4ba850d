"""``unblurred``: pictures that need no deblurring, which a deblurrer must leave alone.

Each sharp photo gives four pictures, its name deciding about them: the photo, the photo with noise, at night with
lights, and in a screenshot with text. A blur of zero is a photo too, and what tells artefacts on unfamiliar pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from ...errors import BadInputError, counted
from ...exposure.consistency import MAX_PSNR
from ...exposure.refine_steps import check_refine_steps
from ..metrics import psnr
from ..tables import markdown_table, runtime_table, size_table
from .base import (
    Asked,
    Benchmark,
    Declaration,
    Example,
    OfPhotos,
    Row,
    Score,
    data_sha256,
    image_sha256,
    means,
    photo_generator,
)
from .costs import Stopwatch
from .sharp_frame import REFINED, sharp_method

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

LEFT_ALONE = 38.0  # dB against the input from which a picture counts as left alone
OVERSHOOT, OVERSHOOT_WINDOW = 8 / 255, 7
MOST_COLOUR_SHIFT = 0.5  # levels of 255: the bound that the shipped deblurrer is held to, whatever the kind
NOISE, NIGHT_LIGHT, NIGHT_NOISE = 0.03, 0.12, 0.01
MEASURED = ("unchanged_psnr", "left_alone", "overshoot", "colour_shift", "motion_length")
WORDS = "exposure shutter motion trajectory photo sharp frame light camera blur time lens".split()


def _photo(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return photo


def _noise(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return photo + generator.normal(0, NOISE, photo.shape)


def _night(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The photo in little light, with lamps as bright as can be."""
    dark = photo * NIGHT_LIGHT
    height, width = photo.shape[:2]
    ys, xs = np.mgrid[:height, :width]
    for _ in range(12):
        x, y, radius = generator.uniform(0, width), generator.uniform(0, height), generator.uniform(1.5, 6)
        disc = np.clip(radius + 0.5 - np.hypot(xs - x, ys - y), 0, 1)[..., None]
        dark = dark * (1 - disc) + disc * generator.uniform(0.7, 1.2, 3)
    return dark + generator.normal(0, NIGHT_NOISE, photo.shape)


def _screenshot(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A window with a title, lines of text and the photo at half its size."""
    height, width = photo.shape[:2]
    light = bool(generator.integers(2))
    paper, ink = (250, 20) if light else (30, 230)
    page = Image.new("RGB", (width, height), (paper,) * 3)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, width, 22), fill=tuple(generator.integers(40, 200, 3).tolist()))
    small = Image.fromarray((photo * 255).round().astype(np.uint8)).resize((width // 2, height // 2))
    page.paste(small, (width - width // 2 - 8, 30))
    for y in range(34, height - 14, 18):
        words = " ".join(generator.choice(WORDS, 4 if y < 34 + height // 2 else 10))
        draw.text((8, y), words, fill=(ink,) * 3, font=ImageFont.load_default(int(generator.integers(10, 15))))
        if y < 34 + height // 2:  # what runs under the photo is hidden by it
            page.paste(small, (width - width // 2 - 8, 30))
    return np.asarray(page, dtype=np.float64) / 255


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "photo": _photo,
    "noise": _noise,
    "night": _night,
    "screenshot": _screenshot,
}


def unblurred_picture(photo: Tensor, kind: str, name: str) -> Tensor:
    """One of a photo's pictures, of eight bits' precision.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        kind: one of ``KINDS``.
        name: the photo's file name, which alone decides about what is random.
    """
    seen = photo[0].permute(1, 2, 0).double().numpy()
    made = KINDS[kind](seen, photo_generator(f"{kind}-{Path(name).stem}"))
    levels = np.clip(np.round(made * 255), 0, 255) / 255
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float()


class UnblurredBenchmark(OfPhotos):
    """``unblurred`` on a folder of sharp photos, four pictures each.

    Args:
        images: the folder.
        limit: evaluate only this number of photos, from the first.
        safe: as :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.
        deconvolve: see :func:`~.sharp_frame.sharp_method`.
        refine_steps: as :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.

    Raises:
        BadInputError: no folder, no photo in it, or a limit below 1.
    """

    rows_each = len(KINDS)

    def __init__(
        self,
        images: str | os.PathLike[str],
        limit: int | None = None,
        safe: bool = False,
        deconvolve: bool = False,
        refine_steps: int = 0,
    ):
        super().__init__(images, limit)
        self.refine_steps = check_refine_steps(refine_steps)
        self.safe, self.deconvolve = safe, deconvolve

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        photo = pipeline.preprocess(self.photos[number]).float().cpu()
        for kind in KINDS:
            picture = unblurred_picture(photo, kind, self.name(number))
            given = pipeline.preprocess(picture[0])
            watch = Stopwatch(given.device)
            method = sharp_method(pipeline, self.deconvolve)
            answer = pipeline.answer(
                given, method=method, refine_steps=self.refine_steps, safe=self.safe, dtype=dtype, part=watch.part
            )
            if answer.sharp is None:
                raise BadInputError("unblurred measures what the deblurrer changes; give a `deblurrer`")
            length, deblurred = answer.consistency[0].mean_offset_length, answer.sharp.float().cpu()
            yield partial(_row, self.name(number), kind, picture, deblurred, length, watch.figures())

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        photo = pipeline.preprocess(self.photos[number]).float().cpu()
        height, width = photo.shape[2:]
        return Example(photo, photo, pipeline.estimator.config.gamma, torch.zeros(1, 2, 2, height, width))

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images``, and for each kind of picture, ``photo_...``, ``noise_...``, ``night_...``, ``screenshot_...``:
        ``unchanged_psnr``, the mean PSNR in dB of the deblurred against the given picture, at most 100, and
        ``unchanged_psnr_lowest``; ``left_alone``, the share of pictures with at least 38 dB; ``overshoot``, the share
        of pixels brighter or darker by more than 8 levels of 255 than anything in the 7x7 given pixels around them,
        which is what ringing is; ``colour_shift``, how much the mean of the channel that changes most has changed, in
        levels of 255, to be at most 0.5; ``motion_length``, the mean length of the estimated offsets in pixels. Median
        seconds per photo of ``megapixels`` and ``data_sha256`` as everywhere."""
        found: dict[str, Any] = {"images": len(rows) // len(KINDS)}
        for kind in KINDS:
            of_kind = [row for row in rows if row["kind"] == kind]
            found |= {f"{kind}_{name}": value for name, value in means(of_kind).items() if name in MEASURED}
            found[f"{kind}_unchanged_psnr_lowest"] = min(row["unchanged_psnr"] for row in of_kind)
        costs = {name: value for name, value in means(rows).items() if name not in MEASURED}
        return {**found, **costs, "data_sha256": data_sha256(rows)}


def _row(
    name: str, kind: str, picture: Tensor, deblurred: Tensor, length: float, seconds: dict[str, float | None]
) -> Row:
    unchanged = min(float(psnr(deblurred, picture)), MAX_PSNR)
    return {
        "photo": name,
        "kind": kind,
        "unchanged_psnr": unchanged,
        "left_alone": float(unchanged >= LEFT_ALONE),
        "overshoot": overshoot(deblurred, picture),
        "colour_shift": 255 * float((deblurred - picture).mean((0, 2, 3)).abs().max()),
        "motion_length": length,
        "megapixels": picture.shape[2] * picture.shape[3] / 1e6,
        **seconds,
        "image_sha256": image_sha256(picture),
    }


def overshoot(deblurred: Tensor, given: Tensor) -> float:
    """The share of pixels of ``(1, 3, H, W)`` that leave the range of the given 7x7 pixels around them, in any colour,
    by more than 8 of 255 levels."""
    reach = OVERSHOOT_WINDOW // 2
    highest = functional.max_pool2d(given, OVERSHOOT_WINDOW, 1, reach)
    lowest = -functional.max_pool2d(-given, OVERSHOOT_WINDOW, 1, reach)
    beyond = (deblurred > highest + OVERSHOOT) | (deblurred < lowest - OVERSHOOT)
    return float(beyond.any(1).float().mean())


UNBLURRED_COLUMNS = (
    "unchanged_psnr",
    "unchanged_psnr_lowest",
    "left_alone",
    "overshoot",
    "colour_shift",
    "motion_length",
)


def _tables(result: dict[str, Any]) -> list[str]:
    header = ("", "PSNR against the input", "the lowest PSNR", "left alone, %", "beyond their surroundings, %")
    rows: list[tuple[Any, ...]] = [(*header, "colour shift, levels", "motion, px")]
    for kind in KINDS:
        psnr, lowest, alone, beyond, shift, length = (result[f"{kind}_{name}"] for name in UNBLURRED_COLUMNS)
        rows.append((kind, psnr, lowest, 100 * alone, 100 * beyond, shift, length))
    table = (
        f"unblurred: {counted(result['images'], 'sharp photo')}, as they are, with noise, at night, and in a "
        f"screenshot; left alone: at least {LEFT_ALONE:.0f} dB.\n\n" + markdown_table(rows)
    )
    return [table, runtime_table(result), size_table(result)]


def _start(asked: Asked) -> Benchmark:
    return UnblurredBenchmark(asked.images, asked.limit, asked.safe, asked.deconvolve, asked.refine_steps)


BENCHMARK = Declaration(
    "unblurred",
    _start,
    _tables,
    {"safe": "it blends the photo with a sharp frame", "refine_steps": REFINED},
    needs_sharp_frames=True,
)

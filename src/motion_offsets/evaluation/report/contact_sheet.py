"""A contact sheet: photos beside what several deblurrers make of them, whole and at full size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from ...exposure.refine_steps import REFINE_STEPS
from ...exposure.trajectories import offsets_at, sample_times
from ...pipelines.answer import sharp_frames
from ...pipelines.blur_to_video import BlurToVideoPipeline
from ...runtime.memory import DEFAULT_MAX_MEMORY
from .panels import Panel, draw_panels

SIDE = 480  # pixels: longest side of a whole picture
CROP_WIDTH, CROP_HEIGHT = 480, 360
FRAME = (255, 196, 0)
CELL = 8  # motion and texture are compared in cells of so many pixels
# Standard deviations of grey values in a cell: below, the cell has no texture; above, more does not count.
NO_TEXTURE, FULL_TEXTURE = 2 / 255, 0.1
WARM_UP_SIDE = 64

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class ComparedPhoto:
    """What a sheet shows of a photo: pictures of the sheet's size, as all photos wait for the last one.

    Args:
        whole: the photo, with a frame around its most blurred part, and the sharp frame of each deblurrer.
        part: that part of them at full size.
        seconds: that each deblurrer took, by its name, motion included where it uses that.
    """

    whole: Sequence[Panel]
    part: Sequence[Panel]
    seconds: dict[str, float]


def compare_photo(
    pipelines: dict[str, BlurToVideoPipeline],
    photo: Path,
    max_memory: float = DEFAULT_MAX_MEMORY,
    dtype: torch.dtype | None = None,
    refine_steps: int = REFINE_STEPS,
) -> ComparedPhoto:
    """Deblur a photo with each pipeline, and find its most blurred part along the first one's motion.

    Args:
        pipelines: pipelines by the name of their deblurrer.
        photo: the file.
        max_memory: bytes that the photo may need.
        dtype: autocast type of the networks.
        refine_steps: of the fits of motion and frame to the photo, for deblurrers that use motion.

    Raises:
        BadInputError: the photo cannot be read, or does not fit into ``max_memory``.
    """
    first = next(iter(pipelines.values()))
    pixel_values = first.preprocess(str(photo))
    for pipe in pipelines.values():
        pipe.check_fits(max_memory, pixel_values[0, 0].numel())
    motion = first.estimate(pixel_values, max_memory, dtype)
    offsets = offsets_at(motion[..., ::CELL, ::CELL], sample_times(first.num_samples), first.trajectory)
    box = most_blurred(pixel_values, offsets)
    picture = first.post_process(pixel_values)[0]
    whole = [(f"{photo.name}, {picture.width}x{picture.height}", _fitted(_framed(picture, box)))]
    part = [("the framed part at full size", picture.crop(box))]
    seconds = {}
    for name, pipe in pipelines.items():
        start = time.perf_counter()
        sharp = sharp_frames(pipe, pixel_values, refine_steps=refine_steps, max_memory=max_memory, dtype=dtype)
        picture = pipe.post_process(sharp)[0]  # on a GPU, waits for the result
        seconds[name] = time.perf_counter() - start
        whole.append((f"{name}, {_seconds(seconds[name])}", _fitted(picture)))
        part.append((name, picture.crop(box)))
    return ComparedPhoto(whole, part, seconds)


def warm_up(pipelines: dict[str, BlurToVideoPipeline], dtype: torch.dtype | None = None) -> None:
    """Run each pipeline once on a small picture, so that no photo's seconds include what is done once per process."""
    for pipe in pipelines.values():
        shape = (1, 3, WARM_UP_SIDE, WARM_UP_SIDE)
        small = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(pipe._execution_device)
        pipe.deblur(small, None, dtype=dtype)
        # Motion of 8 pixels, as a fit leaves alone what stands still.
        moved = torch.full_like(pipe.estimate(small, dtype=dtype), 4.0)
        moved[:, : moved.shape[1] // 2] = -4.0
        pipe.refine_blindly(small, small, moved, 1)


def most_blurred(pixel_values: Tensor, offsets: Tensor) -> Box:
    """The part of a photo with the longest motion over texture: where it is flat, blur cannot be seen.

    Args:
        pixel_values: the photo, ``(1, 3, H, W)`` in [0, 1].
        offsets: ``(1, N, 2, h, w)`` in pixels, N times of the exposure at every eighth pixel (:data:`CELL`).

    Returns:
        Left, top, right and bottom; at most 480x360 pixels and half of the photo's width and height.
    """
    height, width = pixel_values.shape[-2:]
    crop_height, crop_width = min(CROP_HEIGHT, -(-height // 2)), min(CROP_WIDTH, -(-width // 2))
    extent = (offsets.amax(1) - offsets.amin(1)).norm(dim=1, keepdim=True).float()
    grey = pixel_values.float().mean(1, keepdim=True)
    mean, square = (functional.avg_pool2d(values, CELL, ceil_mode=True) for values in (grey, grey.square()))
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    texture = torch.where(deviation > NO_TEXTURE, deviation.clamp(max=FULL_TEXTURE), 0)
    window = (-(-crop_height // CELL), -(-crop_width // CELL))
    score = functional.avg_pool2d(extent * texture, window, stride=1)[0, 0]
    if not bool(score.amax() > 0):
        left, top = (width - crop_width) // 2, (height - crop_height) // 2
    else:
        row, column = divmod(int(score.argmax()), score.shape[1])
        left, top = min(column * CELL, width - crop_width), min(row * CELL, height - crop_height)
    return left, top, left + crop_width, top + crop_height


def draw_sheet(compared: Sequence[ComparedPhoto]) -> Image.Image:
    """Two rows per photo: photo and sharp frames whole, and one part of each at full size.

    Args:
        compared: the photos, all with the same deblurrers.
    """
    return draw_panels([row for one in compared for row in (one.whole, one.part)], group=2)


def _fitted(picture: Image.Image) -> Image.Image:
    scale = min(1.0, SIDE / max(picture.size))
    if scale == 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _framed(picture: Image.Image, box: Box) -> Image.Image:
    """The photo with a frame around a part, two pixels wide once the photo is as large as on the sheet."""
    framed = picture.copy()
    line = max(1, round(2 * max(picture.size) / SIDE))
    left, top, right, bottom = box
    ImageDraw.Draw(framed).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=line)
    return framed


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"

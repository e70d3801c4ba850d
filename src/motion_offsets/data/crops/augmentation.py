"""Augmentation that keeps geometry true, and what a camera adds to a picture: noise, eight bits, JPEG.

A sample's offsets are ``(N, 2, H, W)``, dx and dy in pixels, at times that lie evenly about 0; where pixels go, their
offsets turn with them.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional


def flip(picture: Tensor) -> Tensor:
    """Mirror left and right, ``(..., H, W)``."""
    return picture.flip(-1)


def flip_offsets(offsets: Tensor) -> Tensor:
    """The offsets ``(..., 2, H, W)`` of the mirrored picture."""
    return offsets.flip(-1) * offsets.new_tensor([-1.0, 1.0]).view(2, 1, 1)


def quarter_turn(picture: Tensor, times: int = 1) -> Tensor:
    """Turn ``(..., H, W)`` counter-clockwise by ``times`` quarters."""
    return torch.rot90(picture, times, (-2, -1))


def quarter_turn_offsets(offsets: Tensor, times: int = 1) -> Tensor:
    """The offsets ``(..., 2, H, W)`` of the turned picture: right becomes up, up becomes left."""
    turned = torch.rot90(offsets, times, (-2, -1))
    for _ in range(times % 4):
        turned = torch.stack([turned[..., 1, :, :], -turned[..., 0, :, :]], -3)
    return turned


def reverse_time(offsets: Tensor) -> Tensor:
    """The offsets ``(..., N, 2, H, W)`` of the exposure run backwards; the blurred and the sharp picture stay."""
    return offsets.flip(-4)


def half_plane(offsets: Tensor) -> Tensor:
    """Reverse time, pixel by pixel, so that all of ``(N, 2, H, W)`` moves right: ``dx > 0``, or 0 and ``dy >= 0``.

    One blurred image cannot tell a motion from its reversal, so a network can only learn one of the two.
    """
    across, down = offsets[-1] - offsets[0]
    backwards = (across < 0) | ((across == 0) & (down < 0))
    return torch.where(backwards, reverse_time(offsets), offsets)


def textured(sharp: Tensor, margin: int, level: float, width: int = 17) -> Tensor:
    """Where motion can be seen at all: 1 where an image varies by ``level`` or more within ``width`` pixels, else 0.

    Args:
        sharp: ``(3, H + 2m, W + 2m)`` in [0, 1].
        margin: m, what is left out at each border.
        level: standard deviation; 0 finds texture everywhere.
        width: side of the neighbourhood, odd, pixels.

    Returns:
        ``(1, H, W)`` float32.
    """
    rows, columns = (slice(margin, size - margin) for size in sharp.shape[1:])
    if level == 0:
        return torch.ones_like(sharp[:1, rows, columns])
    grey, reach = sharp.mean(0, keepdim=True), width // 2
    powers = torch.stack([grey, grey**2])
    # Rows first, then columns: a mean over a square in a fraction of the work.
    means = functional.avg_pool2d(powers, (1, width), 1, (0, reach), count_include_pad=False)
    mean, square = functional.avg_pool2d(means, (width, 1), 1, (reach, 0), count_include_pad=False)
    varies = (square - mean**2).clamp(min=0).sqrt() >= level
    return varies[:, rows, columns].float()


def random_crop(photo: np.ndarray, size: int, generator: np.random.Generator, zoom: float = 1.0) -> np.ndarray:
    """A ``(size, size, 3)`` crop, flipped and turned by quarters at random; small photos are mirrored to fit.

    Args:
        photo: ``(H, W, 3)``.
        size: pixels.
        generator: what decides.
        zoom: the crop is enlarged by a factor from 1 to this, all ratios alike; ``photo`` must then be of 8 bits and
            of one picture's channels. Frames of a video camera are as soft as photos enlarged by 1.5 to 2.
    """
    inner = size if zoom == 1 else math.ceil(size / math.exp(generator.uniform(0, math.log(zoom))))
    crop = np.rot90(random_place(photo, inner, generator), int(generator.integers(4)))
    crop = np.ascontiguousarray(crop[:, ::-1] if generator.random() < 0.5 else crop)
    if inner == size:
        return crop
    return np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))


def random_place(photo: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A view of ``(..., size, size, 3)`` of photos ``(..., H, W, 3)``; small ones are mirrored to fit."""
    missing = [max(0, size - side) for side in photo.shape[-3:-1]]
    if any(missing):
        around = [(0, 0)] * (photo.ndim - 3) + [(0, more) for more in missing] + [(0, 0)]
        photo = np.pad(photo, around, mode="symmetric")
    top = int(generator.integers(photo.shape[-3] - size + 1))
    left = int(generator.integers(photo.shape[-2] - size + 1))
    return photo[..., top : top + size, left : left + size, :]


def defocus(sharp: Tensor, deviation: float) -> Tensor:
    """A Gaussian blur of ``(3, H, W)``, its standard deviation in pixels."""
    return torch.from_numpy(ndimage.gaussian_filter(sharp.numpy(), (0, deviation, deviation), mode="nearest"))


def jitter(
    photo: np.ndarray, generator: np.random.Generator, exposure: float = 0.3, colour: float = 0.1
) -> np.ndarray:
    """Change the exposure and the white balance of ``(H, W, 3)`` uint8 by random factors around 1 at random."""
    factors = np.exp(generator.uniform(-exposure, exposure) + generator.uniform(-colour, colour, 3))
    return np.clip(photo * factors, 0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class ToneCurve:
    """How a camera develops a picture: a power of the encoded values, then an S-curve, rising from 0 to 1.

    ``y = (1 - c) x^p + c (3 x^2p - 2 x^3p)``.

    Args:
        power: p; above 1 is darker.
        contrast: c, below 1; above 0 shadows become darker and lights lighter.
    """

    power: float
    contrast: float

    def __call__(self, encoded: Tensor) -> Tensor:
        """Pictures in [0, 1] through the curve."""
        x = encoded.clamp(0, 1) ** self.power
        return x + self.contrast * (x * x * (3 - 2 * x) - x)


def random_tone(
    generator: np.random.Generator, power: float = 0.25, contrast: tuple[float, float] = (-0.3, 0.7)
) -> ToneCurve:
    """A :class:`ToneCurve` with the logarithm of its power in ``+-power`` and its contrast in a range."""
    return ToneCurve(float(np.exp(generator.uniform(-power, power))), generator.uniform(*contrast))


def degrade(
    blurred: Tensor, noise_share: float, noise_level: float, jpeg_share: float, generator: np.random.Generator
) -> Tensor:
    """Sensor noise of up to ``noise_level``, eight bits, JPEG of quality 50 to 95; each with its share of pictures."""
    if generator.random() < noise_share:
        level = generator.uniform(0, noise_level)
        blurred = blurred + torch.from_numpy(generator.standard_normal(blurred.shape, dtype=np.float32)) * level
    blurred = (blurred.clamp(0, 1) * 255).round()
    if generator.random() < jpeg_share:
        blurred = _through_jpeg(blurred, int(generator.integers(50, 96)))
    return blurred / 255


def _through_jpeg(levels: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(levels.byte().permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).float()

"""What a photo needs in memory, and how large its tiles may be for that."""

from __future__ import annotations

import math
import re

from ..errors import BadInputError
from .allocation import KEPT_OVERHEAD, keep_while

DEFAULT_MAX_MEMORY = 4e9
# Smaller tiles are little but overlap.
SMALLEST_SIDE = 512
SMALLEST_TILE = SMALLEST_SIDE**2
# Measured peaks, bytes per pixel: of a tile inside each network and the deconvolution, and of what is held of the
# whole photo meanwhile.
ESTIMATOR_BYTES = 550
DEBLURRER_BYTES = 1100
DECONVOLUTION_BYTES = 320
PHOTO_BYTES = 85
# The share of a memory bound that may be held of whole photos where freed memory is kept.
MOST_HELD = 0.3


def max_tile_pixels(max_memory: float, image_pixels: int, network_bytes: float, batch_size: int = 1) -> int:
    """Number of pixels that a tile may have so that photos of one size are processed within a memory bound.

    Args:
        max_memory: bound in bytes, for everything that belongs to the photos.
        image_pixels: H * W of each photo.
        network_bytes: what the network needs at its peak, bytes per pixel of the tile.
        batch_size: number of photos that run together.

    Raises:
        BadInputError: the bound leaves no room for a tile worth running.
    """
    held = batch_size * image_pixels * PHOTO_BYTES
    smallest = min(SMALLEST_TILE, image_pixels)
    pixels = int((max_memory - held) / (batch_size * network_bytes))
    if pixels < smallest:
        enough = math.ceil((held + batch_size * smallest * network_bytes) / 1e8) / 10
        raise BadInputError(
            f"{image_pixels / 1e6:.3g} megapixels do not fit into a memory limit of {max_memory / 1e9:g} GB; "
            f"give at least `max_memory` {enough:g}GB (max_memory={enough:g}e9), or a smaller photo"
        )
    return pixels


def tile_pixels(
    max_memory: float, image_pixels: int, network_bytes: float, batch_size: int = 1, on_cpu: bool = True
) -> int:
    """:func:`max_tile_pixels` of the coming network; on a CPU, keeps freed memory if that is wanted and has room.

    What is held of a whole photo changes from step to step, and holes between kept tensors are lost to it; so it has
    to be the lesser part.
    """
    if on_cpu and keep_while(MOST_HELD * max_memory >= batch_size * image_pixels * PHOTO_BYTES):
        try:
            return max_tile_pixels(max_memory, image_pixels, KEPT_OVERHEAD * network_bytes, batch_size)
        except BadInputError:
            keep_while(False)
    return max_tile_pixels(max_memory, image_pixels, network_bytes, batch_size)


def check_photo_fits(max_memory: float, image_pixels: int, network_bytes: float = DEBLURRER_BYTES) -> None:
    """Raise :class:`BadInputError`, before anything is decoded or computed, for a photo that a network would refuse.

    Args:
        max_memory: bound in bytes.
        image_pixels: H * W of the photo.
        network_bytes: what the network that needs the most needs at its peak, bytes per pixel of a tile.
    """
    max_tile_pixels(max_memory, image_pixels, network_bytes)


def parse_memory(text: str, argument: str = "max_memory") -> float:
    """Bytes of ``"4GB"``, ``"800 MB"``, ``"4"`` (gigabytes), ``"4GiB"`` (2^30 bytes each)."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([gm])?(i?)b?\s*", text.lower())
    if match and not (match[3] and not match[2]):
        size = float(match[1]) * (1024 if match[3] else 1000) ** (2 if match[2] == "m" else 3)
    else:
        size = 0.0
    if size <= 0:
        raise BadInputError(f"`{argument}` {text!r} is not an amount of memory; give one such as 4GB or 800MB")
    return size

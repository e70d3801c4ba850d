"""Photos larger than memory: run a network over overlapping tiles and blend its maps without seams."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .errors import BadInputError

# Tiles start on multiples of this, so that the networks' strides fall on the same pixels as in the whole image.
ALIGNMENT = 32
# Side of the border, pixels, in which a tile's answer is not used at all: there it lacks what lies outside the tile.
MARGIN = 64
# Neighbouring tiles share this many pixels; between their margins the one fades into the other.
OVERLAP = 256


def max_tile_pixels(max_memory: float, image_pixels: int, network_bytes: float, image_bytes: float) -> int:
    """Number of pixels a tile may have so that a photo is processed within a memory bound.

    Args:
        max_memory: bound in bytes, for everything that belongs to the photo.
        image_pixels: H * W of the photo.
        network_bytes: what the network needs at its peak, bytes a pixel of the tile.
        image_bytes: what is held of the whole photo meanwhile, bytes a pixel of the photo.

    Raises:
        BadInputError: the bound leaves no room for a tile worth running.
    """
    smallest = (2 * OVERLAP) ** 2
    pixels = int((max_memory - image_pixels * image_bytes) / network_bytes)
    if pixels < min(smallest, image_pixels):
        needed = image_pixels * image_bytes + min(smallest, image_pixels) * network_bytes
        raise BadInputError(
            f"a memory bound of {max_memory / 1e9:.2f} GB is too small for {image_pixels / 1e6:.1f} megapixels; "
            f"give at least {needed / 1e9:.2f} GB or a smaller photo"
        )
    return pixels


def tile_shape(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """Height and width of the tiles for an image: the image itself if it is small enough, else squarish tiles."""
    if height * width <= max_pixels:
        return height, width
    side = max(2 * OVERLAP, int(math.sqrt(max_pixels)) // ALIGNMENT * ALIGNMENT)
    if min(height, width) <= side:  # a panorama: cut it along its long side only
        long_side = max(2 * OVERLAP, max_pixels // min(height, width) // ALIGNMENT * ALIGNMENT)
        return (height, min(width, long_side)) if width >= height else (min(height, long_side), width)
    return side, side


def tile_spans(length: int, tile: int, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """``(start, stop)`` of tiles that cover ``range(length)`` and overlap by ``overlap`` at least.

    Starts are multiples of :data:`ALIGNMENT`; for that the last tile may be up to ``ALIGNMENT - 1`` longer than asked.
    """
    if length < tile + ALIGNMENT:
        return [(0, length)]
    step = tile - overlap - ALIGNMENT  # rounding the starts can take up to ALIGNMENT from an overlap
    if step <= 0:
        raise BadInputError(f"tiles of {tile} pixels cannot overlap by {overlap}; give a larger tile")
    gaps = math.ceil((length - tile) / step)
    starts = [(length - tile) * index // gaps // ALIGNMENT * ALIGNMENT for index in range(gaps + 1)]
    return [(start, start + tile if start < starts[-1] else length) for start in starts]


def blending_weights(spans: list[tuple[int, int]], margin: int = MARGIN) -> list[Tensor]:
    """One weight vector a span; smooth, zero within ``margin`` of an inner end, summing to 1 at every position."""
    raw = [_fade(start, stop, start > 0, index + 1 < len(spans), margin) for index, (start, stop) in enumerate(spans)]
    total = torch.zeros(spans[-1][1], dtype=torch.float64)
    for (start, stop), weights in zip(spans, raw, strict=True):
        total[start:stop] += weights
    return [(weights / total[start:stop]).float() for (start, stop), weights in zip(spans, raw, strict=True)]


def _fade(start: int, stop: int, fades_in: bool, fades_out: bool, margin: int) -> Tensor:
    """A tile's weights before they are normalised: a raised cosine over half the overlap at each inner end."""
    ramp = OVERLAP - 2 * margin
    position = torch.arange(stop - start, dtype=torch.float64) + 0.5
    weights = torch.ones_like(position)
    for fades, distance in ((fades_in, position), (fades_out, position.flip(0))):
        if fades:
            weights *= 0.5 - 0.5 * torch.cos(math.pi * ((distance - margin) / ramp).clamp(0, 1))
    return weights


def run_tiled(
    function: Callable[..., Tensor],
    images: Tensor | Sequence[Tensor],
    max_pixels: int,
    on_tile: Callable[[int, int], None] | None = None,
    agree: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Run a function from images to maps of the same size over overlapping tiles and blend what it gives.

    Only one tile's work is in memory at a time, beside the images and the result. Images of at most ``max_pixels``
    are one tile, and the result is then the function's own.

    Args:
        function: ``(B, C, h, w)`` to ``(B, D, h, w)``; it is called with as many tiles as there are images.
        images: ``(B, C, H, W)``, or several of one height and width.
        max_pixels: most pixels a tile may have; see :func:`max_tile_pixels`.
        on_tile: called with (tiles done, tiles in all) after each tile.
        agree: where tiles overlap, ``agree(maps, reference)`` is blended in place of a tile's own ``maps``; the
            reference is what the tiles before it gave there. For answers that are right up to a symmetry.

    Returns:
        ``(B, D, H, W)`` in float32.
    """
    images = [images] if isinstance(images, Tensor) else images
    height, width = images[0].shape[-2:]
    tile_height, tile_width = tile_shape(height, width, max_pixels)
    rows, columns = tile_spans(height, tile_height), tile_spans(width, tile_width)
    total = len(rows) * len(columns)
    if total == 1:
        result = function(*images).float()
        if on_tile is not None:
            on_tile(1, 1)
        return result
    row_weights, column_weights = blending_weights(rows), blending_weights(columns)
    blended: Tensor | None = None
    covered = torch.zeros(height, width, device=images[0].device)
    for index in range(total):
        row, column = divmod(index, len(columns))
        (top, bottom), (left, right) = rows[row], columns[column]
        maps = function(*(image[..., top:bottom, left:right] for image in images)).float()
        if blended is None:
            blended = maps.new_zeros(*maps.shape[:-2], height, width)
        place = (..., slice(top, bottom), slice(left, right))
        weights = (row_weights[row][:, None] * column_weights[column][None, :]).to(maps.device)
        if agree is not None:
            seen = covered[place]
            maps = torch.where(seen > 0, agree(maps, blended[place] / seen.clamp(min=1e-20)), maps)
            seen += weights
        blended[place].addcmul_(maps, weights)
        if on_tile is not None:
            on_tile(index + 1, total)
    assert blended is not None
    return blended

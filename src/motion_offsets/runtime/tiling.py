"""Photos larger than memory: run a network over overlapping tiles and blend its maps without seams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..errors import BadInputError
from .memory import SMALLEST_SIDE, SMALLEST_TILE

# Tiles start on multiples of this, so that the networks' strides fall on the same pixels as in the whole image.
ALIGNMENT = 32
# Width, pixels, of the border in which a tile's answer is not used at all: there it lacks what lies outside the tile.
# A full receptive field would need more: 214 pixels for the estimator; for one level of the deblurrer 67, and four
# times what its taps are moved by (tests/runtime/test_tiling.py computes them). But what lies that far away hardly
# counts: with the bundled models, the tiles of a photo differ from the whole by less than 0.1 pixels of motion and
# 0.1 of 255 in the sharp frame, which a test checks.
ESTIMATOR_MARGIN = 96
SCALE_MARGIN = 48  # as much more for each factor beyond 1 by which an estimator reduces the photo
CONTEXT_MARGIN = 4  # as much more for each cell, along a side of the coarsest one, of a network of context
DEBLURRER_MARGIN = 48  # of one level; with more, which cut a tile at other places than the photo, the estimator's
DECONVOLUTION_MARGIN = 64  # its steps carry things further, ever weaker
# Between their margins, neighbouring tiles fade into each other over this many pixels.
FADE = 64

Span = tuple[int, int]


def overlap_of(margin: int) -> int:
    """Pixels that neighbouring tiles share at least."""
    return 2 * margin + FADE


def tile_layout(
    height: int, width: int, max_pixels: int, margin: int, alignment: int = ALIGNMENT
) -> tuple[list[Span], list[Span]]:
    """The ``(top, bottom)`` of each row of tiles and the ``(left, right)`` of each column, none above ``max_pixels``.

    Of all numbers of rows and columns those that compute the fewest pixels: every overlap is computed twice.

    Args:
        height: of the image.
        width: of the image.
        max_pixels: at least the smaller of :data:`SMALLEST_TILE` and the image.
        margin: border of a tile that is not used, pixels.
        alignment: as in :func:`tile_spans`.

    Raises:
        BadInputError: no tile is that small.
    """
    # Wide margins allow for thousands of choices: each division is measured once.
    overlap = overlap_of(margin)
    in_rows, in_columns = (
        [(_sum(spans), len(spans), _longest(spans), spans) for spans in _divisions(side, overlap, alignment)]
        for side in (height, width)
    )
    choices = [
        (down * across, rows * columns, row_spans, column_spans)
        for down, rows, tallest, row_spans in in_rows
        for across, columns, widest, column_spans in in_columns
        if tallest * widest <= max_pixels
    ]
    if not choices:
        raise BadInputError(f"tiles of {max_pixels} pixels are too small for their overlaps; give {SMALLEST_TILE}")
    return min(choices)[2:]


def _divisions(length: int, overlap: int, alignment: int) -> Iterator[list[Span]]:
    """One tile, two, and so on, down to the smallest worth running."""
    for count in itertools.count(1):
        spans = tile_spans(length, count, overlap, alignment)
        yield spans
        # An overlap may be larger than the smallest tile; more tiles, by the thousand, are then hardly smaller.
        if _longest(spans) <= SMALLEST_SIDE or spans[0][1] - spans[0][0] <= overlap + 2 * alignment:
            return


def _longest(spans: list[Span]) -> int:
    return max(stop - start for start, stop in spans)


def _sum(spans: list[Span]) -> int:
    return sum(stop - start for start, stop in spans)


def tile_spans(length: int, count: int, overlap: int, alignment: int = ALIGNMENT) -> list[Span]:
    """``(start, stop)`` of ``count`` tiles that cover ``range(length)`` and overlap by ``overlap`` at least.

    Starts are multiples of ``alignment``; for that the last tile may be up to ``alignment - 1`` longer than the
    others, which are of one length.
    """
    if count == 1:
        return [(0, length)]
    # Rounding the starts can take up to alignment - 1 from an overlap.
    tile = math.ceil((length + (count - 1) * (overlap + alignment - 1)) / count)
    tile = -(-tile // alignment) * alignment
    starts = [(length - tile) * index // (count - 1) // alignment * alignment for index in range(count)]
    return [(start, start + tile if start < starts[-1] else length) for start in starts]


def blending_weights(spans: list[Span], margin: int) -> list[Tensor]:
    """One weight vector a span; smooth, zero within ``margin`` of an inner end, summing to 1 at every position."""
    raw = [_fade(start, stop, start > 0, index + 1 < len(spans), margin) for index, (start, stop) in enumerate(spans)]
    total = torch.zeros(spans[-1][1], dtype=torch.float64)
    for (start, stop), weights in zip(spans, raw, strict=True):
        total[start:stop] += weights
    return [(weights / total[start:stop]).float() for (start, stop), weights in zip(spans, raw, strict=True)]


def _fade(start: int, stop: int, fades_in: bool, fades_out: bool, margin: int) -> Tensor:
    """A tile's weights before they are normalised: a raised cosine over :data:`FADE` at each inner end."""
    position = torch.arange(stop - start, dtype=torch.float64) + 0.5
    weights = torch.ones_like(position)
    for fades, distance in ((fades_in, position), (fades_out, position.flip(0))):
        if fades:
            weights *= 0.5 - 0.5 * torch.cos(math.pi * ((distance - margin) / FADE).clamp(0, 1))
    return weights


def run_tiled(
    function: Callable[..., Tensor],
    images: Tensor | Sequence[Tensor],
    max_pixels: int,
    margin: int,
    on_tile: Callable[[int, int], None] | None = None,
    agree: Callable[[Tensor, Tensor], Tensor] | None = None,
    alignment: int = ALIGNMENT,
) -> Tensor:
    """Run a function from images to maps of the same size over overlapping tiles and blend what it gives.

    Only one tile's work is in memory at a time, beside the images and the result. Images of at most ``max_pixels``
    are one tile, and the result is then the function's own.

    Args:
        function: ``(B, C, h, w)`` to ``(B, D, h, w)``; it is called with as many tiles as there are images.
        images: ``(B, C, H, W)``, or several of one height and width.
        max_pixels: most pixels that a tile may have; see :func:`~motion_offsets.runtime.memory.max_tile_pixels`.
        margin: border of a tile, pixels, in which its answer is not used.
        on_tile: called with (tiles done, tiles in all) after each tile.
        agree: where tiles overlap, ``agree(maps, reference)`` is blended in place of a tile's own ``maps``; the
            reference is what the tiles before it gave there. For answers that are right up to a symmetry.
        alignment: what tiles start on multiples of, see :func:`tile_spans`.

    Returns:
        ``(B, D, H, W)`` in float32.
    """
    images = [images] if isinstance(images, Tensor) else images
    height, width = images[0].shape[-2:]
    rows, columns = tile_layout(height, width, max_pixels, margin, alignment)
    total = len(rows) * len(columns)
    if total == 1:
        result = function(*images).float()
        if on_tile is not None:
            on_tile(1, 1)
        return result
    row_weights, column_weights = (blending_weights(spans, margin) for spans in (rows, columns))
    blended: Tensor | None = None
    covered = torch.zeros(height, width, device=images[0].device)
    for index in range(total):
        row, column = divmod(index, len(columns))
        (top, bottom), (left, right) = rows[row], columns[column]
        maps = function(*(image[..., top:bottom, left:right] for image in images)).float()
        if blended is None:
            blended = maps.new_zeros(*maps.shape[:-2], height, width)
        tile = (..., slice(top, bottom), slice(left, right))
        weights = (row_weights[row][:, None] * column_weights[column][None, :]).to(maps.device)
        if agree is not None:
            seen = covered[tile]
            maps = torch.where(seen > 0, agree(maps, blended[tile] / seen.clamp(min=1e-20)), maps)
            seen += weights
        blended[tile].addcmul_(maps, weights)
        if on_tile is not None:
            on_tile(index + 1, total)
    assert blended is not None
    return blended

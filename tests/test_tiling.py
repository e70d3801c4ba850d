"""Tiles cover the image, blend to one everywhere, and give what the whole image gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from motion_offsets.errors import BadInputError
from motion_offsets.tiling import (
    ALIGNMENT,
    OVERLAP,
    blending_weights,
    max_tile_pixels,
    run_tiled,
    tile_shape,
    tile_spans,
)


@pytest.mark.parametrize(
    ("length", "tile"), [(1000, 1000), (1001, 800), (4000, 800), (6000, 1536), (545, 512), (997, 544)]
)
def test_spans_cover_the_length_and_overlap(length: int, tile: int) -> None:
    spans = tile_spans(length, tile)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(start % ALIGNMENT == 0 for start, _ in spans)
    for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):
        assert stop - start >= OVERLAP
    assert all(tile <= stop - start < tile + ALIGNMENT for start, stop in spans) or len(spans) == 1


@pytest.mark.parametrize(("length", "tile"), [(513, 512), (600, 576), (512, 512)])
def test_what_one_tile_may_be_longer_by_is_no_second_tile(length: int, tile: int) -> None:
    assert tile_spans(length, tile) == [(0, length)]


def test_spans_refuse_tiles_that_cannot_overlap() -> None:
    with pytest.raises(BadInputError, match="larger tile"):
        tile_spans(1000, OVERLAP)


@pytest.mark.parametrize(("length", "tile"), [(1500, 800), (4000, 640)])
def test_weights_sum_to_one_without_steps(length: int, tile: int) -> None:
    spans = tile_spans(length, tile)
    total = torch.zeros(length)
    for (start, stop), weights in zip(spans, blending_weights(spans), strict=True):
        assert weights.min() >= 0
        assert weights.diff().abs().max() < 0.03
        total[start:stop] += weights
    torch.testing.assert_close(total, torch.ones(length))


def test_weights_vanish_at_inner_ends_only() -> None:
    first, last = blending_weights([(0, 600), (320, 900)])
    assert first[0] == 1
    assert first[-1] == 0
    assert last[0] == 0
    assert last[-1] == 1


def smooth_maps(image: torch.Tensor) -> torch.Tensor:
    """A network of reach 20 pixels and stride 8: like the real ones, blind at its borders and bound to its grid."""
    coarse = functional.avg_pool2d(image, 8)
    smoothed = functional.avg_pool2d(coarse, 5, 1, 2, count_include_pad=False)
    return (
        functional.interpolate(smoothed, size=image.shape[-2:], mode="bilinear")
        .sum(1, keepdim=True)
        .repeat(1, 2, 1, 1)
    )


@pytest.mark.parametrize("size", [(640, 1504), (1504, 640), (1200, 1304)])
def test_tiled_equals_whole_where_the_reach_is_within_the_margin(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, int]] = []
    shapes: list[int] = []

    def function(tile: torch.Tensor) -> torch.Tensor:
        shapes.append(tile.shape[-2] * tile.shape[-1])
        return smooth_maps(tile)

    tiled = run_tiled(function, image, 640 * 704, lambda done, total: seen.append((done, total)))
    assert len(shapes) > 1
    assert max(shapes) < (640 + ALIGNMENT) * (704 + ALIGNMENT)
    assert seen[-1] == (len(shapes), len(shapes))
    torch.testing.assert_close(tiled, smooth_maps(image), rtol=0, atol=1e-5)


def test_small_image_is_one_untouched_call() -> None:
    image = torch.rand(2, 3, 40, 50)
    assert torch.equal(run_tiled(lambda tile: tile * 2, image, 40 * 50), image * 2)


def test_disagreeing_tiles_fade_into_each_other() -> None:
    image = torch.zeros(1, 1, 512, 1500)
    values = iter([0.0, 1.0, 0.0, 1.0, 0.0])
    blended = run_tiled(lambda tile: torch.full_like(tile, next(values)), image, 512 * 640)
    assert blended.diff(dim=3).abs().max() < 0.03
    assert blended.max() > 0.99


def test_panorama_is_cut_along_its_long_side() -> None:
    assert tile_shape(600, 20000, 640 * 640)[0] == 600
    assert tile_shape(20000, 600, 640 * 640)[1] == 600
    assert tile_shape(300, 400, 120000) == (300, 400)


def test_memory_bound_becomes_tile_pixels() -> None:
    assert max_tile_pixels(4e9, 1_000_000, 1000, 100) == 3_900_000
    with pytest.raises(BadInputError, match=r"give at least 2\.66 GB"):
        max_tile_pixels(1e9, 24_000_000, 1000, 100)


def test_tiles_that_disagree_in_sign_are_brought_to_agree() -> None:
    """Every other tile answers with the opposite sign; blended as they come, the overlaps would cancel."""
    image = torch.rand(1, 1, 512, 1400) + 1
    signs = iter([1, -1] * 4)

    def up_to_sign(tile: torch.Tensor) -> torch.Tensor:
        return next(signs) * tile

    def agree(maps: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return torch.where((maps * reference) < 0, -maps, maps)

    blended = run_tiled(up_to_sign, image, 512 * 640, agree=agree)
    torch.testing.assert_close(blended.abs(), image)

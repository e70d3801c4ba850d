"""Tiles cover the image, blend to one everywhere, and give what the whole image gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.runtime.tiling import (
    ALIGNMENT,
    DEBLURRER_MARGIN,
    ESTIMATOR_MARGIN,
    SMALLEST_TILE,
    _divisions,
    blending_weights,
    overlap_of,
    run_tiled,
    tile_layout,
    tile_spans,
)

MARGIN = 64
OVERLAP = overlap_of(MARGIN)


def test_overlaps_larger_than_the_smallest_tile_come_to_an_end() -> None:
    assert tile_layout(720, 1280, 10**7, margin=384) == ([(0, 720)], [(0, 1280)])
    rows, columns = tile_layout(3000, 4000, 2048 * 2048, margin=384)
    assert (len(rows), len(columns)) == (2, 3)
    for side in (3000, 4000):  # nor are there thousands of them to choose from, which took half a minute
        assert len(list(_divisions(side, overlap_of(384), ALIGNMENT))) <= side / ALIGNMENT
    assert max(stop - start for start, stop in rows) * max(stop - start for start, stop in columns) <= 2048**2


@pytest.mark.parametrize(("length", "count"), [(1000, 1), (1001, 2), (4000, 7), (6000, 5), (545, 2), (997, 3)])
def test_spans_cover_the_length_and_overlap(length: int, count: int) -> None:
    spans = tile_spans(length, count, OVERLAP)
    assert len(spans) == count
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(start % ALIGNMENT == 0 for start, _ in spans)
    for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):
        assert stop - start >= OVERLAP
    sides = [stop - start for start, stop in spans]
    assert len(set(sides[:-1])) <= 1
    assert sides[0] <= sides[-1] < sides[0] + ALIGNMENT


@pytest.mark.parametrize("size", [(513, 700), (3000, 4000), (8165, 12248), (600, 20000), (20000, 600)])
@pytest.mark.parametrize("max_pixels", [SMALLEST_TILE, 900_000, 3_000_000])
def test_no_tile_is_larger_than_allowed_and_little_is_computed_twice(size: tuple[int, int], max_pixels: int) -> None:
    rows, columns = tile_layout(*size, max_pixels, DEBLURRER_MARGIN)
    areas = [(bottom - top) * (right - left) for top, bottom in rows for left, right in columns]
    assert max(areas) <= max_pixels
    # Square tiles of this many pixels, laid out with just the overlap, and half as much again for what does not go up.
    side = max_pixels**0.5
    assert sum(areas) <= 1.5 * size[0] * size[1] * (side / (side - overlap_of(DEBLURRER_MARGIN) - ALIGNMENT)) ** 2


def test_a_tile_that_cannot_overlap_is_refused() -> None:
    with pytest.raises(BadInputError, match="too small for their overlaps"):
        tile_layout(1000, 1000, 300 * 300, ESTIMATOR_MARGIN)


@pytest.mark.parametrize(("length", "count"), [(1500, 2), (4000, 8)])
def test_weights_sum_to_one_without_steps(length: int, count: int) -> None:
    spans = tile_spans(length, count, OVERLAP)
    total = torch.zeros(length)
    for (start, stop), weights in zip(spans, blending_weights(spans, MARGIN), strict=True):
        assert weights.min() >= 0
        assert weights.diff().abs().max() < 0.03
        total[start:stop] += weights
    torch.testing.assert_close(total, torch.ones(length))


def test_weights_vanish_at_inner_ends_only() -> None:
    first, last = blending_weights([(0, 600), (320, 900)], MARGIN)
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

    tiled = run_tiled(function, image, 640 * 704, MARGIN, lambda done, total: seen.append((done, total)))
    assert len(shapes) > 1
    assert max(shapes) <= 640 * 704
    assert seen[-1] == (len(shapes), len(shapes))
    torch.testing.assert_close(tiled, smooth_maps(image), rtol=0, atol=1e-5)


def test_small_image_is_one_untouched_call() -> None:
    image = torch.rand(2, 3, 40, 50)
    assert torch.equal(run_tiled(lambda tile: tile * 2, image, 40 * 50, MARGIN), image * 2)


def test_disagreeing_tiles_fade_into_each_other() -> None:
    image = torch.zeros(1, 1, 512, 1500)
    values = iter([0.0, 1.0, 0.0, 1.0, 0.0])
    blended = run_tiled(lambda tile: torch.full_like(tile, next(values)), image, 512 * 640, MARGIN)
    assert blended.diff(dim=3).abs().max() < 0.03
    assert blended.max() > 0.99


def test_panorama_is_cut_along_its_long_side() -> None:
    assert len(tile_layout(600, 20000, 640 * 640, MARGIN)[0]) == 1
    assert len(tile_layout(20000, 600, 640 * 640, MARGIN)[1]) == 1
    assert tile_layout(300, 400, 120000, MARGIN) == ([(0, 300)], [(0, 400)])


def test_tiles_that_disagree_in_sign_are_brought_to_agree() -> None:
    """Every other tile answers with the opposite sign; blended as they come, the overlaps would cancel."""
    image = torch.rand(1, 1, 512, 1400) + 1
    signs = iter([1, -1] * 4)

    def up_to_sign(tile: torch.Tensor) -> torch.Tensor:
        return next(signs) * tile

    def agree(maps: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return torch.where((maps * reference) < 0, -maps, maps)

    blended = run_tiled(up_to_sign, image, 512 * 640, MARGIN, agree=agree)
    torch.testing.assert_close(blended.abs(), image)


def reach_of(network: Callable[[torch.Tensor], torch.Tensor], side: int) -> int:
    """How far away a pixel can be that one in the middle of an image depends on, at most over a stride's phases."""
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    reach = 0
    answer = network(image).sum(1)[0]
    for middle in range(side // 2, side // 2 + 8):
        (gradient,) = torch.autograd.grad(answer[middle, middle], image, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()
        reach = max(reach, middle - int(rows.min()), int(rows.max()) - middle)
    return reach


def all_positive(model: nn.Module) -> nn.Module:
    """Weights by which nothing cancels out and no ReLU is closed, of the mean."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.ndim == 1 else 1 / parameter[0].numel())
    return model.double().eval()


def test_receptive_fields_are_what_the_margins_comment_says() -> None:
    estimator = all_positive(EtrajModel(EtrajConfig(base_channels=1)))
    assert reach_of(lambda image: estimator(image, output_motion_offsets=False).control_points, 480) == 214
    plain = MaDmphnConfig(levels=(1,), base_channels=1, motion_aware=False)
    deblurrer = all_positive(MaDmphnForImageDeblurring(plain))
    assert reach_of(lambda image: deblurrer(image).sharp, 160) == 67


def test_no_seam_in_a_photo(sample_photo: Callable[[str], Path]) -> None:
    """The margins are smaller than the receptive fields; with the bundled models the tiles can hardly be told."""
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    with Image.open(sample_photo("motorcycle_left")) as picture:
        photo = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None, :, 50:450] / 255
    tiles: list[int] = []
    motion = pipe.estimate(photo)
    tiled = pipe.estimate(photo, 1.75e8, on_tile=lambda done, total: tiles.append(total))
    sharp = pipe.deblur(photo, motion)
    again = pipe.deblur(photo, motion, 3.2e8, on_tile=lambda done, total: tiles.append(total))
    assert tiles == [2] * 4
    assert float((tiled - motion).abs().max()) < 0.1  # pixels
    assert float((again - sharp).abs().max()) < 0.1 / 255

"""Trajectories over the photo and flow in the colours of the wheel, judged by their pixels."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets.errors import BadInputError
from motion_offsets.visualization.colors import time_colors
from motion_offsets.visualization.flow import draw_flow, flow_to_image, flow_wheel
from motion_offsets.visualization.paths import draw_trajectories


def straight(dx: float, dy: float, height: int, width: int, samples: int = 5) -> np.ndarray:
    """Offsets of a whole picture that moves evenly from (-dx, -dy) to (dx, dy)."""
    t = np.linspace(-1, 1, samples, dtype=np.float32)
    return np.broadcast_to(
        (t[:, None] * np.array([dx, dy], np.float32))[:, :, None, None], (samples, 2, height, width)
    )


def one_cell(offsets: np.ndarray, **kwargs: object) -> np.ndarray:
    """Drawing on black with one cell, so centred at (31.5, 31.5), as integers."""
    picture = draw_trajectories(Image.new("RGB", (64, 64)), offsets, cell=64, legend=False, **kwargs)
    return np.asarray(picture).astype(int)


def hue_degrees(pixel: np.ndarray) -> float:
    return 360 * colorsys.rgb_to_hsv(*(np.asarray(pixel) / 255))[0]


# Trajectories


def test_curve_runs_through_p_plus_offset():
    pixels = one_cell(straight(20, 0, 64, 64), line_width=3)
    lit = np.argwhere(pixels.max(axis=2) > 60)
    assert abs(lit[:, 0].mean() - 31.5) < 0.3
    assert lit[:, 0].min() >= 29
    assert lit[:, 0].max() <= 34
    assert abs(lit[:, 1].min() - (31.5 - 20 - 1.5)) <= 1.5
    assert abs(lit[:, 1].max() - (31.5 + 20 + 1.5)) <= 1.5


def test_uncertain_curves_fade():
    offsets = straight(20, 0, 64, 64)  # 40 pixels from end to end
    sure = one_cell(offsets, uncertainty=np.full((64, 64), 10.0, np.float32))
    np.testing.assert_array_equal(sure, one_cell(offsets))
    half, faint = (one_cell(offsets, uncertainty=np.full((64, 64), spread, np.float32)) for spread in (25.0, 90.0))
    brightness = [picture[31].max() for picture in (sure, half, faint)]
    assert brightness[1] == pytest.approx(0.625 * brightness[0], abs=3)  # halfway from 1 to a quarter
    assert brightness[2] == pytest.approx(0.25 * brightness[0], abs=3)


def test_uncertainty_has_the_size_of_the_offsets():
    with pytest.raises(BadInputError, match="uncertainty: shape"):
        one_cell(straight(20, 0, 64, 64), uncertainty=np.ones((32, 64), np.float32))


def test_time_is_the_colour_and_mirror_turns_the_curve():
    start, end = time_colors(np.array([-1.0, 1.0])).astype(int)
    for mirror in (False, True):
        pixels = one_cell(straight(20, 0, 64, 64), line_width=5, mirror=mirror)
        left, right = pixels[31, 12], pixels[31, 51]
        first, last = (right, left) if mirror else (left, right)
        assert np.abs(first - start).max() < 30
        assert np.abs(last - end).max() < 30


def test_curved_path_passes_its_samples():
    t = np.linspace(-1, 1, 15, dtype=np.float32)
    offsets = np.zeros((15, 2, 64, 64), np.float32)
    offsets[:, 0], offsets[:, 1] = (20 * t)[:, None, None], (-15 * t**2)[:, None, None]
    pixels = one_cell(offsets, line_width=4)
    for dx, dy in offsets[:, :, 0, 0]:
        x, y = round(31.5 + dx), round(31.5 + dy)
        assert pixels[y - 1 : y + 2, x - 1 : x + 2].max() > 150
    assert pixels[16:18, 22:42].max() == 0  # the chord between the ends stays dark
    mirrored = one_cell(offsets, line_width=4, mirror=True)
    np.testing.assert_allclose(mirrored.max(axis=2)[::-1, ::-1].sum(), pixels.max(axis=2).sum(), rtol=0.02)


def test_still_cells_get_dots_and_only_dots():
    pixels = one_cell(np.zeros((3, 2, 64, 64), np.float32))
    lit = np.argwhere(pixels.max(axis=2) > 20)
    assert 1 <= len(lit) <= 30
    assert np.ptp(pixels[31, 31]) < 15  # neutral, no time colour
    np.testing.assert_allclose(lit.mean(axis=0), 31.5, atol=0.6)


def test_only_what_moves_is_a_curve():
    offsets = straight(6, 3, 96, 128).copy()
    offsets[:, :, :, :64] = 0
    pixels = np.asarray(draw_trajectories(Image.new("RGB", (128, 96)), offsets, cell=32, legend=False)).astype(int)
    colourful = pixels.max(axis=2) - pixels.min(axis=2) > 60
    assert colourful[:, 68:].any()
    assert not colourful[:, :64].any()


def test_photo_shows_through_dimmed():
    photo = Image.new("RGB", (64, 64), (200, 200, 200))
    pixels = np.asarray(draw_trajectories(photo, np.zeros((2, 2, 64, 64)), cell=64, backdrop=0.5, legend=False))
    assert pixels[2, 2].tolist() == [100, 100, 100]
    untouched = draw_trajectories(photo, np.zeros((2, 2, 64, 64)), cell=64, backdrop=1, legend=False)
    assert np.asarray(untouched)[2, 2].tolist() == [200, 200, 200]
    assert photo.getpixel((2, 2)) == (200, 200, 200)


def test_torch_numpy_and_thinned_fields_give_the_same_picture():
    photo = Image.new("RGB", (128, 96), (90, 60, 30))
    offsets = straight(9, -4, 96, 128).copy()
    expected = np.asarray(draw_trajectories(photo, offsets))
    for other in (torch.from_numpy(offsets).bfloat16().requires_grad_(), offsets[:, :, ::8, ::8]):
        np.testing.assert_array_equal(np.asarray(draw_trajectories(photo, other)), expected)


def test_legend_needs_room():
    offsets = np.zeros((2, 2, 320, 480), np.float32)
    wide = Image.new("RGB", (480, 320))
    with_legend, without = draw_trajectories(wide, offsets), draw_trajectories(wide, offsets, legend=False)
    changed = np.argwhere((np.asarray(with_legend) != np.asarray(without)).any(axis=2))
    assert len(changed)
    assert changed[:, 0].min() > 320 * 0.8
    assert changed[:, 1].max() < 480 * 0.6
    for size in ((16, 16), (17, 400), (400, 17)):
        small = Image.new("RGB", size)
        field = np.zeros((2, 2, size[1], size[0]))
        assert draw_trajectories(small, field).tobytes() == draw_trajectories(small, field, legend=False).tobytes()


def test_long_motion_gets_larger_cells():
    photo = Image.new("RGB", (480, 320))

    def dots(dx: float) -> tuple[int, int]:
        picture = np.asarray(draw_trajectories(photo, straight(dx, 0, 320, 480), line_width=1, legend=False))
        row = (picture[:, :, 0] > 60).any(axis=1)
        column = (picture[:, :, 0] > 60).any(axis=0)
        return int(np.count_nonzero(np.diff(row.astype(int)) == 1)), int(
            np.count_nonzero(np.diff(column.astype(int)) == 1)
        )

    rows_still, columns_still = dots(0)
    rows_moving, columns_moving = dots(20)
    assert rows_moving == rows_still  # sideways motion needs no taller cells
    assert 0 < columns_moving < columns_still


def test_wrong_trajectories():
    photo = Image.new("RGB", (32, 32))
    good = np.zeros((3, 2, 32, 32))
    for shape in ((1, 2, 32, 32), (3, 3, 32, 32), (2, 32, 32), (1, 3, 2, 32, 32)):
        with pytest.raises(BadInputError, match="motion_offsets"):
            draw_trajectories(photo, np.zeros(shape))
    with pytest.raises(BadInputError, match="finite"):
        draw_trajectories(photo, good + np.nan)
    for kwargs in ({"cell": 0}, {"cell": float("nan")}, {"line_width": 0}, {"backdrop": 1.5}):
        with pytest.raises(BadInputError, match=next(iter(kwargs))):
            draw_trajectories(photo, good, **kwargs)


def test_time_colours_are_ever_lighter_and_clear_of_grey():
    colors = time_colors(np.linspace(-1, 1, 33)) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert luminance[-1] > 2 * luminance[0]
    assert np.all(np.diff(luminance) > -0.01)
    assert np.all(np.ptp(colors, axis=1) > 0.35)


# Flow


def test_wheel_corners():
    """Directions of the six corner colours, from the step counts of the definition: 15, 6, 4, 11, 13, 6 of 55."""
    starts = np.cumsum([0, 15, 6, 4, 11, 13]) / 55
    corners = [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)]
    for turn, corner in zip(starts, corners, strict=True):
        angle = 2 * np.pi * turn  # from the right, clockwise on the screen
        flow = np.array([np.cos(angle), np.sin(angle)], np.float32)[:, None, None] * np.float32(5)
        pixel = np.asarray(flow_to_image(flow, max_length=5))[0, 0].astype(int)
        assert np.abs(pixel - corner).max() <= 4, (turn, pixel)


def test_length_is_saturation():
    flow = np.zeros((2, 1, 5), np.float32)
    flow[0] = [0, 2, 4, 8, np.nan]
    pixels = np.asarray(flow_to_image(flow, max_length=4))[0].astype(int)
    assert pixels[0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(pixels[1], [255, 127, 127], atol=1)
    assert pixels[2].tolist() == [255, 0, 0]
    np.testing.assert_allclose(pixels[3], [191, 0, 0], atol=1)
    assert pixels[4].tolist() == [0, 0, 0]


def test_default_length_is_the_longest_but_never_amplifies_noise():
    flow = np.zeros((2, 4, 4), np.float32)
    flow[0, 0, 0] = 0.01
    assert np.asarray(flow_to_image(flow)).min() >= 251
    flow[0, 1, 1] = 30
    assert np.asarray(flow_to_image(torch.from_numpy(flow)))[1, 1].tolist() == [255, 0, 0]


def test_no_seam_around_the_circle():
    angles = np.linspace(0, 2 * np.pi, 721, dtype=np.float32)
    pixels = np.asarray(flow_to_image(np.stack([np.cos(angles), np.sin(angles)])[:, None], max_length=1))[0].astype(
        int
    )
    assert np.abs(np.diff(pixels, axis=0)).max() <= 12
    assert np.abs(pixels[0] - pixels[-1]).max() <= 2


def test_large_field_equals_its_parts():
    y, x = np.mgrid[-400:400, -300:300].astype(np.float32)
    field = np.stack([x, y])
    whole = np.asarray(flow_to_image(field, 500))
    np.testing.assert_array_equal(whole[390:410], np.asarray(flow_to_image(field[:, 390:410], 500)))


def test_wheel_picture():
    wheel = np.asarray(flow_wheel(101)).astype(int)
    assert wheel.shape == (101, 101, 4)
    assert wheel[50, 50].tolist() == [255, 255, 255, 255]
    assert wheel[0, 0, 3] == 0
    assert hue_degrees(wheel[50, 97, :3]) == pytest.approx(0, abs=6) or hue_degrees(wheel[50, 97, :3]) > 354
    assert 160 < hue_degrees(wheel[50, 3, :3]) < 240  # leftward is blue to cyan
    with pytest.raises(BadInputError, match="size"):
        flow_wheel(2)


def test_draw_flow_takes_offsets_and_adds_a_key():
    offsets = straight(6, 0, 200, 300)
    picture = draw_flow(offsets)
    assert picture.size == (300, 200)
    assert picture.getpixel((5, 5)) == (255, 0, 0)  # 12 pixels to the right, the longest there is
    plain = draw_flow(offsets[-1] - offsets[0], wheel=False)
    assert (np.asarray(plain) == [255, 0, 0]).all()
    changed = np.argwhere((np.asarray(picture) != np.asarray(plain)).any(axis=2))
    assert changed[:, 0].min() > 100
    assert changed[:, 1].min() > 150
    assert draw_flow(np.zeros((2, 20, 20))).size == (20, 20)


def test_wrong_flow():
    for shape in ((3, 8, 8), (2, 8), (2, 0, 8)):
        with pytest.raises(BadInputError, match="flow"):
            flow_to_image(np.zeros(shape))
    for length in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInputError, match="max_length"):
            flow_to_image(np.zeros((2, 8, 8)), length)


def test_a_higher_density_draws_more_curves() -> None:
    offsets = np.zeros((3, 2, 40, 60), np.float32)
    offsets[:, 0] = np.array([-4, 0, 4], np.float32)[:, None, None]
    black = Image.new("RGB", (480, 320))
    few, usual, many = (
        np.asarray(draw_trajectories(black, offsets, density=density, legend=False)).any(axis=2).sum()
        for density in (0.5, 1, 2)
    )
    assert few < usual / 2
    assert usual < many / 2


@pytest.mark.parametrize("density", [0, -1, float("nan"), 11])
def test_a_density_out_of_range(density: float) -> None:
    with pytest.raises(BadInputError, match="density: .*; give a number above 0, up to 10"):
        draw_trajectories(Image.new("RGB", (64, 64)), np.zeros((3, 2, 8, 8), np.float32), density=density)

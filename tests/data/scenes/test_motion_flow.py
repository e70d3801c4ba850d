"""Gong et al.'s generator and line kernel: ranges, known kernels, and the two ways of blurring."""

import math

import numpy as np
import pytest
import torch

from motion_offsets.data.scenes.motion_flow import (
    FlowParameters,
    blur_with_flow,
    line_kernel,
    sample_flow,
    sample_parameters,
)


def _picture(dx: int, dy: int) -> np.ndarray:
    columns, rows, weights = line_kernel(dx, dy)
    reach = max(np.abs(columns).max(), np.abs(rows).max())
    picture = np.zeros((2 * reach + 1, 2 * reach + 1))
    picture[rows + reach, columns + reach] = weights
    return picture


def test_horizontal_and_vertical_lines_are_boxes() -> None:
    np.testing.assert_allclose(_picture(5, 0)[2], np.full(5, 0.2), atol=1e-7)
    np.testing.assert_allclose(_picture(0, -3)[:, 1], np.full(3, 1 / 3), atol=1e-7)
    assert np.count_nonzero(_picture(5, 0)) == 5


def test_an_even_length_ends_in_half_pixels() -> None:
    # Length 4: half of 3 pixels is 1.5, so the taps at +-2 lie half a pixel beyond the end.
    np.testing.assert_allclose(_picture(4, 0)[2], np.array([0.5, 1, 1, 1, 0.5]) / 4, atol=1e-7)


def test_the_slanted_kernel_is_the_classical_one() -> None:
    # fspecial('motion', 5, 53.13 degrees), worked out by hand from its definition.
    picture = _picture(3, 4)
    distances = {(0, 0): 0.0, (1, 1): 0.2, (1, 2): 0.4, (0, 1): 0.6, (1, 0): 0.8}
    weights = {tap: 1 - distance for tap, distance in distances.items()}
    middle = picture.shape[0] // 2
    for (x, y), weight in weights.items():
        if math.hypot(x, y) < 2:
            assert picture[middle + y, middle + x] / picture[middle, middle] == pytest.approx(weight, abs=1e-6)
    np.testing.assert_allclose(picture, picture[::-1, ::-1], atol=1e-7)


@pytest.mark.parametrize("motion", [(0, 0), (1, 0), (0, 1), (7, -3), (-20, 11)])
def test_kernels_sum_to_one_and_forget_the_direction_of_time(motion: tuple[int, int]) -> None:
    picture = _picture(*motion)
    assert picture.sum() == pytest.approx(1)
    np.testing.assert_allclose(picture, _picture(-motion[0], -motion[1]), atol=1e-7)


def test_no_motion_leaves_the_photo_alone() -> None:
    photo = torch.rand(3, 20, 24)
    assert torch.equal(blur_with_flow(photo, np.zeros((2, 20, 24), np.float32)), photo)


def test_blur_equals_a_convolution_where_the_flow_is_constant() -> None:
    photo = torch.rand(3, 40, 44)
    flow = np.broadcast_to(np.array([9, -5], np.float32)[:, None, None], (2, 40, 44))
    picture = torch.from_numpy(_picture(9, -5)).float()
    reach = picture.shape[0] // 2
    expected = torch.nn.functional.conv2d(photo[:, None], picture[None, None])[:, 0]
    torch.testing.assert_close(blur_with_flow(photo, flow)[:, reach:-reach, reach:-reach], expected)


def test_the_fast_blur_equals_its_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    photo, flow = torch.rand(3, 60, 70), sample_flow(44, 50, np.random.default_rng(3))
    fast = blur_with_flow(photo, flow, margin=(10, 8))
    monkeypatch.setenv("MOTION_OFFSETS_KERNELS", "plain")
    torch.testing.assert_close(fast, blur_with_flow(photo, flow, margin=(10, 8)), atol=1e-6, rtol=1e-5)


def test_a_margin_is_what_lies_outside() -> None:
    photo, flow = torch.rand(3, 60, 70), np.full((2, 60, 70), 12, np.float32)
    inner = blur_with_flow(photo, flow[:, 10:-10, 10:-10], margin=(10, 10))
    torch.testing.assert_close(inner, blur_with_flow(photo, flow)[:, 10:-10, 10:-10])


def test_flows_are_those_of_the_parameters() -> None:
    motion = FlowParameters(100, 200, (10.0, -4.0), (0.2, 0.0), zoom=0.0, rotation=0.0, centre=(100.0, 50.0))
    flow = motion.flow()
    assert (flow[1] == -4).all()
    # 20 % more on the right than on the left: 9 at x = 0, 11 at x = 200.
    assert (flow[0, 0, 0], flow[0, 0, -1]) == (9, 11)
    turning = FlowParameters(101, 101, (0.0, 0.0), (0.0, 0.0), zoom=0.0, rotation=math.atan(0.1), centre=(50.0, 50.0))
    assert turning.flow()[:, 50, 100].tolist() == [0, 5]
    zooming = FlowParameters(101, 101, (0.0, 0.0), (0.0, 0.0), zoom=0.02, rotation=0.0, centre=(50.0, 50.0))
    assert zooming.flow()[:, 50, 0].tolist() == [-round(0.02 * 50**1.5), 0]


def test_parameters_stay_in_their_ranges_and_windows_agree_with_the_whole() -> None:
    for seed in range(50):
        motion = sample_parameters(321, 481, np.random.default_rng(seed))
        assert max(map(abs, motion.translation)) <= 27
        assert max(map(abs, motion.change)) <= 0.3
        assert abs(motion.zoom) <= 5e-3
        assert abs(motion.rotation) <= math.pi / 70
        assert abs(motion.centre[0] - 240.5) <= 15
        assert abs(motion.centre[1] - 160.5) <= 15
    flow = motion.flow()
    assert (flow == flow.round()).all()
    np.testing.assert_array_equal(motion.flow(30, 40, 50, 60), flow[:, 30:80, 40:100])

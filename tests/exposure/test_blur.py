"""Warping, blur creation and equivalent kernels, against arithmetic written out in the test."""

import math

import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.exposure.blur import create_blur, equivalent_kernels, expose, expose_plain, warp
from motion_offsets.exposure.trajectories import (
    TRAJECTORIES,
    num_control_points,
    offsets_at,
    sample_times,
    trajectory_basis,
)


def _sample(image: torch.Tensor, x: float, y: float, zeros: bool) -> torch.Tensor:
    """Bilinear interpolation of eq. 4, a pixel at a time, straight from its definition."""
    height, width = image.shape[1:]
    if not zeros:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
            if 0 <= row < height and 0 <= column < width:
                total += weight * image[:, row, column]
    return total


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
def test_blur_is_the_average_of_equation_3(padding_mode: str) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    offsets = torch.randn(1, 5, 2, 6, 7, dtype=torch.float64) * 4
    expected = torch.empty(3, 6, 7, dtype=torch.float64)
    for y in range(6):
        for x in range(7):
            samples = [
                _sample(
                    image[0],
                    x + offsets[0, n, 0, y, x].item(),
                    y + offsets[0, n, 1, y, x].item(),
                    padding_mode == "zeros",
                )
                for n in range(5)
            ]
            expected[:, y, x] = torch.stack(samples).mean(0)
    torch.testing.assert_close(create_blur(image, offsets, padding_mode)[0], expected)


def test_warp_by_whole_pixels_moves_the_picture() -> None:
    image = torch.arange(20.0).view(1, 1, 4, 5)
    right, down = torch.zeros(1, 2, 4, 5), torch.zeros(1, 2, 4, 5)
    right[:, 0], down[:, 1] = 1, 1
    assert warp(image, right)[0, 0, 0].tolist() == [1, 2, 3, 4, 4]
    assert warp(image, right, "zeros")[0, 0, 0].tolist() == [1, 2, 3, 4, 0]
    assert warp(image, down)[0, 0, :, 0].tolist() == [5, 10, 15, 15]
    frames = warp(image, torch.stack([right, down], 1))
    assert frames.shape == (1, 2, 1, 4, 5)
    torch.testing.assert_close(frames[:, 1], warp(image, down))


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("trajectory", TRAJECTORIES)
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_the_fast_path_equals_its_plain_twin(trajectory: str, channels: int, padding_mode: str) -> None:
    torch.manual_seed(1)
    points = (torch.randn(4, 2 * num_control_points(trajectory, 5), 9, 71) * 8).requires_grad_()
    sharp = torch.rand(2, channels, 13, 75, requires_grad=True)
    basis = trajectory_basis(trajectory, sample_times(5), 5)
    gradient = torch.randn(4, channels, 9, 71)
    fast, plain = expose(sharp, points, basis, padding_mode), expose_plain(sharp, points, basis, padding_mode)
    torch.testing.assert_close(fast, plain, atol=2e-5, rtol=1e-4)
    for ours, twin in zip(
        torch.autograd.grad(fast, (sharp, points), gradient),
        torch.autograd.grad(plain, (sharp, points), gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, twin, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("operator", [expose, expose_plain])
def test_gradients(operator: object, padding_mode: str) -> None:
    torch.manual_seed(2)
    sharp = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    points = (torch.randn(1, 4, 5, 6, dtype=torch.float64)).requires_grad_()
    basis = trajectory_basis("quadratic", sample_times(3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda s, p: operator(s, p, basis, padding_mode), (sharp, points))


def test_the_operator_passes_torch_library_checks() -> None:
    pytest.importorskip("numba")
    from motion_offsets.kernels.exposure_operator import expose_fused

    points = torch.randn(1, 4, 6, 7, requires_grad=True)
    basis = trajectory_basis("quadratic", sample_times(5))
    torch.library.opcheck(expose_fused, (torch.rand(1, 3, 6, 7, requires_grad=True), points, basis, False))


def test_from_control_points_equals_from_offsets() -> None:
    sharp, points = torch.rand(2, 3, 16, 20), torch.randn(2, 4, 16, 20) * 3
    times = sample_times(9)
    whole = create_blur(sharp, offsets_at(points, times, "quadratic"))
    torch.testing.assert_close(
        expose(sharp, points, trajectory_basis("quadratic", times)), whole, atol=1e-5, rtol=1e-4
    )


def test_linear_light_averages_what_a_sensor_does() -> None:
    sharp = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    offsets = torch.zeros(1, 2, 2, 1, 2)
    offsets[0, 0, 0, 0, 0] = 1  # the left pixel sees black and white for half the time each
    assert create_blur(sharp, offsets)[0, 0, 0, 0].item() == 0.5
    assert create_blur(sharp, offsets, gamma=2.2)[0, 0, 0, 0].item() == pytest.approx(0.5 ** (1 / 2.2), abs=1e-6)


def test_a_margin_is_what_lies_outside() -> None:
    photo, points = torch.rand(1, 3, 40, 44), torch.randn(1, 4, 40, 44) * 4
    basis = trajectory_basis("quadratic", sample_times(7))
    inner = expose(photo, points[:, :, 8:-8, 8:-8].contiguous(), basis)
    near = points.abs().amax(1) < 6
    whole = expose(photo, points, basis)[:, :, 8:-8, 8:-8]
    torch.testing.assert_close(
        inner.movedim(1, -1)[near[:, 8:-8, 8:-8]], whole.movedim(1, -1)[near[:, 8:-8, 8:-8]], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_wild_offsets_give_pixels_of_the_image(value: float) -> None:
    pytest.importorskip("numba")
    image = torch.rand(1, 3, 5, 6)
    blurred = warp(image, torch.full((1, 2, 5, 6), value))
    assert torch.isfinite(blurred).all()
    assert blurred.min() >= image.min() - 1e-6
    assert blurred.max() <= image.max() + 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images(dtype: torch.dtype) -> None:
    image, offsets = torch.rand(1, 3, 8, 9), torch.randn(1, 3, 2, 8, 9)
    blurred = create_blur(image.to(dtype), offsets)
    assert blurred.dtype == dtype
    torch.testing.assert_close(blurred.float(), create_blur(image, offsets), atol=2e-2, rtol=2e-2)


def test_kernels_are_pictures_of_the_samples() -> None:
    offsets = torch.zeros(4, 2, 3, 3)
    offsets[:, 0, 1, 2] = torch.tensor([-2.0, -1.0, 1.0, 2.5])
    kernel = equivalent_kernels(offsets, [(2, 1)])[0]
    assert kernel.shape == (9, 9)
    assert kernel[4, 2:8].tolist() == pytest.approx([0.25, 0.25, 0, 0.25, 0.125, 0.125])
    assert kernel.sum().item() == pytest.approx(1)


def test_compiles_without_a_graph_break() -> None:
    basis = trajectory_basis("quadratic", sample_times(5))
    compiled = torch.compile(lambda s, p: expose(s, p, basis), fullgraph=True, backend="aot_eager")
    sharp, points = torch.rand(1, 3, 8, 9), torch.randn(1, 4, 8, 9, requires_grad=True)
    torch.testing.assert_close(compiled(sharp, points), expose(sharp, points, basis))


def test_bad_input_is_named() -> None:
    image = torch.rand(1, 3, 4, 4)
    with pytest.raises(BadInputError, match="reflect.*border, zeros"):
        warp(image, torch.zeros(1, 2, 4, 4), "reflect")
    with pytest.raises(BadInputError, match="6x4"):
        create_blur(image, torch.zeros(1, 3, 2, 4, 6))
    with pytest.raises(BadInputError, match=r"offsets have shape \(1, 3, 4, 4\)"):
        warp(image, torch.zeros(1, 3, 4, 4))
    with pytest.raises(BadInputError, match="gamma is -1"):
        create_blur(image, torch.zeros(1, 3, 2, 4, 4), gamma=-1)

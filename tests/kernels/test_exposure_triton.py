"""The exposure's Triton kernels against their plain twin: on a GPU, or where there is none under the interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from motion_offsets.exposure.blur import create_blur, expose, expose_plain, warp
from motion_offsets.exposure.trajectories import num_control_points, sample_times, trajectory_basis
from motion_offsets.kernels.exposure_operator import expose_fused, fused


def problem(
    device: str, trajectory: str = "quadratic", channels: int = 3, samples: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Two offset maps of a random size, for an image each or one for both, which may have a margin."""
    margin, repeat = (int(number) for number in torch.randint(0, 3, (2,)))
    height, width = (int(torch.randint(1, most, ())) for most in (6, 36))
    size = (height + 2 * margin, width + 2 * margin)
    sharp = torch.rand(1 if repeat else 2, channels, *size, device=device).to(dtype)
    points = torch.randn(2, 2 * num_control_points(trajectory, samples), height, width, device=device) * 8
    basis = trajectory_basis(trajectory, sample_times(samples), samples).to(device)
    return sharp.requires_grad_(), points.requires_grad_(), basis


def agree(sharp: Tensor, points: Tensor, basis: Tensor, padding_mode: str, tolerance: float) -> None:
    """Values and both gradients, kernels against twin."""
    assert fused(sharp, points)
    results = []
    for operator in (expose, expose_plain):
        blurred = operator(sharp, points, basis, padding_mode)
        weights = torch.linspace(-1, 1, blurred.numel(), device=blurred.device).view_as(blurred)
        results.append([blurred, *torch.autograd.grad((blurred.float() * weights).sum(), (sharp, points))])
    for ours, twin in zip(*results, strict=True):
        assert ours.dtype == twin.dtype
        assert ours.is_contiguous()
        scale = twin.float().abs().max().item()
        torch.testing.assert_close(ours.float(), twin.float(), rtol=0, atol=tolerance * max(scale, 1))


@pytest.mark.parametrize(
    ("trajectory", "channels", "samples", "padding_mode"),
    [
        ("linear", 1, 5, "border"),
        ("linear", 3, 3, "zeros"),
        ("bidirectional-linear", 3, 3, "border"),
        ("quadratic", 3, 5, "border"),
        ("quadratic", 4, 3, "zeros"),
        ("cubic", 3, 3, "zeros"),
        ("cubic", 6, 3, "border"),
        ("zero-constraint", 2, 5, "border"),
        ("zero-constraint", 5, 5, "zeros"),
    ],
)
def test_agrees_with_its_plain_twin(
    triton_device: str, trajectory: str, channels: int, samples: int, padding_mode: str
) -> None:
    torch.manual_seed(channels + 10 * samples)
    agree(*problem(triton_device, trajectory, channels, samples), padding_mode, 1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images(triton_device: str, dtype: torch.dtype) -> None:
    sharp, points, basis = problem(triton_device, dtype=dtype)
    agree(sharp, points, basis, "border", 1e-2)
    # A quarter off the pixels, where the slope is one-sided: half precision would hit them again and again.
    coarse = (points.detach().clamp(-30, 30).round() + 0.25).to(dtype)
    agree(sharp, coarse.requires_grad_(), basis, "zeros", 1e-2)


def test_a_basis_between_more_points_than_registers(triton_device: str) -> None:
    """Every sample lies between two of five points, and the last point counts in none."""
    sharp, points, _ = problem(triton_device, "zero-constraint", samples=5)
    basis = trajectory_basis("zero-constraint", torch.tensor([-1.0, -0.6, 0.1, 0.3]), 5).to(triton_device)
    agree(sharp, points, basis, "border", 1e-4)


def test_explicit_offsets_are_taken_as_they_are(triton_device: str) -> None:
    image = torch.arange(20.0, device=triton_device).view(1, 1, 4, 5)
    right, down = torch.zeros(2, 1, 2, 4, 5, device=triton_device)
    right[:, 0], down[:, 1] = 1, 1
    assert warp(image, right)[0, 0, 0].tolist() == [1, 2, 3, 4, 4]
    assert warp(image, right, "zeros")[0, 0, 0].tolist() == [1, 2, 3, 4, 0]
    assert warp(image, down)[0, 0, :, 0].tolist() == [5, 10, 15, 15]
    four = torch.stack([right, down, right, down], 1)
    torch.testing.assert_close(create_blur(image, four), (warp(image, right) + warp(image, down)) / 2)


@pytest.mark.parametrize("padding_mode", ["border", "zeros"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_wild_offsets_give_pixels_of_the_image(triton_device: str, value: float, padding_mode: str) -> None:
    image = (torch.rand(1, 3, 2, 6, device=triton_device) + 1).requires_grad_()
    offsets = torch.full((1, 2, 2, 6), value, device=triton_device, requires_grad=True)
    blurred = warp(image, offsets, padding_mode)
    grad_image, grad_offsets = torch.autograd.grad(blurred.sum(), (image, offsets))
    if padding_mode == "border":
        corner = image[..., -1:, -1:] if value > 0 else image[..., :1, :1]
        torch.testing.assert_close(blurred, corner.expand_as(blurred))
        assert grad_image.sum().item() == pytest.approx(36)
    else:
        assert not blurred.any()
        assert not grad_image.any()
    assert not grad_offsets.any()


def test_no_offset_maps_make_no_pictures(triton_device: str) -> None:
    sharp, points, basis = problem(triton_device)
    none = points[:0].detach().requires_grad_()
    blurred = expose(sharp, none, basis)
    assert blurred.shape == (0, 3, *points.shape[2:])
    grad_sharp, grad_points = torch.autograd.grad(blurred.sum(), (sharp, none))
    assert not grad_sharp.any()
    assert grad_points.shape == none.shape


def test_double_precision_is_left_to_others(triton_device: str) -> None:
    sharp, points, basis = (tensor.detach().double() for tensor in problem(triton_device))
    torch.testing.assert_close(expose(sharp, points, basis), expose_plain(sharp, points, basis, "border"))


def test_one_variable_switches_the_kernels_off(triton_device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp, points, _ = problem(triton_device)
    assert fused(sharp, points)
    monkeypatch.setenv("MOTION_OFFSETS_KERNELS", "plain")
    assert not fused(sharp, points)


def test_autocast_changes_nothing(triton_device: str) -> None:
    sharp, points, basis = problem(triton_device)
    expected = expose(sharp, points, basis)
    with torch.autocast(triton_device, torch.bfloat16):
        blurred = expose(sharp, points, basis)
        twin = expose_plain(sharp, points, basis, "border")
    torch.testing.assert_close(blurred, expected)
    torch.testing.assert_close(twin, expected, atol=1e-4, rtol=1e-4)


def test_the_operator_passes_torch_library_checks(triton_device: str) -> None:
    sharp, points, basis = problem(triton_device, "linear", 1, 3)
    torch.library.opcheck(expose_fused, (sharp, points, basis, False))


def test_compiles_without_a_graph_break(triton_device: str) -> None:
    sharp, points, basis = problem(triton_device)
    torch._dynamo.reset()
    compiled = torch.compile(lambda s, p: expose(s, p, basis), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(sharp, points), expose(sharp, points, basis))


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_what_is_not_deterministic_says_so(triton_device: str, deterministic: None) -> None:
    sharp, points, basis = problem(triton_device)
    expose(sharp.detach(), points, basis).sum().backward()
    blurred = expose(sharp, points, basis).sum()
    with pytest.raises(RuntimeError, match="gradient of the exposure to its image .* is not deterministic"):
        torch.autograd.grad(blurred, sharp, retain_graph=True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match="is not deterministic"):
        torch.autograd.grad(blurred, sharp)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_properties(0).total_memory < 24e9,
    reason="no GPU with 24 GB: the interpreter would take days",
)
def test_more_elements_than_32_bits_count(triton_device: str) -> None:
    sharp = torch.rand(60, 3, 3500, 3500, device=triton_device, dtype=torch.bfloat16)
    points = torch.randn(60, 2, 3500, 3500, device=triton_device, dtype=torch.bfloat16)
    basis = torch.ones(1, 1, device=triton_device)
    last = expose(sharp, points, basis)[-1:]
    expected = expose_plain(sharp[-1:], points[-1:], basis, "border")
    torch.testing.assert_close(last, expected, atol=1e-2, rtol=1e-2)

"""The motion-aware convolution's Triton kernels against their plain twin: on a GPU or under the interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets.kernels.motion_aware_operator import fused, motion_aware_conv2d_fused
from motion_offsets.models.motion_aware_conv import motion_aware_conv2d, motion_aware_conv2d_plain

SCALE = 0.1


def problem(
    device: str, shape: tuple[int, ...] = (2, 3, 4, 6, 5), dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, channels, out, *size = shape
    x = torch.randn(batch, channels, *size, device=device, dtype=dtype)
    weight = torch.randn(out, channels, 3, 3, device=device, dtype=dtype)
    bias = torch.randn(out, device=device, dtype=dtype)
    return x, weight, bias, 30 * torch.randn(batch, 9, 2, *size, device=device)


def agree(tensors: tuple[Tensor, ...], tolerance: float) -> None:
    """Values and all gradients, kernels against twin."""
    assert fused(tensors[0], tensors[3])
    results = []
    for conv in (motion_aware_conv2d, motion_aware_conv2d_plain):
        learned = [tensor.clone().requires_grad_() for tensor in tensors]
        out = conv(*learned, SCALE)
        weights = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape)
        results.append([out, *torch.autograd.grad((out.float() * weights).sum(), learned)])
    for ours, twin in zip(*results, strict=True):
        assert ours.dtype == twin.dtype
        scale = twin.float().abs().max().item()
        torch.testing.assert_close(ours.float(), twin.float(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("shape", [(2, 3, 4, 6, 5), (1, 20, 33, 7, 11), (1, 33, 70, 3, 9), (3, 1, 1, 1, 1)])
def test_agrees_with_its_plain_twin(triton_device: str, shape: tuple[int, ...]) -> None:
    agree(problem(triton_device, shape), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(triton_device: str, dtype: torch.dtype) -> None:
    if triton_device == "cpu" and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter takes bfloat16 for whole numbers in tl.dot")
    agree(problem(triton_device, (1, 20, 18, 4, 9), dtype), 3e-2)


def test_any_order_in_memory(triton_device: str) -> None:
    x, weight, bias, offsets = problem(triton_device)
    last = offsets.flatten(1, 2).contiguous(memory_format=torch.channels_last).unflatten(1, (9, 2))
    agree((x.contiguous(memory_format=torch.channels_last), weight, bias, last), 1e-4)


def test_regular_grid_is_ordinary_convolution(triton_device: str) -> None:
    x, weight, bias, _ = problem(triton_device)
    taps = [(column - 1, row - 1) for row in range(3) for column in range(3)]
    grid = torch.tensor(taps, device=triton_device).div(SCALE).view(1, 9, 2, 1, 1).expand(2, 9, 2, 6, 5)
    got = motion_aware_conv2d(x, weight, bias, grid, SCALE)
    torch.testing.assert_close(got, functional.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-3)
    without = motion_aware_conv2d(x, weight, None, grid, SCALE)
    torch.testing.assert_close(without, functional.conv2d(x, weight, padding=1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("value", [1e30, -1e30, float("inf"), float("nan")])
def test_offsets_far_outside_leave_the_bias(triton_device: str, value: float) -> None:
    x, weight, bias, offsets = problem(triton_device)
    far = torch.full_like(offsets, value).requires_grad_()
    got = motion_aware_conv2d(x.requires_grad_(), weight, bias, far, SCALE)
    torch.testing.assert_close(got, bias.view(1, -1, 1, 1).expand_as(got))
    for grad in torch.autograd.grad(got.square().sum(), (x, far)):
        assert not grad.any()


def test_empty_input(triton_device: str) -> None:
    x, weight, bias, offsets = problem(triton_device)
    assert motion_aware_conv2d(x[:0], weight, bias, offsets[:0], SCALE).shape == (0, 4, 6, 5)


def test_autocast_computes_in_half_precision_with_exact_positions(triton_device: str) -> None:
    tensors = problem(triton_device)
    with torch.autocast(triton_device, torch.float16):
        got = motion_aware_conv2d(*tensors, SCALE)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), motion_aware_conv2d(*tensors, SCALE), rtol=0, atol=0.1)


def test_the_operator_passes_torch_library_checks(triton_device: str) -> None:
    tensors = [tensor.requires_grad_() for tensor in problem(triton_device, (1, 2, 2, 2, 3))]
    torch.library.opcheck(motion_aware_conv2d_fused, (*tensors, SCALE))


def test_compiled_equals_eager(triton_device: str) -> None:
    tensors = problem(triton_device)
    torch._dynamo.reset()
    compiled = torch.compile(motion_aware_conv2d, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*tensors, SCALE), motion_aware_conv2d(*tensors, SCALE))


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_what_is_not_deterministic_says_so(triton_device: str, deterministic: None) -> None:
    x, weight, bias, offsets = problem(triton_device)
    motion_aware_conv2d(x, weight.requires_grad_(), bias, offsets.requires_grad_(), SCALE).sum().backward()
    out = motion_aware_conv2d(x.requires_grad_(), weight, bias, offsets, SCALE)
    with pytest.raises(RuntimeError, match="motion-aware convolution to its features .* is not deterministic"):
        out.sum().backward()

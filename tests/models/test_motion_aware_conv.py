"""Motion-aware convolution (eq. 16): against a direct loop, an ordinary convolution, and its own twin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motion_offsets.errors import BadInputError
from motion_offsets.kernels import use_kernels
from motion_offsets.models.motion_aware_conv import MotionAwareConv2d, motion_aware_conv2d, motion_aware_conv2d_plain

SCALE = 0.1
TWINS = [
    pytest.param(motion_aware_conv2d_plain, id="plain"),
    pytest.param(
        motion_aware_conv2d, id="kernels", marks=pytest.mark.skipif(not use_kernels(), reason="numba is not installed")
    ),
]


def problem(
    batch: int = 2,
    channels: int = 3,
    out: int = 4,
    size: tuple[int, int] = (6, 5),
    dtype: torch.dtype = torch.float64,
    reach: float = 20,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(batch, channels, *size, dtype=dtype)
    weight, bias = torch.randn(out, channels, 3, 3, dtype=dtype), torch.randn(out, dtype=dtype)
    offsets = reach * torch.randn(batch, 9, 2, *size, dtype=torch.promote_types(dtype, torch.float32))
    return x, weight, bias, offsets


def regular_grid(batch: int, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    taps = [(column - 1, row - 1) for row in range(3) for column in range(3)]
    return torch.tensor(taps, dtype=dtype).div(SCALE).view(1, 9, 2, 1, 1).expand(batch, 9, 2, *size)


def direct_loop(x: Tensor, weight: Tensor, bias: Tensor, offsets: Tensor) -> Tensor:
    """Eq. 16 written out, one product at a time."""
    batch, channels, height, width = x.shape
    out = bias.view(1, -1, 1, 1).repeat(batch, 1, height, width)
    for b, k, py, px in itertools.product(range(batch), range(9), range(height), range(width)):
        sx = px + SCALE * offsets[b, k, 0, py, px].item()
        sy = py + SCALE * offsets[b, k, 1, py, px].item()
        for qy, qx in itertools.product((math.floor(sy), math.floor(sy) + 1), (math.floor(sx), math.floor(sx) + 1)):
            if 0 <= qy < height and 0 <= qx < width:
                share = (1 - abs(sx - qx)) * (1 - abs(sy - qy))
                out[b, :, py, px] += share * weight[:, :, k // 3, k % 3] @ x[b, :, qy, qx]
    return out


@pytest.mark.parametrize("conv", TWINS)
def test_agrees_with_direct_double_precision_loop(conv) -> None:
    arguments = problem()
    torch.testing.assert_close(conv(*arguments, SCALE), direct_loop(*arguments), rtol=0, atol=1e-10)


@pytest.mark.parametrize("conv", TWINS)
@pytest.mark.parametrize("size", [(6, 5), (1, 7), (40, 33)])
def test_regular_grid_is_ordinary_convolution(conv, size: tuple[int, int]) -> None:
    x, weight, bias, _ = problem(size=size)
    got = conv(x, weight, bias, regular_grid(2, size, x.dtype), SCALE)
    torch.testing.assert_close(got, functional.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("conv", TWINS)
def test_no_motion_is_a_one_by_one_convolution(conv) -> None:
    x, weight, _, offsets = problem()
    got = conv(x, weight, None, torch.zeros_like(offsets), SCALE)
    torch.testing.assert_close(got, functional.conv2d(x, weight.sum((2, 3), keepdim=True)))


@pytest.mark.parametrize("conv", TWINS)
def test_offsets_far_outside_leave_the_bias(conv) -> None:
    x, weight, bias, offsets = problem(dtype=torch.float32)
    far = torch.where(offsets > 0, 1e20, -1e20).requires_grad_()
    got = conv(x, weight, bias, far, SCALE)
    torch.testing.assert_close(got, bias.view(1, -1, 1, 1).expand_as(got))
    (grad,) = torch.autograd.grad(got.square().sum(), far)
    assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("conv", TWINS)
def test_gradients(conv) -> None:
    arguments = [tensor.requires_grad_() for tensor in problem(batch=2, channels=2, out=1, size=(3, 2))]
    assert torch.autograd.gradcheck(lambda *tensors: conv(*tensors, SCALE), arguments)


@pytest.mark.skipif(not use_kernels(), reason="numba is not installed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 3])
def test_twins_agree_beyond_one_tile(dtype: torch.dtype, batch: int) -> None:
    arguments = problem(batch, 8, 6, (37, 41), dtype, reach=60)
    signs = torch.randn(batch, 6, 37, 41)
    results = []
    for conv in (motion_aware_conv2d_plain, motion_aware_conv2d):
        tensors = [tensor.clone().requires_grad_() for tensor in arguments]
        out = conv(*tensors, SCALE)
        assert out.dtype == dtype
        results.append([out, *torch.autograd.grad((out.float() * signs).sum(), tensors)])
    for plain, fast in zip(*results, strict=True):
        scale = plain.float().abs().max().item()
        tolerance = 1e-4 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(fast.float(), plain.float(), rtol=0, atol=tolerance * scale)


@pytest.mark.skipif(not use_kernels(), reason="numba is not installed")
def test_operator_is_registered_properly() -> None:
    from motion_offsets.kernels.motion_aware_operator import motion_aware_conv2d_fused

    tensors = [tensor.requires_grad_() for tensor in problem(dtype=torch.float32)]
    torch.library.opcheck(motion_aware_conv2d_fused, (*tensors, SCALE))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not use_kernels(), reason="numba is not installed")
def test_threads_of_pytorch_are_left_as_they_were(two_threads: None) -> None:
    motion_aware_conv2d(*problem(size=(64, 64)), SCALE)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_without_gradients_on_several_threads(mode: Callable[[], Any], two_threads: None) -> None:
    arguments = problem(size=(64, 64), dtype=torch.float32)
    expected = motion_aware_conv2d_plain(*arguments, SCALE)
    with mode():
        torch.testing.assert_close(motion_aware_conv2d(*arguments, SCALE), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernels", ["", "plain"])
def test_compiled_equals_eager(monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    monkeypatch.setenv("MOTION_OFFSETS_KERNELS", kernels)
    torch._dynamo.reset()
    x, weight, bias, offsets = problem(dtype=torch.float32)
    compiled = torch.compile(motion_aware_conv2d, fullgraph=True, backend="aot_eager")
    got = compiled(x, weight, bias, offsets, SCALE)
    torch.testing.assert_close(got, motion_aware_conv2d(x, weight, bias, offsets, SCALE))


def test_autocast_computes_in_bfloat16_with_exact_positions() -> None:
    x, weight, bias, offsets = problem(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got = motion_aware_conv2d(x, weight, bias, offsets, SCALE)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), motion_aware_conv2d(x, weight, bias, offsets, SCALE), rtol=0, atol=0.2)


@pytest.mark.parametrize("shape", [(0, 3, 6, 5), (2, 3, 0, 5)])
def test_empty_input(shape: tuple[int, ...]) -> None:
    batch, _, height, width = shape
    x = torch.randn(shape, requires_grad=True)
    conv = MotionAwareConv2d(3, 4)
    got = conv(x, torch.randn(batch, 9, 2, height, width))
    assert got.shape == (batch, 4, height, width)
    got.sum().backward()


def test_module_has_the_parameters_of_an_ordinary_convolution() -> None:
    conv = MotionAwareConv2d(3, 4, scale=SCALE)
    assert {name: tuple(value.shape) for name, value in conv.state_dict().items()} == {
        "weight": (4, 3, 3, 3),
        "bias": (4,),
    }
    x, _, _, offsets = problem(dtype=torch.float32)
    torch.testing.assert_close(conv(x, offsets), motion_aware_conv2d(x, conv.weight, conv.bias, offsets, SCALE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"motion_offsets": torch.zeros(2, 8, 2, 6, 5)}, "motion offsets have shape"),
        ({"weight": torch.zeros(4, 3, 5, 5)}, "do not go with a filter"),
        ({"x": torch.zeros(2, 2, 6, 5)}, "do not go with a filter"),
        ({"bias": torch.zeros(3)}, "bias has shape"),
    ],
)
def test_wrong_shapes_are_refused(change: dict[str, Tensor], words: str) -> None:
    arguments = dict(zip(("x", "weight", "bias", "motion_offsets"), problem(dtype=torch.float32), strict=True))
    with pytest.raises(BadInputError, match=words):
        motion_aware_conv2d(**{**arguments, **change})

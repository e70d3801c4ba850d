"""Derivatives of every order and mode, of what goes through operators of ours and of their plain twins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from motion_offsets.exposure.blur import create_blur, expose, warp
from motion_offsets.exposure.losses import total_variation_loss
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis
from motion_offsets.models.motion_aware_conv import motion_aware_conv2d

BASIS = trajectory_basis("quadratic", sample_times(3, dtype=torch.float64), 3)


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return (torch.rand(shape, dtype=torch.float64) - 0.5) * scale


def cases() -> dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]]:
    generator = torch.random.get_rng_state()
    torch.manual_seed(4)
    image, points = drawn(1, 2, 3, 4) + 0.6, drawn(1, 4, 3, 4, scale=3.0)
    offsets, features = drawn(1, 3, 2, 3, 4, scale=3.0), drawn(1, 2, 3, 4)
    taps, weight, bias = drawn(1, 9, 2, 3, 4, scale=30.0), drawn(2, 2, 3, 3), drawn(2)
    torch.random.set_rng_state(generator)
    return {
        "warp": (warp, (image, offsets[:, 0])),
        "warp several": (warp, (image, offsets)),
        "warp zeros": (lambda image, offsets: warp(image, offsets, "zeros"), (image, offsets)),
        "create_blur": (create_blur, (image, offsets)),
        "create_blur in linear light": (lambda image, o: create_blur(image, o, gamma=2.2), (image, offsets)),
        "expose": (lambda image, points: expose(image, points, BASIS), (image, points)),
        "expose zeros": (lambda image, points: expose(image, points, BASIS, "zeros"), (image, points)),
        "motion_aware_conv2d": (motion_aware_conv2d, (features, weight, bias, taps)),
        "total_variation_loss": (lambda points: total_variation_loss(points, BASIS), (points,)),
    }


NAMES = list(cases())


@pytest.fixture(params=["fused", "plain"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setenv("MOTION_OFFSETS_KERNELS", "plain")
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_first_derivatives_in_both_modes(name: str, kernels: str) -> None:
    function, inputs = cases()[name]
    tracked = tuple(each.clone().requires_grad_() for each in inputs)
    assert torch.autograd.gradcheck(function, tracked, check_forward_ad=True, check_batched_grad=False, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives(name: str) -> None:
    """Of the fused operators; without them, ``grid_sample`` says itself that it has none."""
    function, inputs = cases()[name]
    tracked = tuple(each.clone().requires_grad_() for each in inputs)
    assert torch.autograd.gradgradcheck(function, tracked, check_batched_grad=False, fast_mode=True)


@pytest.mark.parametrize("name", ["warp", "create_blur", "motion_aware_conv2d", "total_variation_loss"])
def test_jvp_is_what_finite_differences_give(name: str, kernels: str) -> None:
    function, inputs = cases()[name]
    directions = tuple(torch.cos(torch.arange(each.numel(), dtype=each.dtype)).view_as(each) for each in inputs)
    _, found = torch.func.jvp(function, inputs, directions)
    step = 1e-6
    ahead, behind = (
        function(*(each + sign * step * way for each, way in zip(inputs, directions, strict=True))) for sign in (1, -1)
    )
    torch.testing.assert_close(found, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)
    assert found.abs().max() > 1e-3


def test_forward_over_reverse() -> None:
    """A Hessian times a vector, as second-order optimisers take it."""
    function, (image, points) = cases()["expose"]

    def energy(points: Tensor) -> Tensor:
        return function(image, points).square().sum()

    direction = torch.ones_like(points)
    _, forward = torch.func.jvp(torch.func.grad(energy), (points,), (direction,))
    tracked = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(tracked), tracked, create_graph=True)
    (reverse,) = torch.autograd.grad((gradient * direction).sum(), tracked)
    torch.testing.assert_close(forward, reverse)
    assert forward.abs().max() > 1e-3


def test_only_some_inputs_are_asked_for() -> None:
    function, (image, points) = cases()["expose"]
    tracked = points.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda points: function(image, points), (tracked,), check_batched_grad=False, fast_mode=True
    )

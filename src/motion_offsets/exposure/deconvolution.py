"""Deblurring without a network: the sharp image that best explains the photo, given its motion (eq. 3 inverted).

The conventional row of the paper's Table 5, and a deblurrer that no training set biased.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import BadInputError
from .blur import expose

DEFAULT_SMOOTHNESS = 0.006
DEFAULT_STEPS = 60


def deconvolve(
    blurred: Tensor,
    control_points: Tensor,
    basis: Tensor,
    smoothness: float = DEFAULT_SMOOTHNESS,
    steps: int = DEFAULT_STEPS,
    padding_mode: str = "border",
    gamma: float | None = None,
    on_step: Callable[[], None] | None = None,
) -> Tensor:
    """Maximum a posteriori estimate with a total-variation prior: ``min |Bx - y|^2 / 2 + s |grad x|``, x in [0, 1].

    ``B`` is the exposure along the given motion, applied matrix-free; its adjoint is the gradient of the exposure to
    its image. Solved by the primal-dual splitting of Condat and Vu; the total variation is that of each colour's
    gradient vectors.

    Args:
        blurred: the photo ``y``, ``(B, 3, H, W)`` in [0, 1].
        control_points: ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`.
        smoothness: weight ``s`` of the prior; more suppresses noise and ringing, and flattens texture.
        steps: iterations; each costs one exposure and one adjoint.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.
        gamma: ``None`` if encoded values were averaged; a number such as 2.2 solves in linear light.
        on_step: called after each iteration.

    Returns:
        ``x``, ``(B, 3, H, W)`` float32.

    Raises:
        BadInputError: a negative smoothness, or less than one step.
    """
    if smoothness < 0:
        raise BadInputError(f"smoothness is {smoothness}; it must be 0 or more")
    if steps < 1:
        raise BadInputError(f"steps is {steps}; it must be at least 1")
    with torch.inference_mode(False), torch.no_grad():
        # A pipeline's answers are tensors of inference mode, which no gradient may remember: copies are.
        blurred, control_points, basis = (given.clone() for given in (blurred, control_points, basis))
        return _solve(blurred, control_points, basis, smoothness, steps, padding_mode, gamma, on_step)


def _solve(
    blurred: Tensor,
    control_points: Tensor,
    basis: Tensor,
    smoothness: float,
    steps: int,
    padding_mode: str,
    gamma: float | None,
    on_step: Callable[[], None] | None,
) -> Tensor:
    target = blurred.float() if gamma is None else blurred.float().clamp(min=0) ** gamma
    # |B|^2 <= 1 up to what gathers at borders and where paths converge, |grad|^2 <= 8.
    dual_step = 0.05
    primal_step = 1 / (1.0 + 8 * dual_step)
    image, dual = target.clone(), torch.zeros(2, *target.shape, device=target.device)
    for _ in range(steps):
        descent = _adjoint_of_residual(image, target, control_points, basis, padding_mode)
        following = (image - primal_step * (descent - _divergence(dual))).clamp_(0, 1)
        dual = dual + dual_step * _gradient(2 * following - image)
        length = dual.square().sum(0).sqrt().clamp_(min=1e-12)
        dual = dual * (smoothness / length).clamp_(max=1)
        image = following
        if on_step is not None:
            on_step()
    return image if gamma is None else image ** (1 / gamma)


def _adjoint_of_residual(
    image: Tensor, target: Tensor, control_points: Tensor, basis: Tensor, padding_mode: str
) -> Tensor:
    """``B'(Bx - y)``."""
    with torch.enable_grad():
        variable = image.detach().requires_grad_()
        residual = expose(variable, control_points, basis, padding_mode) - target
        (descent,) = torch.autograd.grad(residual, variable, residual.detach())
    return descent


def _gradient(image: Tensor) -> Tensor:
    """Differences to the right and down, ``(2, B, C, H, W)``; 0 at the far border."""
    gradient = torch.zeros(2, *image.shape, dtype=image.dtype, device=image.device)
    gradient[0, ..., :-1] = image.diff(dim=-1)
    gradient[1, ..., :-1, :] = image.diff(dim=-2)
    return gradient


def _divergence(dual: Tensor) -> Tensor:
    """The negative adjoint of :func:`_gradient`."""
    across, down = dual
    divergence = torch.zeros_like(across)
    divergence[..., :-1] += across[..., :-1]
    divergence[..., 1:] -= across[..., :-1]
    divergence[..., :-1, :] += down[..., :-1, :]
    divergence[..., 1:, :] -= down[..., :-1, :]
    return divergence

"""Edges of an image that is still blurred, where they would be were it sharp.

Fitting a blur to an image that is not quite sharp finds too little blur. Blind deconvolution therefore fits it to
*predicted* edges: a shock filter turns blurred edges into steps, and only strong gradients count (Cho and Lee 2009).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHOCK_STEPS, SHOCK_STEP = 15, 0.3
SMOOTHED = 1.0  # standard deviation, pixels, of what tells the side of an edge
STRONG_SHARE = 0.3  # of the pixels have a strong gradient


def shock_filtered(image: Tensor) -> Tensor:
    """``(B, 1, H, W)`` with its edges as steps, by the shock filter ``I_t = -sign(D) |grad I|`` of Osher and Rudin.

    ``D`` is the second derivative of the smoothed image along its gradient: on either side of an edge its sign tells
    whether a pixel goes to the largest or to the smallest of its neighbours.
    """
    for _ in range(SHOCK_STEPS):
        side = _second_derivative(_smoothed(image))
        padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
        beside = torch.stack(
            [padded[..., 1:-1, 2:], padded[..., 1:-1, :-2], padded[..., 2:, 1:-1], padded[..., :-2, 1:-1], image]
        )
        up, down = beside.amax(0) - image, image - beside.amin(0)
        image = image + SHOCK_STEP * torch.where(side > 0, -down, torch.where(side < 0, up, torch.zeros_like(up)))
    return image


def _smoothed(image: Tensor) -> Tensor:
    radius = round(3 * SMOOTHED)
    places = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(places**2) / (2 * SMOOTHED**2))
    kernel = kernel / kernel.sum()
    rows = functional.conv2d(functional.pad(image, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return functional.conv2d(functional.pad(rows, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))


def _second_derivative(image: Tensor) -> Tensor:
    """``grad I . (Hessian I) grad I``, of the sign of the second derivative along the gradient."""
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")

    def at(down: int, right: int) -> Tensor:
        height, width = image.shape[-2:]
        return padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    across, along = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    both = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    horizontal, vertical = at(0, 1) - 2 * image + at(0, -1), at(1, 0) - 2 * image + at(-1, 0)
    return across**2 * horizontal + 2 * across * along * both + along**2 * vertical


def gradients(image: Tensor) -> Tensor:
    """Differences to the next column and to the next row, ``(B, 1, H, W)`` to ``(B, 2, H, W)``; 0 at the last ones."""
    padded = functional.pad(image, (0, 1, 0, 1), mode="replicate")
    return torch.cat([padded[..., :-1, 1:] - image, padded[..., 1:, :-1] - image], 1)


def strong_gradients(image: Tensor) -> Tensor:
    """:func:`gradients` where they are among the longest of an image, a share of :data:`STRONG_SHARE`; 0 elsewhere."""
    found = gradients(image)
    lengths = found.square().sum(1, keepdim=True)
    rank = max(1, round((1 - STRONG_SHARE) * lengths[0].numel()))
    bounds = lengths.flatten(1).kthvalue(rank).values
    return found * (lengths > bounds.view(-1, 1, 1, 1))

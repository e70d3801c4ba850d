"""Reading an image between its pixels, bilinearly: by ``grid_sample``, or by indexing where that lacks a derivative.

``grid_sample`` has neither a forward-mode derivative (``torch.func.jvp``) nor a second one. Indexing has all of them,
and takes several times its time and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional


def forward_mode() -> bool:
    """Whether a forward-mode derivative is being taken, of whatever: operators without a formula for it would pass by
    with a derivative of 0."""
    return getattr(forward_ad, "_current_level", -1) >= 0


def sample(image: Tensor, across: Tensor, down: Tensor, padding_mode: str) -> Tensor:
    """``image(down, across)``.

    Args:
        image: ``(B, C, H, W)``.
        across: ``(B, h, w)``, pixels from the centre of the leftmost one.
        down: ``(B, h, w)``, pixels from the centre of the topmost one.
        padding_mode: ``"border"`` or ``"zeros"``.

    Returns:
        ``(B, C, h, w)``, in the type of ``image``, which is that of the positions.
    """
    if forward_mode():
        return sample_by_index(image, across, down, padding_mode)
    grid = torch.stack([(2 * across + 1) / image.shape[3] - 1, (2 * down + 1) / image.shape[2] - 1], dim=-1)
    return functional.grid_sample(image, grid, "bilinear", padding_mode, align_corners=False)


def sample_by_index(image: Tensor, across: Tensor, down: Tensor, padding_mode: str) -> Tensor:
    """Like :func:`sample`; every derivative of it is known to PyTorch."""
    height, width = image.shape[2:]
    # Two pixels outside of everything all is zero, or the border already.
    outside = 0 if padding_mode == "border" else 2
    across, down = across.clamp(-outside, width - 1 + outside), down.clamp(-outside, height - 1 + outside)
    left, top = across.floor(), down.floor()
    right_share, lower_share = across - left, down - top
    columns, rows, pixels = left.long(), top.long(), image.flatten(2)
    total = torch.zeros((), dtype=image.dtype, device=image.device)
    for right, share_x in ((0, 1 - right_share), (1, right_share)):
        for lower, share_y in ((0, 1 - lower_share), (1, lower_share)):
            column, row = columns + right, rows + lower
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            index = index.flatten(1)[:, None].expand(-1, image.shape[1], -1)
            value = pixels.gather(2, index).unflatten(2, across.shape[1:])
            total = total + value * (share_x * share_y * inside)[:, None]
    return total


def second_derivative(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    grad: Tensor,
    outer: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """The derivative of the gradient of a function, by a function that has one: ``d sum_i <outer_i, g_i>`` where
    ``g_i`` is the gradient of ``<grad, function(*inputs)>`` to input i.

    Args:
        function: built of what PyTorch has second derivatives of.
        inputs: of the function.
        grad: of its result.
        outer: one for each input; ``None`` or an empty one where no gradient was asked for.

    Returns:
        Gradients to ``grad`` and to each of the inputs.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, because grad may itself depend on the inputs, and that path is not this function's.
        tracked = [
            each.view_as(each) if each.requires_grad else each.detach().requires_grad_() for each in (grad, *inputs)
        ]
        firsts = torch.autograd.grad(function(*tracked[1:]), tracked[1:], tracked[0], create_graph=True)
        pairs = [(one, two) for one, two in zip(firsts, outer, strict=True) if two is not None and two.numel()]
        total = torch.stack([(first * weight).sum() for first, weight in pairs]).sum()
        return torch.autograd.grad(total, tracked, create_graph=create_graph, allow_unused=True)

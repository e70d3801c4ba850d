"""The losses of self-supervised exposure trajectory recovery (eq. 6-11). Sums are means, as in the published code."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import BadInputError
from ..runtime.extras import require
from .sampling import forward_mode
from .trajectories import split_control_points

try:
    from motion_offsets.kernels import cpu_kernels, cpu_serves
except ImportError:  # no package: remote code of the Hub

    def cpu_serves(name: str, check: str = "check") -> bool:
        return False


KERNEL_POINTS = 3  # control points a pixel that the fused total variation takes


def reconstruction_loss(reblurred: Tensor, blurred: Tensor) -> Tensor:
    """Mean squared error between the reblurred and the given blurry image (eq. 7)."""
    return functional.mse_loss(reblurred.float(), blurred.float())


def ms_ssim_loss(reblurred: Tensor, blurred: Tensor, window_size: int = 11) -> Tensor:
    """``1 - MS-SSIM`` (eq. 8) of two ``(B, 3, H, W)`` images in [0, 1], five scales.

    Five scales need sides of more than ``16 * (window_size - 1)`` pixels: 161 for the usual window of 11, 97 for one
    of 7, which is the choice to make for crops of 128. Smaller images raise :class:`BadInputError`.
    """
    require("the loss MS-SSIM, which ssim_weight 0 leaves out,", "pytorch_msssim")
    from pytorch_msssim import ms_ssim

    side = min(reblurred.shape[-2:])
    if side <= 16 * (window_size - 1):
        raise BadInputError(
            f"MS-SSIM with a window of {window_size} needs sides of at least {16 * (window_size - 1) + 1} pixels, not "
            f"{side}: take larger crops, or a smaller ssim_window_size (7 for crops of 128), or ssim_weight 0"
        )
    return 1 - ms_ssim(reblurred.float(), blurred.float(), data_range=1.0, win_size=window_size)


def regularization_loss(control_points: Tensor, basis: Tensor) -> Tensor:
    """Mean square of all offsets (eq. 9), from ``(B, 2K, H, W)`` control points and the ``(N, K)`` basis.

    The offsets are linear in the control points, so their mean square is a quadratic form and needs no offsets.
    """
    points = split_control_points(control_points.float())
    gram = basis.to(points).T @ basis.to(points) / basis.shape[0]
    total = points.new_zeros(())
    alone = _samples_alone(basis)
    for i in range(points.shape[1]):
        for j in range(i, i + 1 if alone else points.shape[1]):
            share = gram[i, j] * (1 if i == j else 2)
            total = total + share * (points[:, i] * points[:, j]).mean()
    return total


def _samples_alone(basis: Tensor) -> bool:
    """Whether each sample is a control point of its own (zero-constraint), so that no two of them belong together."""
    rows, columns = basis.shape
    return rows == columns and bool(torch.equal(basis, torch.eye(rows).to(basis)))


def total_variation_loss(control_points: Tensor, basis: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring offsets, rows plus columns (eq. 10).

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)`` at the N sample times.
    """
    served = control_points.device.type == "cpu" and basis.shape[1] <= KERNEL_POINTS and not forward_mode()
    if served and cpu_serves("variation_cpu"):
        return cpu_kernels("variation_cpu").variation_cpu(control_points, basis)
    return total_variation_plain(control_points, basis)


def total_variation_plain(control_points: Tensor, basis: Tensor) -> Tensor:
    """The plain PyTorch twin of the fused kernel; one sample at a time, so that no N-fold tensor is built."""
    points = split_control_points(control_points)
    points = points if points.dtype is torch.float64 else points.float()
    total = points.new_zeros(())
    for difference in (points.diff(dim=-1), points.diff(dim=-2)):
        if difference.numel():
            samples = [torch.einsum("k,bkchw->bchw", row, difference).abs().mean() for row in basis.to(points)]
            total = total + torch.stack(samples).mean()
    return total

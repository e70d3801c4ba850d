"""Metrics of reblurred and deblurred images and of estimated motion (sections 6.3-6.5 of the paper).

Images are ``(B, C, H, W)`` in [0, 1], motion is in pixels; each function returns a float64 value an image, ``(B,)``.

One photo cannot tell a motion from its time reversal, and an estimator may take either in each pixel. Every
metric against true motion therefore takes, pixel by pixel, the better of the two directions of time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInputError
from ..runtime.extras import require

MOTION_BORDER = 30
"""Pixels at each border that the motion errors leave out: what moved there came from, or went, outside the image."""


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, dB, of values in [0, 1]: ``-10 log10(mean squared error)``.

    Args:
        images: ``(B, C, H, W)``.
        references: the same shape.

    Returns:
        ``(B,)`` float64; infinite where an image equals its reference.

    Raises:
        BadInputError: the shapes differ or are not four-dimensional.
    """
    _check_pair("images", images, references)
    return -10 * torch.log10((images.double() - references.double()).square().mean(dim=(1, 2, 3)))


def video_psnr(frames: Tensor, true: Tensor) -> float:
    """Mean PSNR in dB of the frames ``(1, T, 3, H, W)``, the clip run in the better direction of time."""
    return max(float(psnr(clip[0], true[0]).mean()) for clip in (frames, frames.flip(1)))


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity: scikit-image's ``structural_similarity`` on floats, ``data_range=1``, colours averaged.

    Its window is uniform, 7x7 pixels. Which SSIM the paper's tables hold is not known (its scripts disagree), so ours
    is to be compared with ours.

    Args:
        images: ``(B, C, H, W)``, sides of at least 7 pixels.
        references: the same shape.

    Returns:
        ``(B,)`` float64 on the CPU, at most 1.

    Raises:
        BadInputError: the shapes differ, are not four-dimensional, or are smaller than the window; or scikit-image is
            not installed.
    """
    require("SSIM", "skimage")
    from skimage.metrics import structural_similarity

    _check_pair("images", images, references)
    if min(images.shape[-2:]) < 7:
        raise BadInputError(f"images are {images.shape[3]}x{images.shape[2]}; SSIM needs sides of at least 7 pixels")
    pairs = zip(images.double().cpu().numpy(), references.double().cpu().numpy(), strict=True)
    values = [structural_similarity(image, reference, channel_axis=0, data_range=1.0) for image, reference in pairs]
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


def motion_mse(displacement: Tensor, target: Tensor, border: int = MOTION_BORDER) -> Tensor:
    """Mean squared error of a displacement, squared pixels, whichever way time runs.

    In each pixel the error is the smaller of those of the displacement and of its opposite; the mean goes over both
    components and over all pixels but those of the border.

    Args:
        displacement: ``(B, 2, H, W)``, the offset at t = 1 less that at t = -1, dx and dy.
        target: the true one, the same shape.
        border: pixels left out at each border.

    Returns:
        ``(B,)`` float64.

    Raises:
        BadInputError: the shapes differ or leave nothing inside the border.
    """
    found, true = _inside(displacement, target, border)
    forwards, backwards = ((sign * found - true).square().mean(dim=1) for sign in (1, -1))
    return torch.minimum(forwards, backwards).mean(dim=(1, 2))


def motion_mse_published(displacement: Tensor, target: Tensor, border: int = MOTION_BORDER) -> Tensor:
    """Mean squared error of a displacement as the paper's published script computes it, squared pixels.

    It compares absolute values, component by component, which forgives mirrored directions as well as reversed ones:
    (3, 4) for (3, -4) is not an error to it. It is never larger than :func:`motion_mse`, whose arguments it shares.
    """
    found, true = _inside(displacement, target, border)
    return (found.abs() - true.abs()).square().mean(dim=(1, 2, 3))


def trajectory_error(motion_offsets: Tensor, target: Tensor, border: int = 0, valid: Tensor | None = None) -> Tensor:
    """Mean distance of a path from the true one over the whole exposure, pixels, whichever way time runs.

    In each pixel the distances of the N samples are averaged, for the path as it is and for its reversal in time; the
    smaller average counts.

    Args:
        motion_offsets: ``(B, N, 2, H, W)``, dx and dy, at N times that are symmetric about t = 0.
        target: the true offsets, the same shape.
        border: pixels left out at each border.
        valid: ``(B, 1, H, W)`` bool, the pixels that count; by default all.

    Returns:
        ``(B,)`` float64; NaN where no pixel counts.

    Raises:
        BadInputError: the shapes differ or leave nothing inside the border.
    """
    found, true = _inside(motion_offsets, target, border)
    if found.ndim != 5:
        raise BadInputError(f"motion offsets have shape {tuple(found.shape)}; they must be (B, N, 2, H, W)")
    forwards, backwards = (torch.linalg.vector_norm(path - true, dim=2).mean(dim=1) for path in (found, found.flip(1)))
    error = torch.minimum(forwards, backwards)
    if valid is None:
        return error.mean(dim=(1, 2))
    counts = valid[:, 0, border : valid.shape[2] - border, border : valid.shape[3] - border]
    return torch.where(counts, error, 0).sum(dim=(1, 2)) / counts.sum(dim=(1, 2))


def _check_pair(what: str, images: Tensor, references: Tensor) -> None:
    if images.shape != references.shape or images.ndim != 4:
        raise BadInputError(
            f"{what} have shape {tuple(images.shape)} and their references {tuple(references.shape)}; "
            "both must be the same (B, C, H, W)"
        )


def _inside(motion: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Both in float64 and without their border."""
    if motion.shape != target.shape or motion.ndim not in (4, 5) or motion.shape[-3] != 2:
        raise BadInputError(
            f"the motion has shape {tuple(motion.shape)} and the true one {tuple(target.shape)}; "
            "both must be the same (..., 2, H, W)"
        )
    height, width = motion.shape[-2:]
    if border < 0 or min(height, width) <= 2 * border:
        raise BadInputError(f"a border of {border} pixels leaves nothing of {width}x{height}; give a larger image")
    rows, columns = slice(border, height - border), slice(border, width - border)
    return motion[..., rows, columns].double(), target[..., rows, columns].double()

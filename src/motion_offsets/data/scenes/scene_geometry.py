"""How the planes of a scene move in the picture while the shutter is open: camera, depth and objects of their own.

Every layer of a scene is a plane in space. A camera that turns by ``R(t)`` and shifts by ``T(t)`` sees it move by the
homography ``K (R + T n' / d) K^-1``; a similarity of the picture carries the motion that an object has of its own. All
of it is the identity at t = 0, and can be inverted, so the offsets are exact at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def path(coefficients: Tensor, times: Tensor) -> Tensor:
    """Smooth paths through 0 at t = 0: ``c1 t + c2 t^2 + c3 (t^3 - t)``, of which none has a constant acceleration.

    Args:
        coefficients: ``(..., 3)``.
        times: ``(T,)`` in [-1, 1].

    Returns:
        ``(..., T)``.
    """
    powers = torch.stack([times, times**2, times**3 - times])
    return coefficients @ powers.to(coefficients.dtype)


@dataclass
class CameraMotion:
    """How B cameras move. All float64.

    Args:
        focal: ``(B,)``, pixels.
        centre: ``(B, 2)``, the principal point, pixels of the layers' pictures.
        rotation: ``(B, 3, 3)``, coefficients (last) of the rotation about x, y and the line of sight, radians.
        translation: ``(B, 3, 3)``, coefficients (last) of the shift along x, y and the line of sight; the unit is the
            depth of a plane of inverse depth 1.
    """

    focal: Tensor
    centre: Tensor
    rotation: Tensor
    translation: Tensor

    def calibration(self) -> Tensor:
        """``K``: ``(B, 3, 3)``, from directions to pixels."""
        matrix = torch.zeros(len(self.focal), 3, 3, dtype=self.focal.dtype, device=self.focal.device)
        matrix[:, 0, 0] = matrix[:, 1, 1] = self.focal
        matrix[:, :2, 2], matrix[:, 2, 2] = self.centre, 1
        return matrix

    def rotations(self, times: Tensor) -> Tensor:
        """``R(t)``: ``(B, T, 3, 3)``."""
        x, y, z = path(self.rotation, times).unbind(1)
        zero = torch.zeros_like(x)
        rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
        return torch.linalg.matrix_exp(torch.stack([torch.stack(row, -1) for row in rows], -2))


@dataclass
class LayerMotion:
    """Where the L layers of B scenes lie, and how they move by themselves. All float64.

    Args:
        plane: ``(B, L, 3)``: the inverse depth at direction ``(x, y, 1)`` is ``plane . (x, y, 1)``.
        own: ``(B, L, 4, 3)``, coefficients (last) of the motion in the picture: right and down in pixels, the angle of
            rotation in radians, the logarithm of the size.
        pivot: ``(B, L, 2)``, the point that it turns and grows about, pixels.
    """

    plane: Tensor
    own: Tensor
    pivot: Tensor

    def similarities(self, times: Tensor) -> Tensor:
        """The motion of their own: ``(B, L, T, 3, 3)``, from pixels at t = 0 to pixels at t."""
        right, down, angle, growth = path(self.own, times).unbind(2)
        cosine, sine = torch.exp(growth) * torch.cos(angle), torch.exp(growth) * torch.sin(angle)
        x, y = self.pivot[..., 0, None], self.pivot[..., 1, None]
        zero, one = torch.zeros_like(right), torch.ones_like(right)
        rows = (
            (cosine, -sine, right + x - cosine * x + sine * y),
            (sine, cosine, down + y - sine * x - cosine * y),
            (zero, zero, one),
        )
        return torch.stack([torch.stack(row, -1) for row in rows], -2)


def homographies(camera: CameraMotion, layers: LayerMotion, times: Tensor) -> Tensor:
    """``(B, L, T, 3, 3)``: where a layer's pixel at t = 0 is seen at t."""
    calibration = camera.calibration()[:, None, None]
    rotations = camera.rotations(times)[:, None]
    shifts = path(camera.translation, times).transpose(1, 2)[:, None, :, :, None]
    seen = calibration @ (rotations + shifts * layers.plane[:, :, None, None]) @ torch.linalg.inv(calibration)
    return seen @ layers.similarities(times)


def apply(matrices: Tensor, pixels: Tensor) -> Tensor:
    """Points ``(2, H, W)`` through homographies ``(..., 3, 3)``: ``(..., 2, H, W)``."""
    x, y = pixels
    row = matrices[..., None, None]
    moved = [row[..., i, 0, :, :] * x + row[..., i, 1, :, :] * y + row[..., i, 2, :, :] for i in range(3)]
    return torch.stack(moved[:2], -3) / moved[2].unsqueeze(-3)

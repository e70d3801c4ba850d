"""The picture of the camera's path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from motion_offsets.exposure.camera import CameraFit
from motion_offsets.visualization.camera_path import SIDE, draw_camera


def camera(moved: bool = True, *path: float) -> CameraFit:
    coefficients = torch.zeros(4, 3, dtype=torch.float64)
    coefficients[:, 0] = torch.tensor(path or (0, 0, 0, 0))
    return CameraFit(coefficients, "quadratic", 200, 300, moved, 0.9, 0.5, torch.ones(1, 1, 25, 38))


def drawn(fit: CameraFit, focal_length: float | None = None) -> np.ndarray:
    """Where the picture has colour."""
    pixels = np.asarray(draw_camera(fit, focal_length)).astype(int)
    assert pixels.shape == (SIDE, SIDE, 3)
    return (pixels.max(2) - pixels.min(2) > 40).nonzero()


def test_the_path_has_the_direction_of_the_motion() -> None:
    down, across = drawn(camera(True, -20, 0, 20, 0))
    assert np.ptp(across) > 200
    assert np.ptp(down) < 20
    down, across = drawn(camera(True, 0, -200, 0, 200))
    assert np.ptp(across) < 20
    assert np.ptp(down) > 200


def test_a_still_camera_and_a_known_focal_length_are_told() -> None:
    down, across = drawn(camera(False))
    assert np.ptp(across) < 20
    assert np.ptp(down) < 20
    fit = camera(True, -20, 5, 20, 5)
    assert np.any(np.asarray(draw_camera(fit)) != np.asarray(draw_camera(fit, 28)))


def test_a_camera_that_explains_little_is_said_to_be_unused_unless_the_mode_is_only() -> None:
    fit = replace(camera(True, -20, 5, 20, 5), explained=0.1, weight=torch.zeros(1, 1, 2, 2))
    assert not fit.trusted
    only = np.asarray(draw_camera(fit, mode="only"))
    trusted = np.asarray(draw_camera(replace(fit, weight=torch.ones(1, 1, 2, 2))))
    assert np.array_equal(only, trusted)
    assert np.any(only != np.asarray(draw_camera(fit)))

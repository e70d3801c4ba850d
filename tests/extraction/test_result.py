"""The motion in a result folder can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.io.motion_files import load_motion


def saved(path: Path, **changes: object) -> Path:
    content = {
        "control_points": np.zeros((4, 16, 20), np.float16),
        "trajectory": np.array("quadratic"),
        "num_samples": np.array(15),
        **changes,
    }
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def test_motion_is_read_back(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(0, 8, (4, 16, 20)).astype(np.float16)
    motion = load_motion(saved(tmp_path / "motion.npz", control_points=points))
    assert motion.trajectory == "quadratic"
    assert motion.num_samples == 15
    assert torch.equal(motion.control_points, torch.from_numpy(points.astype(np.float32))[None])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control_points": None}, "holds no motion offsets"),
        ({"control_points": np.zeros((2, 16, 20))}, r"needs finite values of shape \(4, height, width\)"),
        ({"control_points": np.full((4, 16, 20), np.nan)}, "finite"),
        ({"control_points": np.array(["text"])}, "holds no motion offsets"),
        ({"control_points": np.array([None])}, "holds no motion offsets"),
        ({"trajectory": np.array("circular")}, "circular"),
        ({"num_samples": np.array("many")}, "holds no motion offsets"),
    ],
)
def test_motion_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        load_motion(saved(tmp_path / "motion.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY", b"text"])
def test_files_that_are_no_archive_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "motion.npz").write_bytes(content)
    with pytest.raises(BadInputError, match="holds no motion offsets"):
        load_motion(tmp_path / "motion.npz")
    with pytest.raises(BadInputError, match="no such file"):
        load_motion(tmp_path / "missing.npz")

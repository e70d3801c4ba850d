"""Result folders appear whole or not at all, and the motion in them can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from motion_offsets.errors import BadInputError
from motion_offsets.extraction import load_motion, whole_folder


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result"
    with whole_folder(target) as folder:
        (folder / "report.json").write_text("new")
        assert not target.exists()
    assert (target / "report.json").read_text() == "new"
    assert [entry.name for entry in target.parent.iterdir()] == ["result"]


def test_earlier_result_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "result"
    (target / "frames").mkdir(parents=True)
    (target / "frames" / "0099.png").touch()
    with whole_folder(target) as folder:
        (folder / "report.json").touch()
        assert (target / "frames" / "0099.png").exists()
    assert [entry.name for entry in target.iterdir()] == ["report.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


def fail_halfway(target: Path) -> None:
    with whole_folder(target) as folder:
        (folder / "sharp.png").touch()
        raise RuntimeError("halfway")


def test_failure_leaves_nothing_and_keeps_the_earlier_result(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result"
    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway(target)
    assert list(tmp_path.iterdir()) == []
    target.mkdir(parents=True)
    (target / "report.json").write_text("old")
    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway(target)
    assert (target / "report.json").read_text() == "old"
    assert [entry.name for entry in target.parent.iterdir()] == ["result"]


def test_what_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    for name, said in (("photos", r"holiday\.jpg"), ("file", "no result folder")):
        with pytest.raises(BadInputError, match=said), whole_folder(tmp_path / name):
            pytest.fail("the folder was opened")
    assert (tmp_path / "photos" / "holiday.jpg").exists()


def test_what_a_file_manager_leaves_is_no_obstacle(tmp_path: Path) -> None:
    target = tmp_path / "photo"
    target.mkdir()
    for name in (".DS_Store", "Thumbs.db", "sharp.png"):
        (target / name).write_text("x")
    with whole_folder(target) as folder:
        (folder / "report.json").write_text("{}")
    assert [entry.name for entry in target.iterdir()] == ["report.json"]


def test_a_disk_that_refuses_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No space left"), whole_folder(tmp_path / "result"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


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
        ({"control_points": np.zeros((2, 16, 20))}, r"wants finite values of shape \(4, height, width\)"),
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

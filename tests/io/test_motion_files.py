"""Motion in other programs' formats, there and back through real files."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import assert_refused, run
from datasets import Dataset, Features, Image, load_dataset
from safetensors.torch import load_file, save_file

from motion_offsets.errors import BadInputError
from motion_offsets.io.motion_files import (
    SavedMotion,
    export_motion,
    motion_features,
    motion_from_row,
    motion_to_row,
    read_flo,
    read_motion,
    save_motion,
    write_flo,
)

TRAJECTORIES = {"linear": 1, "quadratic": 2, "cubic": 3, "zero-constraint": 15}


def motion_of(trajectory: str, height: int = 5, width: int = 7) -> SavedMotion:
    return SavedMotion(torch.randn(1, 2 * TRAJECTORIES[trajectory], height, width) * 9, trajectory, 15)


def as_npz(motion: SavedMotion, path: Path) -> Path:
    fields = {"trajectory": np.array(motion.trajectory), "num_samples": np.array(motion.num_samples)}
    np.savez(path, control_points=motion.control_points[0].half().numpy(), **fields)
    return path


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_safetensors_there_and_back(trajectory: str, tmp_path: Path) -> None:
    motion = motion_of(trajectory)
    assert export_motion(motion, tmp_path / "motion.safetensors") == [tmp_path / "motion.safetensors"]
    again = read_motion(tmp_path / "motion.safetensors")
    assert torch.equal(again.control_points, motion.control_points)
    assert (again.trajectory, again.num_samples) == (trajectory, 15)
    assert load_file(tmp_path / "motion.safetensors")["control_points"].shape == motion.control_points.shape[1:]


def test_npz_keeps_the_uncertainty(tmp_path: Path) -> None:
    motion = replace(motion_of("quadratic"), uncertainty=torch.rand(1, 1, 5, 7) * 9)
    save_motion(tmp_path / "a.npz", motion, [-1.0, 1.0])
    found = read_motion(tmp_path / "a.npz")
    torch.testing.assert_close(found.uncertainty, motion.uncertainty.half().float())
    save_motion(tmp_path / "b.npz", replace(motion, uncertainty=None), [-1.0, 1.0])
    assert read_motion(tmp_path / "b.npz").uncertainty is None
    save_motion(tmp_path / "c.npz", replace(motion, uncertainty=torch.rand(1, 1, 4, 7)), [-1.0, 1.0])
    with pytest.raises(BadInputError, match="uncertainty of shape"):
        read_motion(tmp_path / "c.npz")


def test_flo_has_the_bytes_of_middlebury(tmp_path: Path) -> None:
    flow = torch.tensor([[[1.0, 2.0, 3.0]], [[-1.0, -2.0, -3.5]]])
    write_flo(tmp_path / "one.flo", flow)
    expected = b"PIEH" + struct.pack("<ii", 3, 1) + struct.pack("<6f", 1, -1, 2, -2, 3, -3.5)
    assert (tmp_path / "one.flo").read_bytes() == expected
    assert torch.equal(read_flo(tmp_path / "one.flo"), flow)


def test_flo_holds_the_start_and_the_end(tmp_path: Path) -> None:
    motion = motion_of("quadratic")
    start, end = export_motion(motion, tmp_path / "motion.flo")
    assert (start.name, end.name) == ("motion.start.flo", "motion.end.flo")
    torch.testing.assert_close(read_flo(start), motion.control_points[0, :2])
    torch.testing.assert_close(read_flo(end), motion.control_points[0, 2:])


def test_a_column_of_motion_for_pictures_of_any_size(tmp_path: Path) -> None:
    motions = [motion_of("quadratic"), motion_of("cubic", 8, 3)]
    pictures = [np.full(motion.control_points.shape[2:] + (3,), 40, np.uint8) for motion in motions]
    rows = [{"image": one, **motion_to_row(other)} for one, other in zip(pictures, motions, strict=True)]
    Dataset.from_list(rows, Features({"image": Image(), **motion_features()})).to_parquet(tmp_path / "pairs.parquet")
    cache = str(tmp_path / "cache")
    table = load_dataset("parquet", data_files=str(tmp_path / "pairs.parquet"), split="train", cache_dir=cache)
    for row, motion in zip(table, motions, strict=True):
        again = motion_from_row(row)
        assert torch.equal(again.control_points, motion.control_points)
        assert again.trajectory == motion.trajectory
        assert row["image"].size == motion.control_points.shape[:1:-1]


def test_export_and_reblur_with_it(tmp_path: Path, sample_photo) -> None:
    motion = SavedMotion(torch.tensor([-3.0, 0, 3, 0]).view(1, 4, 1, 1).expand(1, 4, 512, 512), "quadratic", 15)
    npz = as_npz(motion, tmp_path / "motion_offsets.npz")
    result = run("export", npz, "-o", tmp_path / "motion.safetensors")
    assert result.exit_code == 0, result.output
    for source, name in ((npz, "one.png"), (tmp_path / "motion.safetensors", "two.png")):
        assert run("reblur", sample_photo("astronaut"), "--offsets", source, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    exported = run("export", npz, "-o", tmp_path / "motion.flo")
    assert exported.exit_code == 0
    assert f"{tmp_path}/motion.start.flo, {tmp_path}/motion.end.flo (offsets at the start and" in exported.stdout
    assert ".start.flo" in " ".join(run("export", "--help").stdout.split())
    assert read_flo(tmp_path / "motion.end.flo")[0].unique().tolist() == [3]


def test_other_files_are_refused(tmp_path: Path) -> None:
    npz = as_npz(motion_of("quadratic"), tmp_path / "motion_offsets.npz")
    assert_refused(run("export", npz, "-o", tmp_path / "motion.mat"), "motion.mat", ".safetensors or .flo")
    assert_refused(run("export", tmp_path / "no.npz", "-o", tmp_path / "m.flo"), "no.npz: no such file")
    assert_refused(
        run("export", tmp_path / "no.safetensors", "-o", tmp_path / "m.flo"), "no.safetensors: no such file"
    )
    assert_refused(run("export", npz, "-o", tmp_path / "gone" / "m.flo"), "gone does not exist")
    (tmp_path / "text.safetensors").write_text("motion")
    assert_refused(run("export", tmp_path / "text.safetensors", "-o", tmp_path / "m.flo"), "holds no motion")
    header = {"trajectory": "cubic", "num_samples": "15"}
    save_file({"control_points": torch.zeros(4, 2, 2)}, tmp_path / "four.safetensors", header)
    assert_refused(
        run("export", tmp_path / "four.safetensors", "-o", tmp_path / "m.flo"), "needs finite", "(6, height"
    )
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a .flo"),
        (b"PIEH" + struct.pack("<ii", -3, 1), "is not a .flo"),
        (b"PIEH" + struct.pack("<ii", 3, 1) + bytes(23), "is damaged"),
        (None, "no such file"),
    ],
)
def test_damaged_flo_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.flo").write_bytes(content)
    with pytest.raises(BadInputError, match=said):
        read_flo(tmp_path / "x.flo")


def test_rows_without_motion_are_refused() -> None:
    row = motion_to_row(motion_of("linear"))
    for change in ({"motion": b"no"}, {"motion": None}, {"trajectory": "spiral"}, {"trajectory": "cubic"}):
        with pytest.raises(BadInputError):
            motion_from_row({**row, **change})
    with pytest.raises(BadInputError, match="holds no motion"):
        motion_from_row({})

"""Result folders appear whole or not at all, and nothing but an earlier result is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from motion_offsets.errors import BadInputError
from motion_offsets.io.atomic import whole_folder


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
    for name, said in (("photos", r"holiday\.jpg"), ("file", "not a result folder")):
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

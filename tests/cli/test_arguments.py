"""Photos, targets, memory, devices: what the command line is given becomes what the program needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import assert_refused, run

from motion_offsets.cli.arguments import check_not_photos, picture_targets
from motion_offsets.errors import BadInputError
from motion_offsets.io.atomic import check_output_folder
from motion_offsets.io.photo_files import find_photos, result_names
from motion_offsets.runtime.devices import pick_device, pick_dtype
from motion_offsets.runtime.memory import parse_memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    return tmp_path


def test_folders_patterns_and_files(folder: Path) -> None:
    assert find_photos([str(folder)]) == [folder / "a.png", folder / "b.JPG"]
    assert find_photos([str(folder / "*.JPG")]) == [folder / "b.JPG"]
    assert find_photos([str(folder / "a.png"), str(folder)]) == [folder / "a.png", folder / "b.JPG"]
    assert find_photos([str(folder / "missing.png")]) == [folder / "missing.png"]


def test_a_file_whose_name_looks_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].png").touch()
    assert find_photos([str(folder / "a[1].png")]) == [folder / "a[1].png"]


def test_nothing_found_is_bad_input(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="holds no photo"):
        find_photos([str(tmp_path / "empty")])
    with pytest.raises(BadInputError, match="no file matches"):
        find_photos([str(folder / "*.tif")])


def test_a_web_address_is_told_as_it_was_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://example.org/a//b.jpg"
    for command in ("extract", "deblur", "trajectories"):
        assert_refused(run(command, folder / "a.png", address, "-o", folder / "out"), f"{address}: is a web address")
    assert_refused(run("evaluate", "unblurred", "--images", address), f"{address}: is a web address")
    assert not (folder / "out").exists()
    monkeypatch.chdir(folder)
    (folder / "https:" / "example.org").mkdir(parents=True)
    (folder / "https:" / "example.org" / "b.jpg").touch()
    assert find_photos(["https://example.org/b.jpg"]) == [Path("https:/example.org/b.jpg")]


@pytest.mark.parametrize(
    ("photos", "names"),
    [
        (["a/x.jpg", "b/y.jpg"], ["x", "y"]),
        (["a/x.jpg", "b/x.png", "c/x.png"], ["x", "x-2", "x-3"]),
        (["a/x.jpg", "b/x.png", "c/x-2.png"], ["x", "x-3", "x-2"]),
        (["a/x.jpg", "b/X.jpg"], ["x", "X-2"]),
        (["a/..png"], ["photo"]),
    ],
)
def test_result_names_are_distinct(photos: list[str], names: list[str]) -> None:
    assert result_names([Path(photo) for photo in photos]) == names


def test_picture_targets(tmp_path: Path) -> None:
    one, two = Path("one.jpg"), Path("two.jpg")
    assert picture_targets([one], tmp_path / "out.webp") == [tmp_path / "out.webp"]
    assert picture_targets([one, two], tmp_path / "out") == [
        tmp_path / "out" / "one.png",
        tmp_path / "out" / "two.png",
    ]
    (tmp_path / "folder.png").mkdir()
    assert picture_targets([one], tmp_path / "folder.png") == [tmp_path / "folder.png" / "one.png"]
    with pytest.raises(BadInputError, match="2 photos; give a folder"):
        picture_targets([one, two], tmp_path / "out.png")


def test_a_photo_is_never_overwritten_by_its_result(folder: Path) -> None:
    photos = find_photos([str(folder)])
    with pytest.raises(BadInputError, match="is one of the photos and would be overwritten"):
        check_not_photos([folder / "new.png", folder / "x" / ".." / photos[0].name], photos)
    check_not_photos(picture_targets(photos, folder / "out"), photos)


def test_output_below_a_file_is_refused(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "new" / "newer")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInputError, match="is a file"):
            check_output_folder(path)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("800 mb", 8e8), ("4", 4e9), ("1.5g", 1.5e9), (".5", 5e8), ("4GiB", 2**32), ("1 mib", 2**20)],
)
def test_memory(text: str, size: float) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1GB", "lots", "4TB", "nan", "4i", "4iB"])
def test_no_amount_of_memory(text: str) -> None:
    with pytest.raises(BadInputError, match="4GB or 800MB"):
        parse_memory(text)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "meta", "cpu:x"])
def test_unusable_devices_are_one_line(name: str) -> None:
    with pytest.raises(BadInputError, match="give auto, cpu or cuda") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


def test_device_and_dtype() -> None:
    cpu = pick_device("cpu")
    assert cpu == torch.device("cpu")
    assert pick_dtype("float32", cpu) is None
    assert pick_dtype("bfloat16", cpu) is torch.bfloat16
    assert pick_dtype("auto", cpu) in (None, torch.bfloat16)
    with pytest.raises(BadInputError, match="for GPUs"):
        pick_dtype("float16", cpu)
    with pytest.raises(BadInputError, match="auto, float32, bfloat16, float16"):
        pick_dtype("int8", cpu)

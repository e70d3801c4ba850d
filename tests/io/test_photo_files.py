"""What folders and names stand for: links, loops of links, names that are no text, pictures that are not read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from motion_offsets.cli.app import app
from motion_offsets.io.path_names import as_path
from motion_offsets.io.photo_files import find_photos, passed_over, seed_of_name


def make(*photos: Path) -> None:
    for photo in photos:
        Image.new("RGB", (40, 32), "gray").save(photo, "JPEG")


def test_a_loop_of_links_is_one_photo_that_cannot_be_read(tmp_path: Path) -> None:
    make(tmp_path / "a.jpg")
    (tmp_path / "m.jpg").symlink_to("m.jpg")
    assert [path.name for path in find_photos([str(tmp_path)])] == ["a.jpg", "m.jpg"]


def test_a_link_to_a_photo_is_the_same_photo(tmp_path: Path) -> None:
    make(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert [path.name for path in find_photos([str(tmp_path)])] == ["a.jpg"]


def test_every_name_of_a_jpeg_is_found_and_others_are_named(tmp_path: Path) -> None:
    make(*(tmp_path / f"{number}{suffix}" for number, suffix in enumerate((".jpg", ".JPE", ".jfif", ".jpeg"))))
    for name in ("raw.dng", "new.JXL", "notes.txt"):
        (tmp_path / name).write_bytes(b"?")
    assert len(find_photos([str(tmp_path)])) == 4
    assert passed_over([str(tmp_path), str(tmp_path / "0.jpg")]) == {tmp_path: ["new.JXL", "raw.dng"]}


@pytest.fixture
def odd_name(tmp_path: Path) -> Path:
    """A photo whose name is not UTF-8, as cameras and archives of other systems leave them."""
    photo = Path(os.fsdecode(os.fsencode(tmp_path) + b"/photos/b\xff\xfe.jpg"))
    photo.parent.mkdir()
    try:
        make(photo)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return photo


def test_a_name_that_is_no_text_has_a_seed(odd_name: Path) -> None:
    assert seed_of_name(odd_name) != seed_of_name("b.jpg")
    assert seed_of_name("größe.jpg") == int.from_bytes(hashlib.sha256("größe".encode()).digest()[:16], "big")


def test_a_folder_with_such_a_name_is_extracted_whole_and_taken_up(
    odd_name: Path, models: Path, tmp_path: Path
) -> None:
    make(odd_name.with_name("a.jpg"), odd_name.with_name("z.jpg"))
    odd_name.with_name("raw.dng").write_bytes(b"II*\0")
    used = ["--model", models / "motion", "--deblurrer", models / "sharp", "--device", "cpu", "--frames", 2]
    command = [str(each) for each in ("extract", odd_name.parent, "-o", tmp_path / "out", *used)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "1 picture is passed over (raw.dng)" in result.stderr
    results = [tmp_path / "out" / name for name in ("a", odd_name.stem, "z")]
    assert all((folder / file).stat().st_size for folder in results for file in ("sharp.png", "video.mp4"))
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 0
    assert again.stdout.count("already done") == 3


def test_a_name_that_begins_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "~nobody-of-that-name.jpg")
    assert find_photos(["~nobody-of-that-name.jpg"]) == [Path("~nobody-of-that-name.jpg")]
    assert as_path("~") == Path.home()
    assert as_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize(
    "command", [["deblur", "", "-o", "out"], ["deblur", "a.jpg", "-o", ""], ["extract", "", "-o", "o"]]
)
def test_an_empty_name_is_not_the_current_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.jpg")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "'' is an empty name" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_a_part_without_photos_says_so(tmp_path: Path) -> None:
    make(tmp_path / "a.jpg")
    command = ["extract", tmp_path / "a.jpg", "-o", tmp_path / "out", "--num-shards", 100, "--shard-index", 7]
    result = CliRunner().invoke(app, [str(each) for each in command])
    assert result.exit_code == 0
    assert "part 7 of 100 has nothing to do: the input has only 1 photo" in result.stderr
    assert not (tmp_path / "out").exists()

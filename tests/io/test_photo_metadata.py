"""Date, camera, place and resolution stay with the pictures that are made from a photo."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from PIL import Image, TiffImagePlugin

from motion_offsets.io.images import load_array
from motion_offsets.io.photo_metadata import NO_METADATA, read_metadata
from motion_offsets.io.photo_sources import EncodedPhoto
from motion_offsets.io.picture_saving import save_picture

DETAILS, PLACE = 0x8769, 0x8825


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A camera's JPEG: stored on its side, in Adobe RGB, with a maker's note."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132], exif[0x0112] = "Maker", "Model 1", "2024:05:06 07:08:09", 6
    exif[DETAILS] = {
        0x9003: "2024:05:06 07:08:09",
        0x829A: TiffImagePlugin.IFDRational(1, 25),
        0x8827: 400,
        0xA001: 0xFFFF,
        0xA002: 48,
        0xA005: {1: "R03"},
        0x927C: b"note",
    }
    exif[PLACE] = {1: "N", 2: (59.0, 30.0, 0.0), 3: "E", 4: (10.0, 45.0, 0.0)}
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (48, 32), (90, 100, 110)).save(path, exif=exif, dpi=(300, 300))
    return path


def told(path: Path) -> tuple[dict, dict, dict, tuple | None]:
    with Image.open(path) as image:
        exif, dpi = image.getexif(), image.info.get("dpi")
        return dict(exif), exif.get_ifd(DETAILS), exif.get_ifd(PLACE), dpi


def check(path: Path, location: bool = True) -> None:
    head, details, where, dpi = told(path)
    assert (head[0x010F], head[0x0110], head[0x0132]) == ("Maker", "Model 1", "2024:05:06 07:08:09")
    assert head.get(0x0112, 1) == 1  # it stands upright now
    assert (details[0x9003], details[0x8827]) == ("2024:05:06 07:08:09", 400)
    assert float(details[0x829A]) == pytest.approx(1 / 25)
    assert details[0xA001] == 1  # sRGB
    assert not {0x927C, 0xA002, 0xA005} & set(details)
    assert bool(where) == location
    if location:
        assert (where[1], [float(value) for value in where[4]]) == ("N", [10.0, 45.0, 0.0])
    assert dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("location", [True, False])
def test_every_format_keeps_them(photo: Path, tmp_path: Path, suffix: str, location: bool) -> None:
    for source in (photo, EncodedPhoto("a row", photo.read_bytes())):
        path = tmp_path / f"made{suffix}"
        save_picture(Image.new("RGB", (32, 48)), path, **read_metadata(source).options(location))
        check(path, location)
        assert load_array(path).shape == (48, 32, 3)
        check_again = tmp_path / f"again{suffix}"  # what was kept is kept a second time
        save_picture(Image.new("RGB", (32, 48)), check_again, **read_metadata(path).options())
        check(check_again, location)


@pytest.mark.parametrize(("told", "read"), [(26, 26.0), (0, None), (65535, None), (None, None)])
def test_the_focal_length_of_the_35_mm_format(tmp_path: Path, told: int | None, read: float | None) -> None:
    exif = Image.Exif()
    if told is not None:
        exif.get_ifd(0x8769)[0xA405] = told
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_metadata(tmp_path / "photo.jpg").focal_length_35mm == read


def test_photos_that_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (32, 32)).save(path)
    assert read_metadata(path) == NO_METADATA
    assert read_metadata(tmp_path / "missing.png") == NO_METADATA
    Image.new("RGB", (32, 32)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff damaged")
    assert read_metadata(path).dpi is None
    save_picture(Image.new("RGB", (32, 32)), tmp_path / "made.png", **read_metadata(path).options())


def test_the_commands_keep_them_or_drop_the_place(models: Path, photo: Path, tmp_path: Path) -> None:
    both = ["--model", models / "motion", "--deblurrer", models / "sharp"]
    result = run("extract", photo, "-o", tmp_path / "kept", "--frames", 3, *both)
    assert result.exit_code == 0, result.output
    for name in ("sharp.png", "trajectories.png", "flow.png", "frames/0002.png"):
        check(tmp_path / "kept" / "photo" / name)
    result = run("extract", photo, "-o", tmp_path / "kept", "--frames", 3, "--no-location", "--resume", *both)
    assert result.exit_code == 0, result.output
    check(tmp_path / "kept" / "photo" / "sharp.png", location=False)  # made again: the flag is one of its settings
    result = run("deblur", photo, "-o", tmp_path / "sharp.jpg", *both)
    assert result.exit_code == 0, result.output
    check(tmp_path / "sharp.jpg")
    result = run("trajectories", photo, "-o", tmp_path / "drawn.png", "--no-location", "--model", models / "motion")
    assert result.exit_code == 0, result.output
    check(tmp_path / "drawn.png", location=False)

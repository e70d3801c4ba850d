"""The photo is the picture that its owner means, not whichever Pillow opens first."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from motion_offsets.data.reading.file_trees import picture_size
from motion_offsets.errors import BadInputError
from motion_offsets.io import photo_sources
from motion_offsets.io.images import load_array, load_image, size_of
from motion_offsets.io.photo_sources import EncodedPhoto

_NEW_SUBFILE_TYPE = 254


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def _tiff(file: Path | io.BytesIO, pages: list[tuple[Image.Image, dict[int, object]]]) -> None:
    with TiffImagePlugin.AppendingTiffWriter(file, True) as writer:
        for picture, tags in pages:
            info = TiffImagePlugin.ImageFileDirectory_v2()
            for number, value in tags.items():
                info[number] = value
                info.tagtype[number] = {50706: 1, 330: 4}.get(number, 3 if number in (255, 262) else 4)
            picture.save(writer, format="TIFF", tiffinfo=info)
            writer.newFrame()


def _refused(path: Path, *words: str) -> None:
    for read in (load_image, load_array, size_of):
        with pytest.raises(BadInputError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.parametrize("name", ["raw.dng", "renamed.tif"])
def test_a_preview_of_a_raw_photo_is_not_the_photo(photo: Image.Image, tmp_path: Path, name: str) -> None:
    _tiff(tmp_path / name, [(photo.resize((30, 20)), {_NEW_SUBFILE_TYPE: 1, 50706: b"\x01\x04\x00\x00"})])
    _refused(tmp_path / name, "raw", "develop")
    encoded = EncodedPhoto("row 3", (tmp_path / name).read_bytes())
    with pytest.raises(BadInputError, match="row 3: is a camera's raw photo"):
        load_image(encoded)


@pytest.mark.parametrize("name", ["a.nef", "a.ARW", "a.cr2", "a.pef", "a.srw"])
def test_a_tiff_with_a_camera_makers_suffix_is_a_raw_photo(photo: Image.Image, tmp_path: Path, name: str) -> None:
    photo.save(tmp_path / name, format="TIFF")
    _refused(tmp_path / name, "develop")


def test_a_canon_raw_photo_is_told_by_its_mark(photo: Image.Image, tmp_path: Path) -> None:
    held = io.BytesIO()
    photo.save(held, format="TIFF")
    content = bytearray(held.getvalue())
    first = struct.unpack("<I", content[4:8])[0]
    # The directory moves to the end, and makes room for the mark in the header.
    content[4:8] = struct.pack("<I", len(content))
    directory = content[first : first + 2 + 12 * struct.unpack("<H", content[first : first + 2])[0] + 4]
    content[8:12] = b"CR\2\0"
    (tmp_path / "photo.tif").write_bytes(content + directory)
    _refused(tmp_path / "photo.tif", "raw")


def test_a_jpeg_keeps_being_one_under_any_name(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "export.dng", format="JPEG")
    assert load_image(tmp_path / "export.dng").size == photo.size


@pytest.mark.parametrize("first", [True, False], ids=["photo first", "preview first"])
@pytest.mark.parametrize("tags", [{_NEW_SUBFILE_TYPE: 1}, {255: 2}, {_NEW_SUBFILE_TYPE: 4}, {_NEW_SUBFILE_TYPE: 5}])
def test_reduced_pages_and_masks_are_passed_over(
    photo: Image.Image, tmp_path: Path, first: bool, tags: dict[int, object]
) -> None:
    other = Image.new("RGB", (30, 20), "red")
    pages = [(photo, {_NEW_SUBFILE_TYPE: 0}), (other, tags), (other, tags)]
    file = tmp_path / "photo.tif"
    _tiff(file, pages if first else pages[::-1])
    np.testing.assert_array_equal(np.asarray(load_image(file)), np.asarray(photo))
    assert size_of(file) == photo.size
    if first:
        assert picture_size(file.read_bytes()) == photo.size
    else:
        with pytest.raises(BadInputError, match="after a preview"):
            picture_size(file.read_bytes())


def test_full_pages_are_refused_and_counted(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "scan.tif", save_all=True, append_images=[photo, photo])
    _refused(tmp_path / "scan.tif", "3 pictures", "pages")
    with pytest.raises(BadInputError, match="^holds 3 pictures"):
        picture_size((tmp_path / "scan.tif").read_bytes())


def test_a_page_that_was_chosen_is_read(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "scan.tif", save_all=True, append_images=[Image.new("RGB", (50, 30), "red")])
    with Image.open(tmp_path / "scan.tif") as opened:
        opened.seek(1)
        assert load_image(opened).size == (50, 30)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_animations_are_refused_and_single_frames_read(photo: Image.Image, tmp_path: Path, suffix: str) -> None:
    moving, still = tmp_path / f"moving.{suffix}", tmp_path / f"still.{suffix}"
    photo.save(moving, save_all=True, append_images=[photo.rotate(90), photo.rotate(180)])
    photo.save(still, save_all=True)
    _refused(moving, "3 pictures", "animation")
    with pytest.raises(BadInputError, match="3 pictures"):
        picture_size(moving.read_bytes())
    assert load_image(still).size == photo.size


@pytest.mark.parametrize("suffix", ["ico", "icns"])
def test_of_an_icon_the_largest_size_is_read(photo: Image.Image, tmp_path: Path, suffix: str) -> None:
    photo.resize((128, 128)).save(tmp_path / f"icon.{suffix}")
    assert load_image(tmp_path / f"icon.{suffix}").size == ((128, 128) if suffix == "ico" else (1024, 1024))


def _psd(photo: Image.Image, composite: bool) -> bytes:
    info = struct.pack(">IB", 1, composite) + bytes(14)
    resource = (
        b"8BIM" + struct.pack(">H", 1057) + b"\0\0" + struct.pack(">I", len(info)) + info + b"\0" * (len(info) % 2)
    )
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, photo.height, photo.width, 8, 3)
    planes = np.asarray(photo).transpose(2, 0, 1).tobytes()
    return head + struct.pack(">II", 0, len(resource)) + resource + struct.pack(">IH", 0, 0) + planes


def test_a_layered_file_without_its_whole_picture_is_refused(photo: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "whole.psd").write_bytes(_psd(photo, True))
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "whole.psd")), np.asarray(photo))
    (tmp_path / "layers.psd").write_bytes(_psd(photo, False))
    _refused(tmp_path / "layers.psd", "layers only")


def test_what_is_no_photo_at_all(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "drawing.eps")
    _refused(tmp_path / "drawing.eps", "drawing")
    placeable = b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hH", 0, 0, 600, 400, 72) + bytes(6) + b"\1\0\t\0"
    (tmp_path / "drawing.wmf").write_bytes(placeable + bytes(60))
    _refused(tmp_path / "drawing.wmf", "drawing")
    (tmp_path / "clip.mpg").write_bytes(b"\0\0\1\xb3" + b"\x14\x00\xf0" + bytes(60))
    _refused(tmp_path / "clip.mpg", "video")
    (tmp_path / "data.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    _refused(tmp_path / "data.h5", "HDF5")
    pcd = bytearray(4096)
    pcd[2048:2052] = b"PCD_"
    (tmp_path / "disc.pcd").write_bytes(pcd)
    _refused(tmp_path / "disc.pcd", "Photo CD")


def test_heic_is_read_upright_with_the_extra(photo: Image.Image, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    smooth = photo.resize((15, 10)).resize((240, 160), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(smooth).save(tmp_path / "phone.heic", quality=95, exif=exif.tobytes())
    read = load_image(tmp_path / "phone.heic")
    assert read.size == (160, 240)
    expected = np.asarray(smooth.transpose(Image.Transpose.ROTATE_270), dtype=float)
    assert np.abs(np.asarray(read) - expected).mean() < 6


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    photo_sources._let_pillow_read_heif.cache_clear()
    try:
        _refused(tmp_path / "phone.heic", 'pip install "pillow-heif', "JPEG")
    finally:
        photo_sources._let_pillow_read_heif.cache_clear()


def test_the_files_that_were_seen(data_dir: Path) -> None:
    _refused(data_dir / "odd_files" / "raw.dng", "develop")
    assert load_image(data_dir / "odd_files" / "with-thumbnail.tif").size == (960, 640)

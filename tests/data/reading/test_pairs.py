"""Every layout of pairs as real files, loaded whole and streaming, and broken in every way that downloads break."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest
from picture_files import save, zipped
from PIL import Image

from motion_offsets.data import load_pairs
from motion_offsets.errors import BadInputError

pytestmark = pytest.mark.filterwarnings("ignore:.*pairs of GoPro's")

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])


@pytest.fixture
def load(tmp_path: Path):
    """``load_pairs`` with a cache of the test's own."""
    return lambda source, split="train", **more: load_pairs(source, split, cache_dir=tmp_path / "cache", **more)


def check(data, expected: list[tuple[str, int]], blurred: list[np.ndarray], sharp: list[np.ndarray]) -> None:
    """The data set holds these rows, with these pixels."""
    kind = datasets.IterableDataset if isinstance(data, datasets.IterableDataset) else datasets.Dataset
    assert isinstance(data, kind)
    assert isinstance(data.features["blurred"], datasets.Image)
    assert isinstance(data.features["sharp"], datasets.Image)
    assert data.features["sequence"] == datasets.Value("string")
    assert data.features["frame"] == datasets.Value("int64")
    rows = list(data)
    assert [(row["sequence"], row["frame"]) for row in rows] == expected
    for row, one, other in zip(rows, blurred, sharp, strict=True):
        assert row["blurred"].mode == row["sharp"].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(row["blurred"]), one)
        np.testing.assert_array_equal(np.asarray(row["sharp"]), other)


@both_ways
@pytest.mark.parametrize("top", [None, "", "GOPRO_Large"], ids=["folder", "zip", "zip with a folder"])
def test_gopro(load, gopro, scene, streaming, top):
    source = gopro if top is None else zipped(gopro, top)
    expected = [(name, frame) for name in ("GOPR0372_07_00", "GOPR0374_11_01") for frame in (47, 48)]
    sharp = [scene(47), scene(48)] * 2
    check(load(source, streaming=streaming), expected, [scene(147), scene(148)] * 2, sharp)
    check(load(source, streaming=streaming, gamma=True), expected, [scene(247), scene(248)] * 2, sharp)
    test = load(source, "test", streaming=streaming)
    assert {row["sequence"] for row in test} == {"GOPR0384_11_00"}
    assert str(test.split) == "test"


def test_a_folder_is_read_in_place_and_a_second_call_uses_the_cache(load, gopro, scene, tmp_path):
    first = load(gopro)
    assert Path(first.cast_column("sharp", datasets.Image(decode=False))[0]["sharp"]["path"]).is_relative_to(gopro)
    (cached,) = (Path(file["filename"]) for file in first.cache_files)
    written = cached.stat().st_mtime_ns
    again = load(gopro)
    assert [file["filename"] for file in again.cache_files] == [str(cached)]
    assert cached.stat().st_mtime_ns == written
    # A picture that changes is found, although its name is the same.
    changed = save(gopro / "train" / "GOPR0372_07_00" / "sharp" / "000047.png", scene(7))
    os.utime(changed, ns=(1, 1))
    assert load(gopro).cache_files != again.cache_files
    np.testing.assert_array_equal(np.asarray(load(gopro)[0]["sharp"]), scene(7))
    changed.write_bytes(b"")
    with pytest.raises(BadInputError, match="000047.png is empty"):
        load(gopro)


def test_part_of_gopro_is_used_with_one_warning(load, gopro):
    for split, words in (("train", "4 of the 2103 pairs"), ("test", "2 of the 1111 pairs")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(load(gopro, split)) > 0
        said = [str(warning.message) for warning in caught if "GoPro" in str(warning.message)]
        assert len(said) == 1
        assert words in said[0]


FLAT = {
    "GoPro as tiled for training": ("train/blur_crops/a-000047.png", "train/sharp_crops/a-000047.png", "a", 47),
    "GoPro and HIDE copies": ("train/input/GOPR0384_11_00-000001.png", "train/target/GOPR0384_11_00-000001.png")
    + ("GOPR0384_11_00", 1),
    "REDS": ("train/train_blur/000/00000012.png", "train/train_sharp/000/00000012.png", "000", 12),
    "RealBlur": ("RealBlur-J/scene001/blur/blur_3.png", "RealBlur-J/scene001/gt/gt_3.png", "RealBlur-J/scene001", 3),
    "without splits, two suffixes": ("lq/street/7.bmp", "hq/street/7.png", "street", 7),
    "JPEG 2000": ("lq/street/8.jp2", "hq/street/8.png", "street", 8),
    "without numbers": ("Blurred/car.png", "GT/car.tif", "", 0),
}


@both_ways
@pytest.mark.parametrize("name", FLAT)
def test_flat(load, tmp_path, scene, streaming, name):
    blurred, sharp, sequence, frame = FLAT[name]
    save(tmp_path / "data" / blurred, scene(1))
    save(tmp_path / "data" / sharp, scene(2))
    for source in (tmp_path / "data", zipped(tmp_path / "data")):
        check(load(source, streaming=streaming), [(sequence, frame)], [scene(1)], [scene(2)])


@both_ways
def test_partners_are_matched_by_name_and_not_by_position(load, tmp_path, scene, streaming):
    for number in (2, 10, 1):
        save(tmp_path / "data" / "blur" / f"{number}.png", scene(number))
        save(tmp_path / "data" / "sharp" / f"{number}.png", scene(number))
    save(tmp_path / "data" / "sharp" / ".hidden.png", scene(0))
    numbers = [1, 2, 10]
    pictures = [scene(number) for number in numbers]
    check(load(tmp_path / "data", streaming=streaming), [("", number) for number in numbers], pictures, pictures)


@both_ways
def test_side_by_side(load, tmp_path, scene, streaming):
    for number in (1, 2):
        pixels = np.concatenate([scene(number), scene(number + 2)], axis=1)
        save(tmp_path / "data" / "train" / f"{number}.png", pixels)
    for source in (tmp_path / "data", zipped(tmp_path / "data")):
        for layout in (None, "side-by-side"):
            data = load(source, streaming=streaming, layout=layout)
            check(data, [("", 1), ("", 2)], [scene(1), scene(2)], [scene(3), scene(4)])


def test_stream_is_divided_among_the_workers_of_a_loader(load, gopro):
    from torch.utils.data import DataLoader

    data = load(zipped(gopro), streaming=True)
    assert data.num_shards == 4
    rows = DataLoader(data.select_columns(["sequence", "frame"]), batch_size=None, num_workers=2)
    assert sorted((row["sequence"], row["frame"]) for row in rows) == sorted(
        (row["sequence"], row["frame"]) for row in data
    )


def test_missing_partners_are_listed(load, gopro, scene):
    sequence = gopro / "train" / "GOPR0374_11_01"
    (sequence / "sharp" / "000047.png").unlink()
    with pytest.raises(BadInputError, match=r"1 picture .*GOPR0374_11_01/blur/000047.png has no sharp partner;"):
        load(gopro)
    for number in range(100, 107):
        save(sequence / "sharp" / f"{number:06d}.png", scene(0))
    with pytest.raises(BadInputError) as caught:
        load(gopro, streaming=True)
    message = str(caught.value)
    assert message.count("partner;") + message.count("partner ") >= 1
    assert "8 pictures" in message
    assert "(8 in all)" in message
    assert "000103.png" in message
    assert "000104.png" not in message  # the sixth
    assert "\n" not in message
    assert len(load(gopro, "test")) == 2  # the other split is whole


def test_two_partners_are_refused(load, tmp_path, scene):
    for name in ("blur/1.png", "sharp/1.png", "gt/1.png"):
        save(tmp_path / "data" / name, scene(0))
    with pytest.raises(BadInputError, match=r"gt/1.png and sharp/1.png are the same"):
        load(tmp_path / "data")


def test_two_sizes_and_unreadable_pictures_are_listed_together(load, tmp_path, scene):
    data = tmp_path / "data"
    for number in range(10):
        for role in ("blur", "sharp"):
            save(data / role / f"{number}.{'jpg' if number == 3 else 'png'}", scene(number))
    save(data / "blur" / "0.png", scene(0)[:30])
    whole = (data / "sharp" / "1.png").read_bytes()
    (data / "sharp" / "1.png").write_bytes(whole[:-40])
    (data / "sharp" / "2.png").write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    (data / "blur" / "3.jpg").write_bytes((data / "blur" / "3.jpg").read_bytes()[:-100])
    (data / "blur" / "4.png").write_text("no picture")
    (data / "blur" / "5.png").write_bytes(b"")
    for source in (data, zipped(data)):
        with pytest.raises(BadInputError) as caught:
            load(source)
        message = str(caught.value)
        assert "6 pairs cannot be used" in message
        assert "blur/0.png is 64x30, but sharp/0.png is 64x40" in message
        assert all(f"{name} cannot be read" in message for name in ("sharp/1.png", "sharp/2.png", "blur/3.jpg"))
        assert "blur/4.png" in message
        assert "5.png" not in message  # the sixth
        assert "(6 in all)" in message
        assert "\n" not in message
        with pytest.raises(BadInputError, match="blur/0.png is 64x30"):
            list(load(source, streaming=True))


def test_broken_halves(load, tmp_path, scene):
    for number in (1, 2):
        save(tmp_path / "data" / f"{number}.png", np.concatenate([scene(1), scene(1)], axis=1))
    save(tmp_path / "data" / "3.png", np.concatenate([scene(1), scene(1)[:, :-1]], axis=1))
    (tmp_path / "data" / "4.png").write_bytes(b"no picture")
    with pytest.raises(BadInputError, match=r"2 pairs .*3.png is 127 pixels wide.*4.png cannot be read"):
        load(tmp_path / "data", layout="side-by-side")


def test_what_is_no_source(load, tmp_path, scene, gopro):
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    save(tmp_path / "photos" / "1.png", scene(0))
    save(tmp_path / "photos" / "2.png", scene(9)[:, ::-1])
    save(tmp_path / "one" / "blur" / "1.png", scene(0))
    for source, more, words in (
        ("gone", {}, "no such folder or file"),
        ("broken.zip", {}, "not a ZIP file"),
        ("words.txt", {}, "is not a source of pairs"),
        ("empty", {}, "holds neither pictures nor"),
        ("photos", {}, "in no layout of pairs"),
        ("one", {}, "holds no sharp pictures"),
        ("one", {"layout": "nested"}, "layout is 'nested'"),
        ("one", {"gamma": True}, "the layout is flat"),
        ("GOPRO_Large", {"split": "validation"}, "holds no split 'validation'; it holds test and train"),
        ("GOPRO_Large", {"columns": {"blurred": "a", "sharp": "b"}}, "columns is for data sets"),
        ("GOPRO_Large", {"revision": "main"}, "revision is for data sets"),
        ("GOPRO_Large/test", {"split": "train"}, "it holds test, as it is not divided into splits"),
    ):
        with pytest.raises(BadInputError, match=words) as caught:
            load(tmp_path / source, **more)
        assert "\n" not in str(caught.value)


def test_encrypted_zip_names_the_picture(load, gopro):
    archive = zipped(gopro)
    data = bytearray(archive.read_bytes())
    # The flag that a member is encrypted, in its own header and in the directory.
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(mark)
        while position >= 0:
            data[position + flags] |= 1
            position = data.find(mark, position + 4)
    archive.write_bytes(data)
    with pytest.raises(BadInputError, match=r"GOPR0372_07_00/blur/000047.png cannot be read \(.*encrypted"):
        load(archive)


def test_a_photo_on_its_side_is_as_large_as_its_upright_partner(load, tmp_path, scene):
    save(tmp_path / "data" / "sharp" / "1.png", scene(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "data" / "blur" / "1.jpg"
    turned.parent.mkdir()
    Image.fromarray(np.rot90(scene(0))).save(turned, exif=exif)
    (row,) = load(tmp_path / "data")
    assert row["blurred"].size == row["sharp"].size == (64, 40)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_not_passed_over(load, gopro):
    closed = gopro / "train" / "GOPR0374_11_01"
    closed.chmod(0)
    try:
        with pytest.raises(BadInputError, match=r"GOPR0374_11_01: the folder cannot be read"):
            load(gopro)
    finally:
        closed.chmod(0o700)


def test_the_package_imports_without_datasets(tmp_path):
    """As without the extra."""
    program = (
        "import sys\n"
        "sys.modules['datasets'] = None\n"
        "from motion_offsets.data import load_pairs, load_sequences\n"
        "from motion_offsets import BadInputError\n"
        "for load in (load_pairs, load_sequences):\n"
        "    try:\n        load('somewhere')\n"
        "    except BadInputError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f'{name} needs datasets: pip install "datasets>=4"' for name in ("load_pairs", "load_sequences")
    ], done.stderr


def test_links_within_a_folder_give_no_pair_twice(load, tmp_path: Path, generator: np.random.Generator) -> None:
    """``latest -> .`` and ``up -> ..`` are loops; ``near`` and ``more`` lead to two other places."""
    pictures = generator.integers(256, size=(8, 16, 20, 3), dtype=np.uint8)
    for number, (folder, kind) in enumerate(
        (folder, kind) for folder in ("pairs", "far") for kind in ("blur", "sharp")
    ):
        (tmp_path / folder / kind).mkdir(parents=True, exist_ok=True)
        for frame in range(2):
            Image.fromarray(pictures[2 * number + frame]).save(tmp_path / folder / kind / f"{frame}.png")
    (tmp_path / "pairs" / "latest").symlink_to(".")
    (tmp_path / "pairs" / "blur" / "up").symlink_to("..")
    assert len(load(tmp_path / "pairs")) == 2
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "near").symlink_to(tmp_path / "pairs")
    (tmp_path / "all" / "more").symlink_to(tmp_path / "far")
    assert len(load(tmp_path / "all")) == 4

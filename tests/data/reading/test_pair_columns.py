"""Data sets with two image columns, as Parquet and WebDataset files and folders of them."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from picture_files import save
from PIL import Image

from motion_offsets.data import load_pairs
from motion_offsets.errors import BadInputError

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
Scene = Callable[[int], np.ndarray]


@pytest.fixture
def load(tmp_path: Path):
    """``load_pairs`` with a cache of the test's own."""
    return lambda source, split="train", **more: load_pairs(source, split, cache_dir=tmp_path / "cache", **more)


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, first: str, second: str, pictures: list[tuple], **columns: list) -> Path:
    """A Parquet file of two columns of encoded pictures, and more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {first: datasets.Image(), second: datasets.Image()}
    for name, values in columns.items():
        features[name] = datasets.Value("string" if isinstance(values[0], str) else "int32")
    roles = [
        [None if data is None else {"bytes": data, "path": None} for data in role]
        for role in zip(*pictures, strict=True)
    ]
    rows = datasets.Dataset.from_dict(
        {first: roles[0], second: roles[1], **columns}, features=datasets.Features(features)
    )
    rows.to_parquet(str(path))
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def check(data, expected: list[tuple[str, int]], scene: Scene) -> None:
    """Rows of these names; row n is the scene shifted by n and by n + 10."""
    assert list(data.features) == ["blurred", "sharp", "sequence", "frame"]
    assert data.features["sequence"] == datasets.Value("string")
    assert data.features["frame"] == datasets.Value("int64")
    rows = list(data)
    assert [(row["sequence"], row["frame"]) for row in rows] == expected
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(np.asarray(row["blurred"]), scene(number))
        np.testing.assert_array_equal(np.asarray(row["sharp"]), scene(number + 10))


@pytest.fixture
def pictures(scene: Scene) -> list[tuple[bytes, bytes]]:
    return [(encoded(scene(number)), encoded(scene(number + 10))) for number in range(3)]


@both_ways
def test_parquet(load, tmp_path, scene, pictures, streaming):
    folder = tmp_path / "repo"
    write_parquet(folder / "data" / "train-00000-of-00002.parquet", "lq", "hq", pictures[:2], label=["a", "b"])
    write_parquet(folder / "data" / "train-00001-of-00002.parquet", "lq", "hq", pictures[2:], label=["c"])
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", "lq", "hq", pictures[:1], label=["d"])
    save(folder / "pictures" / "on-the-card.png", scene(5))
    check(load(folder, streaming=streaming), [("", 0), ("", 1), ("", 2)], scene)
    check(load(folder, "test", streaming=streaming), [("", 0)], scene)
    file = write_parquet(tmp_path / "named.parquet", "first", "other", pictures, sequence=["s"] * 3, frame=[4, 5, 6])
    columns = {"blurred": "first", "sharp": "other"}
    check(load(file, streaming=streaming, columns=columns), [("s", 4), ("s", 5), ("s", 6)], scene)


@both_ways
def test_webdataset(load, tmp_path, scene, pictures, streaming):
    members = {}
    for number, (blurred, sharp) in enumerate(pictures):
        members |= {f"GOPR0372/{number:06d}.blur.png": blurred, f"GOPR0372/{number:06d}.sharp.png": sharp}
    expected = [("GOPR0372", 0), ("GOPR0372", 1), ("GOPR0372", 2)]
    check(load(write_tar(tmp_path / "pairs.tar", members), streaming=streaming), expected, scene)
    write_tar(tmp_path / "repo" / "train" / "00000.tar", members)
    check(load(tmp_path / "repo", streaming=streaming), expected, scene)


def test_a_second_call_uses_the_cache(load, tmp_path, pictures):
    file = write_parquet(tmp_path / "pairs.parquet", "blurred", "sharp", pictures)
    load(file)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.arrow")}
    load(file)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.arrow")} == before
    assert any("cache-" in path.name for path in before)  # the outcome of the check


def test_faulty_rows_are_listed(load, tmp_path, scene, pictures):
    blurred, sharp = pictures[0]
    rows = [(blurred, sharp), (blurred, None), (blurred, sharp[:-40]), (encoded(scene(0)[:30]), sharp), (None, sharp)]
    rows += [(b"no picture", sharp), (None, sharp)]
    file = write_parquet(tmp_path / "pairs.parquet", "blurred", "sharp", rows)
    with pytest.raises(BadInputError) as caught:
        load(file)
    message = str(caught.value)
    for words in (
        "6 of 7 pairs",
        "row 1 has no sharp picture",
        "the sharp picture of row 2 cannot be read",
        "row 3: blurred is 64x30, but sharp is 64x40",
        "row 4 has no blurred picture",
        "the blurred picture of row 5 cannot be read",
        "(6 in all)",
    ):
        assert words in message
    assert "row 6" not in message
    assert "\n" not in message
    with pytest.raises(BadInputError, match="row 1 has no sharp picture"):
        list(load(file, streaming=True))


@both_ways
def test_what_cannot_be_loaded(load, tmp_path, pictures, streaming):
    file = write_parquet(tmp_path / "repo" / "train.parquet", "one", "two", pictures, label=["a"] * 3)
    (tmp_path / "broken.parquet").write_bytes(file.read_bytes()[:100])
    for source, more, words in (
        (file, {}, "which of its columns one, two, label"),
        (file, {"columns": {"blurred": "one", "sharp": "three"}}, "has no column 'three'; it has one, two, label"),
        (file, {"columns": {"blurred": "one"}}, "it must give the names of blurred and of sharp"),
        (file, {"columns": {"blurred": "one", "sharp": "label"}}, "column 'label' holds no pictures"),
        (tmp_path / "repo", {"split": "test"}, "cannot be loaded .*test"),
        (tmp_path / "broken.parquet", {}, "broken.parquet: cannot be"),
        ("somebody/unknown-pairs", {}, "somebody/unknown-pairs: "),
    ):
        with pytest.raises(BadInputError, match=words) as caught:
            list(load(source, streaming=streaming, **more))
        assert "\n" not in str(caught.value)


@both_ways
def test_imagefolder_whose_metadata_names_both_pictures(load, tmp_path, scene, pictures, streaming):
    """As ``datasets`` documents it for several pictures in a row; without it, the folders' names would pair them."""
    for form in ("csv", "jsonl"):
        folder = tmp_path / form
        for number, pair in enumerate(pictures):
            for role, data in zip(("input", "target"), pair, strict=True):
                path = folder / "train" / role / f"{role}-{'abc'[number]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        rows = [
            {"blurred_file_name": f"input/input-{name}.png", "sharp_file_name": f"target/target-{name}.png"}
            for name in "abc"
        ]
        if form == "csv":
            lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        else:
            lines = [json.dumps(row) for row in rows]
        (folder / "train" / f"metadata.{form}").write_text("\n".join(lines) + "\n")
        check(load(folder, streaming=streaming), [("", 0), ("", 1), ("", 2)], scene)


@both_ways
def test_what_save_to_disk_wrote(load, tmp_path, scene, pictures, streaming):
    table = datasets.load_dataset(
        "parquet",
        data_files={"train": str(write_parquet(tmp_path / "pairs.parquet", "blurred", "sharp", pictures))},
        split="train",
        cache_dir=str(tmp_path / "made"),
    )
    names = [("", 0), ("", 1), ("", 2)]
    table.save_to_disk(str(tmp_path / "one"))
    check(load(tmp_path / "one", streaming=streaming), names, scene)
    datasets.DatasetDict(validation=table).save_to_disk(str(tmp_path / "several"))
    check(load(tmp_path / "several", "val", streaming=streaming), names, scene)
    for folder, words in (("one", "not divided into splits"), ("several", "one of validation")):
        with pytest.raises(BadInputError, match=words):
            load(tmp_path / folder, "test", streaming=streaming)


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_streams_reach_workers_that_are_spawned(load, tmp_path, pictures, kind):
    """Under Python 3.14 workers no longer start by fork, so that what they read must be pickled."""
    if kind == "parquet":
        path = write_parquet(tmp_path / "pairs.parquet", "blurred", "sharp", pictures)
    else:
        members = {f"{number}.{role}.png": pair[part] for number, pair in enumerate(pictures)
                   for part, role in enumerate(("blurred", "sharp"))}  # fmt: skip
        path = write_tar(tmp_path / "pairs.tar", members)
    stream = load(path, streaming=True)
    again = pickle.loads(pickle.dumps(stream))
    assert [row["frame"] for row in again] == [0, 1, 2]
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=1, multiprocessing_context="spawn", collate_fn=_frame_of
    )
    assert list(loader) == [0, 1, 2]


def _frame_of(row: dict) -> int:
    return row["frame"]

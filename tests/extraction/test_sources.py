"""Files, folders, patterns and data sets become photos, each with a result's name of its own."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from local_hub import local_hub
from PIL import Image

from motion_offsets.errors import BadInputError
from motion_offsets.extraction.sources import Item, PhotoSources, Share, find_sources
from motion_offsets.io.images import load_array
from motion_offsets.io.photo_sources import EncodedPhoto


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(values: list[int], **columns: list) -> datasets.Dataset:
    pictures = [{"bytes": png(value), "path": None} for value in values]
    features = {"photo": datasets.Image()} | {
        name: datasets.Image() if isinstance(column[0], dict) else datasets.Value("string")
        for name, column in columns.items()
    }
    return datasets.Dataset.from_dict({"photo": pictures, **columns}, features=datasets.Features(features))


def write_tar(path: Path, keys: list[str], first: int) -> Path:
    with tarfile.open(path, "w") as archive:
        for number, key in enumerate(keys):
            for suffix, content in ((".png", png(first + number)), (".json", b'{"of": "a street"}')):
                entry = tarfile.TarInfo(key + suffix)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def items(sources: PhotoSources, share: Share | None = None) -> list[Item]:
    return [item for _, stream in sources.streams(share or Share()) for item in stream]


def shown(item: Item) -> int:
    """The grey value of an item's picture."""
    return round(float(load_array(item.photo)[0, 0, 0]) * 255)


def test_photos_on_disk_keep_their_names(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(7))
    sources = find_sources([str(tmp_path), str(tmp_path / "a.png"), "missing.jpg"])
    assert [item.result for item in items(sources)] == ["a", "b", "missing"]
    assert sources.count(Share()) == 3
    assert [item.result for item in items(sources, Share(1, 2))] == ["b"]


def test_rows_of_parquet(tmp_path: Path) -> None:
    table([10, 20, 30]).to_parquet(tmp_path / "street.parquet")
    (tmp_path / "street.png").write_bytes(png(40))
    sources = find_sources([str(tmp_path / "street.parquet"), str(tmp_path / "street.png")])
    assert sources.count(Share()) is None
    found = items(sources)
    # The data set's folder gives way to the photo's.
    names = ["street", "street-2/00000000", "street-2/00000001", "street-2/00000002"]
    assert [item.result for item in found] == names
    assert [shown(item) for item in found] == [40, 10, 20, 30]
    assert str(found[1]) == f"{tmp_path / 'street.parquet'}, row 0"


def test_parquet_without_the_notes_of_datasets(tmp_path: Path) -> None:
    pictures = [{"bytes": png(value), "path": f"deep/er/p {value}.png"} for value in (1, 2)]
    datasets.Dataset.from_dict({"id": [1, 2], "image": pictures}).to_parquet(tmp_path / "plain.parquet")
    found = items(find_sources([str(tmp_path / "plain.parquet")]))
    assert [item.result for item in found] == ["plain/00000000-p-1", "plain/00000001-p-2"]
    assert [shown(item) for item in found] == [1, 2]


def test_webdataset_shards_by_pattern(tmp_path: Path) -> None:
    write_tar(tmp_path / "shard-0.tar", ["one", "two"], 1)
    write_tar(tmp_path / "shard-1.tar", ["one", "dir/t w o"], 3)
    sources = find_sources([str(tmp_path / "shard-*.tar")])
    found = items(sources)
    names = ["shard-0/00000000-one", "shard-0/00000001-two", "shard-1/00000000-one", "shard-1/00000001-t-w-o"]
    assert [item.result for item in found] == names
    assert [shown(item) for item in found] == [1, 2, 3, 4]
    # A folder of shards is one data set.
    (tmp_path / "readme.txt").touch()
    of_folder = items(find_sources([str(tmp_path)]))
    assert [shown(item) for item in of_folder] == [1, 2, 3, 4]
    assert of_folder[3].result == f"{tmp_path.name}-00001/00000001-t-w-o"


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_together_are_all_photos_and_none_twice(tmp_path: Path, count: int) -> None:
    """With fewer shards than parts, rows are shared out; names do not depend on it."""
    for shard in range(2):
        write_tar(tmp_path / f"shard-{shard}.tar", [f"k{number}" for number in range(5)], 10 * shard)
    (tmp_path / "photo.png").write_bytes(png(99))
    sources = find_sources([str(tmp_path / "photo.png"), *(str(path) for path in tmp_path.glob("*.tar"))])
    parts = [[item.result for item in items(sources, Share(index, count))] for index in range(count)]
    together = [name for part in parts for name in part]
    assert len(together) == len(set(together)) == 11
    assert set(together) == {item.result for item in items(sources)}


def test_folder_that_save_to_disk_wrote(tmp_path: Path) -> None:
    both = datasets.DatasetDict(train=table([1]), test=table([2, 3]))
    both.save_to_disk(tmp_path / "saved")
    found = items(find_sources([str(tmp_path / "saved")], split="test"))
    assert [shown(item) for item in found] == [2, 3]
    with pytest.raises(BadInputError, match="no split 'dev'; give `split`, one of train, test"):
        find_sources([str(tmp_path / "saved")], split="dev")


def test_the_blurred_column_of_pairs_is_taken(tmp_path: Path) -> None:
    other = [{"bytes": png(200), "path": None}]
    table([1], sharp=other, blurred=[{"bytes": png(5), "path": None}]).to_parquet(tmp_path / "pairs.parquet")
    path = str(tmp_path / "pairs.parquet")
    assert [shown(item) for item in items(find_sources([path]))] == [5]
    assert [shown(item) for item in items(find_sources([path], column="sharp"))] == [200]


def test_a_column_that_is_not_plain_is_one_line(tmp_path: Path) -> None:
    other = [{"bytes": png(200), "path": None}]
    table([1], second=other, text=["x"]).to_parquet(tmp_path / "two.parquet")
    path = str(tmp_path / "two.parquet")
    with pytest.raises(BadInputError, match=r"give `column` \(its pictures may be photo, second\)"):
        find_sources([path])
    with pytest.raises(BadInputError, match="no column 'third'; give `column`, one of photo, second, text"):
        find_sources([path], column="third")
    with pytest.raises(BadInputError, match="column 'text' holds no pictures"):
        find_sources([path], column="text")


def test_what_is_no_data_set_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").write_bytes(png(1))
    with pytest.raises(BadInputError, match="`split` is for data sets"):
        find_sources([str(tmp_path / "photo.png")], split="test")
    with pytest.raises(BadInputError, match="give hub:org/name"):
        find_sources(["hub:name"])
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="there is a folder org/name here"):
        find_sources(["hub:org/name"])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadInputError, match=r"broken\.parquet: cannot be"):
        find_sources([str(tmp_path / "broken.parquet")])


def test_a_broken_shard_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    write_tar(tmp_path / "shard-0.tar", ["one"], 1)
    (tmp_path / "shard-1.tar").write_bytes(b"no tar")
    streams = find_sources([str(tmp_path / "*.tar")]).streams(Share())
    assert [len(list(stream)) for _, (_, stream) in zip(range(2), streams, strict=False)] == [0, 1]
    name, broken = next(streams)
    assert name == str(tmp_path / "shard-1.tar")
    with pytest.raises(BadInputError, match=r"shard-1\.tar: cannot be"):
        next(broken)


def test_a_row_without_a_picture_is_refused_by_name(tmp_path: Path) -> None:
    pictures = [{"bytes": png(1), "path": None}, None]
    datasets.Dataset.from_dict({"image": pictures}, features=datasets.Features(image=datasets.Image())).to_parquet(
        tmp_path / "gap.parquet"
    )
    found = items(find_sources([str(tmp_path / "gap.parquet")]))
    assert isinstance(found[1].photo, EncodedPhoto)
    with pytest.raises(BadInputError, match=r"gap\.parquet, row 1: is empty"):
        load_array(found[1].photo)


@pytest.mark.parametrize(("index", "count", "said"), [(0, 0, "`num_shards` is 0"), (2, 2, "`shard_index` is 2, of 2")])
def test_parts_that_do_not_exist(index: int, count: int, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        Share(index, count)


def test_pictures_that_lie_beside_the_table(tmp_path: Path) -> None:
    """A data set may name files; they are read where they lie."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "far.png").write_bytes(png(33))
    rows = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(tmp_path / "data" / "far.png")}]})
    rows.to_parquet(tmp_path / "names.parquet")
    (item,) = items(find_sources([str(tmp_path / "names.parquet")]))
    assert (item.result, shown(item)) == ("names/00000000-far", 33)


READ_FROM_HUB = """
import hashlib, sys
from motion_offsets.errors import BadInputError
from motion_offsets.extraction.sources import Share, find_sources
for name, stream in find_sources(["hub:tester/pairs"]).streams(Share()):
    for item in stream:
        print(item.result, hashlib.sha256(item.photo.content).hexdigest())
try:
    find_sources(["hub:tester/others"])
except BadInputError as error:
    print(error)
"""


def test_data_set_on_the_hub(tmp_path: Path) -> None:
    """Two Parquet files of a split, streamed over HTTP, each a shard."""
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for index, values in enumerate(([1, 2], [3])):
        table(values).to_parquet(tmp_path / "hub" / "data" / f"train-{index:05d}-of-00002.parquet")
    with local_hub(tmp_path / "hub") as hub:
        environment = os.environ | hub.environment(tmp_path / "home")
        command = [sys.executable, "-c", READ_FROM_HUB]
        read = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert read.stdout, read.stderr
    *rows, refusal = read.stdout.splitlines()
    names = ["tester-pairs-00000/00000000", "tester-pairs-00000/00000001", "tester-pairs-00001/00000000"]
    digests = [hashlib.sha256(png(value)).hexdigest() for value in (1, 2, 3)]
    assert rows == [f"{name} {digest}" for name, digest in zip(names, digests, strict=True)], read.stderr
    assert refusal.startswith("tester/others: no folder or file here, and not found on the Hub")

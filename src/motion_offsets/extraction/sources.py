"""Where photos come from: files, folders and patterns, and the rows of data sets, one by one and never all at once.

A photo's result has the name of its file. A row's lies in a folder named for its data set and has its number and its
key: ``shard-0001/00000012-street``. So no two results share a name, however many rows there are, and a row keeps its
name whatever else is extracted beside it.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import BadInputError
from ..io.path_names import as_path
from ..io.photo_files import PHOTO_SUFFIXES, find_photos, result_names
from ..io.photo_sources import EncodedPhoto, describe

HUB_PREFIX = "hub:"
DATA_SUFFIXES = (".parquet", ".arrow", ".tar")
_KEY = "__key__"  # WebDataset's
_MAX_KEY = 80


@dataclass(frozen=True)
class Item:
    """One photo to extract, and the name of its result, a path below the output folder."""

    photo: Path | EncodedPhoto
    result: str

    def __str__(self) -> str:
        return describe(self.photo)


@dataclass(frozen=True)
class DataShard:
    """One file's worth of a data set's rows.

    Args:
        name: what errors call it.
        rows: opens it; gives each row's key, which may be empty, and its picture's bytes or path, as
            :class:`datasets.Image` gives it undecoded.
        result: folder of its results.
    """

    name: str
    rows: Callable[[], Iterator[tuple[str, Mapping[str, Any]]]]
    result: str

    def read(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows; :class:`BadInputError` where the data set is damaged or breaks off."""
        try:
            yield from self.rows()
        except BadInputError:  # a ValueError, too
            raise
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:  # pyarrow's own are among them
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise BadInputError(f"{self.name}: cannot be read further ({reason}); give intact files") from error


@dataclass(frozen=True)
class Share:
    """Part ``index`` of ``count``: what one of several processes or jobs does."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise BadInputError(f"`num_shards` is {self.count}; give a number of parts of at least 1")
        if not 0 <= self.index < self.count:
            raise BadInputError(f"`shard_index` is {self.index}, of {self.count}; give one from 0 to {self.count - 1}")

    def divided(self, index: int, count: int) -> Share:
        """Part ``index`` of ``count`` of this part."""
        return Share(self.index * count + index, self.count * count)

    def of(self, items: Iterable[Any]) -> Iterator[Any]:
        """Every ``count``-th of the items."""
        return (item for number, item in enumerate(items) if number % self.count == self.index)


@dataclass(frozen=True)
class PhotoSources:
    """All photos of one command: those on disk, listed, and data sets, which are read as they are needed."""

    photos: Sequence[Path]
    shards: Sequence[DataShard]

    def count(self, share: Share) -> int | None:
        """Number of photos of a share; unknown where there are data sets."""
        return None if self.shards else len(range(share.index, len(self.photos), share.count))

    def streams(self, share: Share) -> Iterator[tuple[str, Iterator[Item]]]:
        """What a share must read, each with its name: the photos on disk, then one data shard after the other.

        Where there are as many shards as parts, each part reads whole shards; otherwise all read every shard, and take
        every n-th row.
        """
        names = result_names([*self.photos, *(Path(f"{shard.result}.tar") for shard in self.shards)])
        listed = [Item(photo, name) for photo, name in zip(self.photos, names, strict=False)]
        yield "photos", share.of(listed)
        folders = names[len(listed) :]
        placed = zip(self.shards, folders, strict=True)
        if len(self.shards) >= share.count:
            for shard, folder in share.of(placed):
                yield shard.name, _items(shard, folder, Share())
        else:
            for shard, folder in placed:
                yield shard.name, _items(shard, folder, share)


def find_sources(arguments: Sequence[str], split: str | None = None, column: str | None = None) -> PhotoSources:
    """The photos that files, folders, patterns and data sets stand for.

    Args:
        arguments: a photo, a folder of photos or of a data set, a pattern; a Parquet, Arrow or tar (WebDataset) file;
            or ``hub:org/name``, a data set on the Hub.
        split: the split of the data sets, by default ``train``.
        column: the column of their pictures, by default the only one, or the blurred one of a set of pairs.

    Raises:
        BadInputError: a folder or pattern without photos, a data set that cannot be read or whose column of pictures
            is not plain, or ``split`` or ``column`` without a data set.
    """
    photos: list[str] = []
    data: dict[str, None] = {}
    for argument in arguments:
        if argument.startswith(HUB_PREFIX) or _is_data_folder(as_path(argument)):
            data[argument] = None
            continue
        for path in find_photos([argument]):
            if path.suffix.lower() in DATA_SUFFIXES:
                data[str(path)] = None
            else:
                photos.append(str(path))
    if not data and (split or column):
        option = "`split`" if split else "`column`"
        raise BadInputError(
            f"{option} is for data sets; give Parquet, Arrow or tar files, or {HUB_PREFIX}org/name for one on the Hub"
        )
    shards = list(chain.from_iterable(_shards_of(source, split or "train", column) for source in data))
    if shards:
        # The others are opened when their turn comes; what is wrong with all of them, an option say, is said now.
        next(shards[0].read(), None)
    return PhotoSources(find_photos(photos), shards)


def _is_data_folder(folder: Path) -> bool:
    """Whether a folder holds a data set, and no photos of its own."""
    try:
        if not folder.is_dir() or any(entry.suffix.lower() in PHOTO_SUFFIXES for entry in folder.iterdir()):
            return False
        return any(entry.suffix.lower() in DATA_SUFFIXES for entry in folder.rglob("*"))
    except OSError:  # find_photos says what is wrong
        return False


def _shards_of(source: str, split: str, column: str | None) -> Iterator[DataShard]:
    from ..data.reading.tree_datasets import import_datasets

    import_datasets(source).disable_progress_bars()
    path = as_path(source)
    stem = re.sub(r"[^\w.-]+", "-", path.stem if path.exists() else source.removeprefix(HUB_PREFIX)) or "data"
    if path.is_file():
        yield DataShard(source, partial(_rows_of_file, source, split, column), stem)
        return
    data, chosen = _opened(source, split, column)
    count = data.num_shards
    for index in range(count):
        if count == 1:
            yield DataShard(source, partial(_rows, data, chosen), stem)
        else:
            one = partial(_rows, data.shard(num_shards=count, index=index), chosen)
            yield DataShard(f"{source} (part {index})", one, f"{stem}-{index:05d}")


def _opened(source: str, split: str, column: str | None) -> tuple[Any, str]:
    """A data set, its pictures undecoded, and the column of these."""
    data = _streamed(source, split)
    chosen = _picture_column(source, data, column)
    data = _undecoded(source, data, chosen)
    return data.select_columns([chosen, _KEY] if _KEY in (data.column_names or ()) else [chosen]), chosen


def _rows_of_file(source: str, split: str, column: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return _rows(*_opened(source, split, column))


def _rows(data: Any, column: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in data:
        yield row.get(_KEY) or "", row[column] or {}


def _streamed(source: str, split: str) -> Any:
    from ..data.reading.pair_columns import load_rows

    name = source.removeprefix(HUB_PREFIX)
    if source.startswith(HUB_PREFIX):
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise BadInputError(f"{source}: is not a data set's name; give {HUB_PREFIX}org/name")
        if Path(name).exists():  # which datasets would read in its place
            raise BadInputError(f"{source}: there is a folder {name} here; run this elsewhere, or give the folder")
    return load_rows(name, split, True, None, {})


def _picture_column(source: str, rows: Any, column: str | None) -> str:
    from datasets import Image

    from ..data.reading.layouts import role_of

    features = rows.features or {}
    names = list(features) or list(rows.column_names or ())
    if column is not None:
        if names and column not in names:
            raise BadInputError(f"{source}: has no column {column!r}; give `column`, one of {', '.join(names)}")
        return column
    pictures = [name for name, kind in features.items() if isinstance(kind, Image)]
    # Without the notes of datasets, a Parquet file's pictures are plain structures of bytes and path.
    pictures = pictures or [name for name, kind in features.items() if isinstance(kind, dict) and "bytes" in kind]
    blurred = [name for name in pictures if role_of(name) == "blurred"]
    if len(pictures) != 1 and len(blurred) != 1:
        which = f"its pictures may be {', '.join(pictures)}" if pictures else f"it has {', '.join(names) or 'none'}"
        raise BadInputError(f"{source}: which of its columns holds the photos is unclear; give `column` ({which})")
    return blurred[0] if len(pictures) != 1 else pictures[0]


def _undecoded(source: str, rows: Any, column: str) -> Any:
    from datasets import Image, Value

    kind = (rows.features or {}).get(column)
    if not isinstance(kind, Image | dict) and kind not in (None, Value("binary"), Value("large_binary")):
        raise BadInputError(f"{source}: column {column!r} holds no pictures; give `column`, one of encoded images")
    try:
        return rows.cast_column(column, Image(decode=False))
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's own errors are among them
        raise BadInputError(f"{source}: column {column!r} holds no pictures; give `column`, another one") from error


def _items(shard: DataShard, folder: str, share: Share) -> Iterator[Item]:
    for number, (key, picture) in enumerate(shard.read()):
        if number % share.count == share.index:
            key = _plain(key or Path(picture.get("path") or "").stem)
            result = f"{folder}/{number:08d}{f'-{key}' if key else ''}"
            yield Item(EncodedPhoto(f"{shard.name}, row {number}", _content(picture)), result)


def _content(picture: Mapping[str, Any]) -> bytes:
    if picture.get("bytes") is not None:
        return picture["bytes"]
    if not picture.get("path"):
        return b""  # which is refused when the photo's turn comes, by name
    import fsspec  # comes with datasets

    with fsspec.open(picture["path"], "rb") as file:
        return file.read()


def _plain(key: str) -> str:
    """A key as part of a folder's name on any system."""
    return re.sub(r"[^\w.-]+", "-", key.rpartition("/")[2]).strip(".-")[:_MAX_KEY]

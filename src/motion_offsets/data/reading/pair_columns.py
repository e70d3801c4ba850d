"""Pairs from any data set with two image columns: Hub repositories, Parquet, Arrow and WebDataset files."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInputError
from ...io.path_names import as_path
from .features import check_same_size, pair_features
from .file_trees import listed, picture_size
from .layouts import numbered, role_of, split_name

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}
_HUB_PREFIX = "hf://datasets/"
# What save_to_disk leaves beside the rows.
SAVED_TO_DISK = ("dataset_dict.json", "state.json")
_ROLES = ("blurred", "sharp")
# Columns of other data sets that name a sample: WebDataset's key.
_KEY = "__key__"


def load_columns(
    source: str,
    split: str,
    columns: Mapping[str, str] | None,
    streaming: bool,
    cache_dir: str | None,
    arguments: Mapping[str, Any],
) -> Dataset | IterableDataset:
    """See :func:`~motion_offsets.data.reading.pairs.load_pairs`."""
    data = load_rows(source, split, streaming, cache_dir, arguments)
    names = data.column_names or list(next(iter(data), {}))
    chosen = _chosen(source, names, columns)
    kept = [*chosen.values(), *(name for name in ("sequence", "frame", _KEY) if name in names)]
    # First of all: what comes after would decode the pictures and encode them again.
    data = _encoded(source, data, chosen)
    data = data.select_columns(list(dict.fromkeys(kept)))
    data = data.rename_columns({name: role for role, name in chosen.items() if name != role})
    if streaming:
        return _numbered_stream(source, data, kept)
    _check(source, data)
    return _numbered_table(data)


def load_rows(source: str, split: str, streaming: bool, cache_dir: str | None, arguments: Mapping[str, Any]) -> Any:
    """The rows of a Parquet, Arrow or tar file, of a folder of such files or of one that ``save_to_disk`` wrote, or of
    ``org/name`` on the Hub.

    Raises:
        BadInputError: it does not exist, has no such split, or cannot be read.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    path = as_path(source)
    given: dict[str, Any] = dict(arguments)
    name = source.removeprefix(_HUB_PREFIX)
    if path.is_file():
        # A file is not divided into splits, and so is train.
        name = _BUILDERS[path.suffix.lower()]
        given["data_files"] = {"train": [str(path)]}
    elif is_saved_to_disk(path):
        return _saved_to_disk(path, split, streaming)
    elif path.is_dir():
        name = str(path)
    try:
        return datasets.load_dataset(
            name, split=_known_split(split), streaming=streaming, cache_dir=cache_dir, **given
        )
    except DatasetNotFoundError as error:
        raise BadInputError(
            f"{source}: no folder or file here, and not found on the Hub, or private; check the name, or log in"
        ) from error
    except DatasetGenerationError as error:
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInputError(f"{source}: no space left for the cache of datasets; give another cache_dir") from None
        raise BadInputError(f"{source}: cannot be read ({_one_line(cause)}); give intact files") from error
    except (ConnectionError, HfHubHTTPError) as error:
        raise BadInputError(f"{source}: the Hub cannot be reached ({_one_line(error)}); check the network") from error
    except (ValueError, TypeError, OSError) as error:  # an unknown split, a bad argument, damaged files
        raise BadInputError(f"{source}: cannot be loaded ({_one_line(error)})") from error


def is_saved_to_disk(folder: Path) -> bool:
    """Whether a folder is what ``save_to_disk`` of ``datasets`` writes."""
    return any((folder / name).is_file() for name in SAVED_TO_DISK)


def _saved_to_disk(folder: Path, split: str, streaming: bool) -> Any:
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own are among them
        raise BadInputError(
            f"{folder}: cannot be read ({_one_line(error)}); give a folder that save_to_disk wrote"
        ) from error
    if isinstance(found, datasets.DatasetDict):
        wanted = next((name for name in (split, split_name(split)) if name in found), None)
        if wanted is None:
            raise BadInputError(f"{folder}: holds no split {split!r}; give `split`, one of {', '.join(found)}")
        found = found[wanted]
    elif split_name(split) not in ("train", str(found.split)):
        raise BadInputError(f"{folder}: holds no split {split!r}, as it is not divided into splits")
    return found.to_iterable_dataset() if streaming else found


def _known_split(split: str) -> str:
    """``val`` as ``validation``, and what datasets alone understands, such as ``train[:10%]``, as it is."""
    name, bracket, rest = split.partition("[")
    return split_name(name) + bracket + rest


def _chosen(source: str, names: Sequence[str], columns: Mapping[str, str] | None) -> dict[str, str]:
    """The column of each role."""
    if columns is not None:
        if sorted(columns) != sorted(_ROLES):
            raise BadInputError(f"columns is {dict(columns)}; it must give the names of blurred and of sharp")
        for name in columns.values():
            if name not in names:
                raise BadInputError(f"{source}: has no column {name!r}; it has {', '.join(names)}")
        return {role: columns[role] for role in _ROLES}
    found = {role: [name for name in names if role_of(name) == role] for role in _ROLES}
    if any(len(candidates) != 1 for candidates in found.values()):
        raise BadInputError(
            f"{source}: which of its columns {', '.join(names)} are the pictures is unclear; say "
            "columns={'blurred': ..., 'sharp': ...}"
        )
    return {role: found[role][0] for role in _ROLES}


def _encoded(source: str, data: Any, chosen: Mapping[str, str]) -> Any:
    """The two columns as encoded pictures, so that the checks need not decode them."""
    from datasets import Image, Value

    for name in chosen.values():
        kind = (data.features or {}).get(name)
        pictures = isinstance(kind, Image | dict) or kind in (None, Value("binary"), Value("large_binary"))
        try:
            data = data.cast_column(name, Image(decode=False)) if pictures else None
        except (ValueError, TypeError, NotImplementedError):  # pyarrow's own errors are among them
            data = None
        if data is None:
            raise BadInputError(f"{source}: column {name!r} holds no pictures; name one of encoded images")
    return data


def _check(source: str, data: Any) -> None:
    """Refuse pictures that are missing, unreadable or of two sizes; datasets keeps the outcome in its cache."""
    from datasets import Features, Value

    checked = data.map(
        _find_fault,
        with_indices=True,
        input_columns=list(_ROLES),
        remove_columns=data.column_names,
        features=Features(fault=Value("string")),
        desc="Checking pairs",
    )
    faults = [fault for fault in checked["fault"] if fault]
    if faults:
        raise BadInputError(
            f"{source}: {len(faults)} of {len(data)} pairs cannot be used: {listed(faults, len(faults))}; replace or "
            "remove them"
        )


def _find_fault(blurred: dict | None, sharp: dict | None, index: int) -> dict[str, str]:
    sizes = []
    for role, picture in zip(_ROLES, (blurred, sharp), strict=True):
        if picture is None:
            return {"fault": f"row {index} has no {role} picture"}
        try:
            sizes.append(picture_size(_bytes_of(picture)))
        except (BadInputError, OSError) as error:
            return {"fault": f"the {role} picture of row {index} {error}"}
    try:
        check_same_size("blurred", sizes[0], "sharp", sizes[1])
    except BadInputError as error:
        return {"fault": f"row {index}: {error}"}
    return {"fault": ""}


def _bytes_of(picture: Mapping[str, Any]) -> bytes:
    if picture["bytes"] is not None:
        return picture["bytes"]
    if os.path.isfile(picture["path"]):
        return Path(picture["path"]).read_bytes()
    from huggingface_hub import HfFileSystem  # a picture that a Hub repository keeps beside its table

    return HfFileSystem().read_bytes(picture["path"])


def _numbered_table(data: Any) -> Dataset:
    """Give the rows sequence and frame where they have none, without touching the pictures."""
    names = _names_of(data[_KEY] if _KEY in data.column_names else None, len(data))
    made = {"sequence": [name for name, _ in names], "frame": [number for _, number in names]}
    for column, feature in pair_features().items():
        if column in _ROLES:
            data = data.cast_column(column, feature)
        elif column not in data.column_names:
            data = data.add_column(column, made[column], feature=feature)
        elif data.features[column] != feature:
            values = list(map(str if column == "sequence" else int, data[column]))
            data = data.remove_columns(column).add_column(column, values, feature=feature)
    return data.select_columns(list(pair_features()))


def _names_of(keys: Sequence[str] | None, count: int) -> list[tuple[str, int]]:
    """Sequence and frame of rows: by their keys, or else numbered from 0."""
    if keys is None:
        return [("", row) for row in range(count)]
    parts = [tuple(key.split("/")) for key in keys]
    numbers = numbered(parts)
    return [numbers[part] for part in parts]


def _numbered_stream(source: str, data: Any, names: Sequence[str]) -> IterableDataset:
    """The same and the checks, as the rows come by."""
    complete = partial(_complete, source=source)  # and no closure, which workers that are spawned could not be sent
    spare = [name for name in names if name == _KEY]
    # Features given to map would count as applied already, and nothing would decode the pictures.
    return data.map(complete, with_indices=True, remove_columns=spare).cast(pair_features())


def _complete(row: dict[str, Any], index: int, source: str) -> dict[str, Any]:
    fault = _find_fault(row["blurred"], row["sharp"], index)["fault"]
    if fault:
        raise BadInputError(f"{source}: {fault}; replace or remove it")
    key = row.get(_KEY)
    ((sequence, frame),) = _names_of([key], 1) if key else [("", index)]
    return {
        "blurred": row["blurred"],
        "sharp": row["sharp"],
        "sequence": row.get("sequence", sequence),
        "frame": row.get("frame", frame),
    }


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

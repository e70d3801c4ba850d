"""Pairs of a blurred and a sharp picture from every layout in use, as a :class:`datasets.Dataset`."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from ...errors import BadInputError
from ...io.path_names import as_path
from .features import check_same_size, pair_features
from .file_trees import FileTree, picture_size
from .layouts import Pair, has_roles, is_gopro, numbered, of_split, pairs_by_role, split_name, split_of_folders
from .tree_datasets import checked_size, examples_of, from_rows, import_datasets, made_picture

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

LAYOUTS = ("gopro", "flat", "side-by-side", "columns")
GOPRO_PAIRS = {"train": 2103, "test": 1111}
COLUMN_SUFFIXES = (".parquet", ".tar", ".arrow")

_HUB_NAME = re.compile(r"(?:hf://datasets/)?[\w.-]+/[\w.-]+")
# How alike the halves of a picture are (correlation of small grey versions) where they show the same scene.
_SAME_SCENE = 0.8
_LOOKED_AT = 3


def load_pairs(
    source: str | os.PathLike[str],
    split: str = "train",
    *,
    layout: str | None = None,
    gamma: bool = False,
    columns: Mapping[str, str] | None = None,
    streaming: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    **hub_arguments: Any,
) -> Dataset | IterableDataset:
    """Load blurred and sharp pictures, matched by name.

    =================  ============================================================================================
    layout             what it is
    =================  ============================================================================================
    ``gopro``          GOPRO_Large as distributed, ``train|test/GOPR…/{blur,blur_gamma,sharp}/NNNNNN.png``
    ``flat``           folders ``blur|blurred|input|lq`` beside ``sharp|target|gt|hq``, at any depth
    ``side-by-side``   pictures whose left half is blurred and whose right half is sharp
    ``columns``        a data set with two image columns: Hub repo, Parquet or WebDataset files, a folder that
                       ``save_to_disk`` wrote, an ``imagefolder`` whose metadata names both pictures
                       (``blurred_file_name``, ``sharp_file_name``)
    =================  ============================================================================================

    The first three are a folder, read in place, or a ZIP file: streaming reads it in place, too, and otherwise its
    pictures are copied into the cache of ``datasets``, for random access. Every picture is checked on the first call;
    the next call finds the cache, unless a file has changed.

    Args:
        source: folder, ZIP file, Parquet or tar file, or ``org/name`` on the Hub.
        split: ``train``, ``validation`` or ``test``; a source that is not divided is ``train``.
        layout: one of the above; by default it is recognised.
        gamma: ``gopro`` only: the pictures averaged in linear light (``blur_gamma``), not the encoded ones (``blur``).
        columns: ``columns`` only: ``{"blurred": name, "sharp": name}``; by default recognised by their names.
        streaming: return an ``IterableDataset``, which reads, checks and decodes as it goes.
        cache_dir: where ``datasets`` keeps its cache.
        **hub_arguments: ``columns`` only: more for :func:`datasets.load_dataset`, such as ``name`` or ``revision``.

    Returns:
        Features ``blurred`` and ``sharp`` (``Image``, RGB), ``sequence`` (string), ``frame`` (int64).

    Raises:
        BadInputError: ``datasets`` is not installed; the source or the split does not exist; or pictures have no
            partner, differ in size from it or cannot be read: the first five are listed.
    """
    import_datasets("load_pairs")
    if layout is not None and layout not in LAYOUTS:
        raise BadInputError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    path = as_path(source)
    tree = FileTree(path)
    pictures: list[str] = []
    if layout != "columns" and _holds_files(source, path):
        pictures = tree.pictures()
    layout = layout or _recognised(source, tree, pictures)
    if gamma and layout != "gopro":
        raise BadInputError(f"{source}: gamma chooses between the blurred pictures of gopro; the layout is {layout}")
    cache = None if cache_dir is None else os.fspath(cache_dir)
    if layout == "columns":
        from .pair_columns import load_columns

        return load_columns(os.fspath(source), split, columns, streaming, cache, hub_arguments)
    if columns or hub_arguments:
        given = "columns" if columns else next(iter(hub_arguments))
        raise BadInputError(f"{source}: {given} is for data sets with columns; the layout is {layout}")
    if not pictures:
        raise BadInputError(f"{source}: holds no pictures; give a folder or ZIP file of blurred and sharp ones")
    if layout == "side-by-side":
        pairs = _side_by_side(str(source), pictures, split)
    else:
        pairs = pairs_by_role(str(source), pictures, split, gamma)
    if layout == "gopro" and is_gopro(pictures):
        _warn_of_missing(str(source), split, len(pairs))
    rows = [[pair.sequence, pair.frame, pair.blurred, pair.sharp, tree.stamp(pair.blurred)] for pair in pairs]
    if layout != "side-by-side":
        rows = [[*row, tree.stamp(pair.sharp)] for row, pair in zip(rows, pairs, strict=True)]
    return from_rows(_pair_examples, tree, rows, pair_features(), split, streaming, cache, halves=layout == LAYOUTS[2])


def _holds_files(source: str | os.PathLike[str], path: Path) -> bool:
    """Whether the source is a folder or ZIP file here; neither here nor on the Hub is refused."""
    if path.is_dir():
        return True
    if path.is_file():
        if path.suffix.lower() in COLUMN_SUFFIXES:
            return False
        if path.suffix.lower() == ".zip":
            return True
        raise BadInputError(
            f"{path}: is not a source of pairs; give a folder, a ZIP, Parquet or tar file or a Hub name"
        )
    if not _HUB_NAME.fullmatch(os.fspath(source)) or os.fspath(source).startswith((".", "/")):
        raise BadInputError(f"{source}: no such folder or file; check the path, or give org/name on the Hub")
    return False


def _recognised(source: str | os.PathLike[str], tree: FileTree, pictures: Sequence[str]) -> str:
    from .pair_columns import is_saved_to_disk

    if tree.root.is_dir() and (is_saved_to_disk(tree.root) or _tells_pairs(tree)):
        return "columns"
    if is_gopro(pictures):
        return "gopro"
    if has_roles(pictures):
        return "flat"
    # Pictures beside tables illustrate the data set's card.
    local = tree.root.is_dir()
    if not local and not pictures or local and any(name.lower().endswith(COLUMN_SUFFIXES) for name in tree.names()):
        return "columns"
    if not pictures:
        raise BadInputError(f"{source}: holds neither pictures nor Parquet or tar files; check the path")
    if _look_side_by_side(tree, pictures):
        return "side-by-side"
    raise BadInputError(
        f"{source}: its pictures are in no layout of pairs; put them in two folders, blur and sharp, or name the "
        f"layout: {', '.join(LAYOUTS)}"
    )


def _tells_pairs(tree: FileTree) -> bool:
    """Whether a table beside the pictures names two of them in a row, as ``imagefolder`` of ``datasets`` reads it."""
    for name in tree.names():
        reader = _METADATA.get(name.rpartition("/")[2])
        if reader is not None:
            try:
                columns = reader(tree.root / name)
            except (OSError, ValueError, StopIteration, AttributeError) as error:
                raise BadInputError(f"{tree.root / name}: cannot be read ({error}); give an intact table") from None
            return len([column for column in columns if column.endswith("_file_name")]) > 1
    return False


def _csv_columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file))


def _json_columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return list(json.loads(next(file)))


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet  # comes with datasets

    return pyarrow.parquet.read_schema(path).names


_METADATA = {
    "metadata.csv": _csv_columns,
    "metadata.jsonl": _json_columns,
    "metadata.parquet": _parquet_columns,
}


def _look_side_by_side(tree: FileTree, pictures: Sequence[str]) -> bool:
    """Whether the halves of a few of the pictures show the same scene."""
    for name in pictures[:: max(1, len(pictures) // _LOOKED_AT)][:_LOOKED_AT]:
        data = tree.read(name)
        try:
            width, height = picture_size(data)
        except BadInputError:
            continue  # said later, with all others
        if width % 2 or width < height:
            return False
        with Image.open(io.BytesIO(data)) as image:
            small = np.asarray(image.convert("L").resize((64, 32), Image.Resampling.BOX), dtype=np.float64)
        left, right = small[:, :32].ravel(), small[:, 32:].ravel()
        if np.ptp(left) < 1 or np.ptp(right) < 1 or np.corrcoef(left, right)[0, 1] < _SAME_SCENE:
            return False
    return True


def _side_by_side(source: str, pictures: Sequence[str], split: str) -> list[Pair]:
    placed = []
    for name in pictures:
        *folders, filename = name.split("/")
        of, inside = split_of_folders(folders)
        placed.append((of, ((*inside, filename.rpartition(".")[0]), name)))
    chosen = of_split(source, placed, split)
    numbers = numbered(dict(chosen))
    return sorted(Pair(*numbers[key], name, name) for key, name in chosen)


def _warn_of_missing(source: str, split: str, count: int) -> None:
    whole = GOPRO_PAIRS.get(split_name(split), 0)
    if count < whole:
        warnings.warn(
            f"{source}: holds {count} of the {whole} pairs of GoPro's {split} split; figures from a part of it do not "
            "compare with published ones",
            stacklevel=3,
        )


def _pair_examples(root: str, rows: str | list[list[Any]], halves: bool) -> Iterator[dict[str, Any]]:
    """Examples of the rows ``sequence, frame, blurred, sharp, stamps...``."""

    def make(tree: FileTree, row: list[Any]) -> dict[str, Any]:
        sequence, frame, blurred, sharp, *_ = row
        pictures = _halves(tree, blurred, streaming) if halves else _partners(tree, blurred, sharp)
        return {**pictures, "sequence": sequence, "frame": frame}

    streaming = isinstance(rows, list)
    return examples_of(root, rows, make, "pair")


def _partners(tree: FileTree, blurred: str, sharp: str) -> dict[str, Any]:
    data = {name: tree.read(name) for name in (blurred, sharp)}
    sizes = {name: checked_size(name, data[name]) for name in data}
    check_same_size(blurred, sizes[blurred], sharp, sizes[sharp])
    return {"blurred": tree.reference(blurred, data[blurred]), "sharp": tree.reference(sharp, data[sharp])}


def _halves(tree: FileTree, name: str, streaming: bool) -> dict[str, Any]:
    data = tree.read(name)
    width, height = checked_size(name, data)
    if width % 2:
        raise BadInputError(f"{name} is {width} pixels wide, which is odd, so it has no two halves")
    with Image.open(io.BytesIO(data)) as image:
        whole = ImageOps.exif_transpose(image).convert("RGB")
    middle = width // 2
    left, right = whole.crop((0, 0, middle, height)), whole.crop((middle, 0, width, height))
    return {"blurred": made_picture(left, streaming), "sharp": made_picture(right, streaming)}

"""Data sets whose examples are made of the pictures in a file tree, with the cache of ``datasets``."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...errors import BadInputError
from ...runtime.extras import require
from .file_trees import FileTree, listed, picture_size
from .layouts import split_name

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

# Raised whenever what is made of the same files changes, so that caches of earlier versions are not used.
_CACHE_VERSION = 1


def import_datasets(user: str) -> Any:
    """The package ``datasets``, or a :class:`BadInputError` that says how to install it."""
    require(user, "datasets")
    import datasets

    return datasets


def from_rows(
    examples: Callable[..., Iterator[dict[str, Any]]],
    tree: FileTree,
    rows: Sequence[list[Any]],
    features: Features,
    split: str,
    streaming: bool,
    cache_dir: str | None,
    **settings: Any,
) -> Dataset | IterableDataset:
    """A data set whose examples a generator makes of rows of names in a file tree.

    Args:
        examples: called with ``root``, ``rows`` and the settings; a function of a module, so that it can be pickled.
        rows: JSON values, one an example; together with the settings they decide whether the cache is still good.
    """
    from datasets import Dataset, IterableDataset, NamedSplit
    from datasets.exceptions import DatasetGenerationError

    name = NamedSplit(split_name(split))
    root = str(tree.root.absolute())
    if streaming:
        # A list is what datasets divides among the workers of a DataLoader.
        values = {"root": root, "rows": list(rows), **settings}
        return IterableDataset.from_generator(examples, features=features, gen_kwargs=values, split=name)
    # One text, because the hash of a list depends on which of its strings are the same object.
    values = {"root": root, "rows": json.dumps([_CACHE_VERSION, *rows]), **settings}
    try:
        return Dataset.from_generator(examples, features=features, cache_dir=cache_dir, gen_kwargs=values, split=name)
    except DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, BadInputError):
            raise cause from None
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInputError(
                f"{tree.root}: no space left for the cache of datasets; free some, or give another cache_dir"
            ) from None
        raise


def examples_of(
    root: str, rows: str | list[list[Any]], make: Callable[[FileTree, list[Any]], dict[str, Any]], noun: str
) -> Iterator[dict[str, Any]]:
    """What ``make`` makes of each row that :func:`from_rows` handed on.

    Args:
        noun: what an example is called in errors, in the singular.

    Raises:
        BadInputError: when streaming, at the first row that ``make`` refuses; otherwise at the end, with all of them.
    """
    tree, faults = FileTree(Path(root)), []
    for row in json.loads(rows)[1:] if isinstance(rows, str) else rows:
        try:
            example = make(tree, row)
        except BadInputError as error:
            faults.append(str(error))
            continue
        yield example
    if faults:
        counted = f"{len(faults)} {noun}s" if len(faults) > 1 else f"a {noun}"
        raise BadInputError(f"{root}: {counted} cannot be used: {listed(faults, len(faults))}; replace or remove them")


def png(pixels: Image.Image | np.ndarray) -> bytes:
    """Encode as PNG, quickly rather than small."""
    return _encoded(pixels, format="PNG", compress_level=1)


def made_picture(pixels: Image.Image | np.ndarray, streaming: bool) -> dict[str, Any]:
    """What an ``Image`` feature takes for a picture that is in no file; a stream decodes it at once, so as BMP."""
    return {"path": None, "bytes": _encoded(pixels, format="BMP") if streaming else png(pixels)}


def _encoded(pixels: Image.Image | np.ndarray, **options: Any) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def checked_size(name: str, data: bytes) -> tuple[int, int]:
    """:func:`picture_size` with the name in its error."""
    try:
        return picture_size(data)
    except BadInputError as error:
        raise BadInputError(f"{name} {error}") from None

"""Windows of consecutive sharp frames and the blur that their average is, as a :class:`datasets.Dataset`."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...errors import BadInputError
from ...exposure.frame_average import Gamma, average_frames, check_gamma
from ...io.path_names import as_path
from .features import pair_features
from .file_trees import FileTree
from .layouts import has_roles, is_gopro, numbered, of_split, role_of, split_of_folders
from .tree_datasets import checked_size, examples_of, from_rows, import_datasets, made_picture

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def load_sequences(
    source: str | os.PathLike[str],
    split: str = "train",
    *,
    window: int = 11,
    stride: int | None = None,
    gamma: Gamma = None,
    streaming: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset | IterableDataset:
    """Load windows of consecutive sharp frames with their average, a blurred picture (eq. 1).

    The source is GOPRO_Large_all (``train|test/GOPR…/NNNNNN.png``) or any folder, or folder of folders, of consecutive
    frames, as it is or in a ZIP file. Frames are ordered by the numbers in their names; no window reaches over a gap.

    Args:
        source: folder or ZIP file.
        split: ``train``, ``validation`` or ``test``; a source that is not divided is ``train``.
        window: frames M of a window, odd: the sharp frame is the middle one. GoPro has 7 to 13.
        stride: frames from one window's start to the next one's; by default ``window``, so that none overlap.
        gamma: ``None`` averages the encoded values (GoPro's ``blur``), a number such as 2.2 linear light
            (``blur_gamma``), ``"srgb"`` linear light by the exact curve.
        streaming: return an ``IterableDataset``, which averages as it goes; otherwise averages are cached.
        cache_dir: where ``datasets`` keeps its cache.

    Returns:
        The features of :func:`~motion_offsets.data.reading.pairs.load_pairs` and ``frames``, a list of M images;
        ``frame`` is the number of the middle one.

    Raises:
        BadInputError: ``datasets`` is not installed; the source or the split does not exist; no run of frames is as
            long as a window; or frames of a window differ in size or cannot be read: the first five are listed.
    """
    datasets = import_datasets("load_sequences")
    check_window(window)
    stride = window if stride is None else stride
    check_stride(stride)
    check_gamma(gamma)
    tree = FileTree(as_path(source))
    if not tree.root.is_dir() and not (tree.root.is_file() and tree.root.suffix.lower() == ".zip"):
        raise BadInputError(f"{source}: no such folder or ZIP file; give one of consecutive sharp frames")
    runs = frame_runs(str(source), tree, split)
    rows: list[list[Any]] = [
        [sequence, *_middle(run[start : start + window])]
        for sequence, run in runs
        for start in range(0, len(run) - window + 1, stride)
    ]
    if not rows:
        longest = max(len(run) for _, run in runs)
        raise BadInputError(
            f"{source}: its longest run of consecutive frames has {longest}; give a window no longer than that"
        )
    for row in rows:
        row.append([tree.stamp(name) for name in row[2]])
    features = pair_features()
    features["frames"] = datasets.List(features["sharp"])
    cache = None if cache_dir is None else os.fspath(cache_dir)
    return from_rows(_window_examples, tree, rows, features, split, streaming, cache, gamma=gamma)


def check_window(window: int) -> None:
    if isinstance(window, bool) or not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise BadInputError(f"window is {window!r}; it must be an odd number of frames from 3, so that one is central")


def check_stride(stride: int) -> None:
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise BadInputError(f"stride is {stride!r}; it must be a number of frames from 1")


def frame_runs(source: str, tree: FileTree, split: str) -> list[tuple[str, list[tuple[int, str]]]]:
    """The runs of consecutive frames of a source: sequence, and number and name of each frame.

    Raises:
        BadInputError: the source holds no frames, none of the split, or two of the same number.
    """
    names = tree.pictures()
    if not names:
        raise BadInputError(f"{source}: holds no pictures; give a folder of consecutive sharp frames")
    if is_gopro(names) and has_roles(names):
        raise BadInputError(
            f"{source}: the sharp frames of GOPRO_Large are not consecutive; give GOPRO_Large_all, which has all"
        )
    if has_roles(names):
        names = [name for name in names if "sharp" in map(role_of, name.split("/")[:-1])]
    placed = []
    for name in names:
        *folders, filename = name.split("/")
        of, inside = split_of_folders(folders)
        placed.append((of, ((*inside, filename.rpartition(".")[0]), name)))
    chosen = of_split(source, placed, split)
    numbers = numbered([key for key, _ in chosen])
    sequences: dict[str, dict[int, str]] = {}
    for key, name in chosen:
        sequence, frame = numbers[key]
        frames = sequences.setdefault(sequence or tree.root.stem, {})
        if frame in frames:
            raise BadInputError(f"{source}: {frames[frame]} and {name} are the same frame by name; remove one")
        frames[frame] = name
    return [(sequence, run) for sequence, frames in sorted(sequences.items()) for run in _unbroken(frames)]


def _unbroken(frames: dict[int, str]) -> Iterator[list[tuple[int, str]]]:
    ordered = sorted(frames.items())
    # Frames that are numbered by tens are consecutive, too.
    step = min((after[0] - before[0] for before, after in zip(ordered, ordered[1:], strict=False)), default=1)
    run = ordered[:1]
    for before, after in zip(ordered, ordered[1:], strict=False):
        if after[0] - before[0] != step:
            yield run
            run = []
        run.append(after)
    yield run


def _middle(run: Sequence[tuple[int, str]]) -> tuple[int, list[str]]:
    return run[len(run) // 2][0], [name for _, name in run]


def _window_examples(root: str, rows: str | list[list[Any]], gamma: Gamma) -> Iterator[dict[str, Any]]:
    """Examples of the rows ``sequence, frame, names, stamps``."""

    def make(tree: FileTree, row: list[Any]) -> dict[str, Any]:
        sequence, frame, names, _ = row
        decoded = [read(tree, name) for name in names]
        for name, (pixels, _) in zip(names, decoded, strict=True):
            if pixels.shape != decoded[0][0].shape:
                sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (pixels, decoded[0][0])]
                raise BadInputError(f"{name} is {sizes[0]}, but {names[0]} is {sizes[1]}")
        references = [reference for _, reference in decoded]
        blurred = average_frames([pixels for pixels, _ in decoded], gamma)
        return {
            "blurred": made_picture(blurred, streaming),
            "sharp": references[len(references) // 2],
            "frames": references,
            "sequence": sequence,
            "frame": frame,
        }

    streaming = isinstance(rows, list)
    # Windows may overlap, and then most frames of one are in the next.
    read = functools.lru_cache(maxsize=32)(_read_frame)
    return examples_of(root, rows, make, "window")


def _read_frame(tree: FileTree, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    data = tree.read(name)
    checked_size(name, data)
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")), tree.reference(name, data)

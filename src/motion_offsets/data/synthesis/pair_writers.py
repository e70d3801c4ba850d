"""Where synthesised pairs go: the flat layout or Parquet files, each pair or file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ...errors import BadInputError
from ...io.atomic import whole_file
from ..reading.features import pair_features
from ..reading.layouts import BLURRED_NAMES, SHARP_NAMES
from ..reading.tree_datasets import import_datasets

PAIRS_A_FILE = 64


class WriteError(BadInputError):
    """The place of the output refuses to be written to, so that no further pair can be."""


class PairWriter(Protocol):
    """A place for pairs; ``done`` holds sequence and frame of those that are safely there."""

    done: set[tuple[str, int]]

    def add(self, sequence: str, frame: int, blurred: bytes, sharp: bytes) -> None:
        """Write a pair of PNGs; :class:`WriteError` where that fails."""

    def flush(self) -> None:
        """Write what has been added and is not on disk yet."""


class FlatWriter:
    """``<split>/{blur,sharp}/<sequence>/<frame>.png``."""

    def __init__(self, root: Path, split: str) -> None:
        self._blurred, self._sharp = (root / split / name for name in (BLURRED_NAMES[0], SHARP_NAMES[0]))
        found = [_numbers_in(folder) for folder in (self._blurred, self._sharp)]
        self.done = found[0] & found[1]
        # A process that was killed between the two pictures of a pair has left one without the other.
        for folder, present in zip((self._blurred, self._sharp), found, strict=True):
            for pair in present - self.done:
                _picture(folder, *pair).unlink()

    def add(self, sequence: str, frame: int, blurred: bytes, sharp: bytes) -> None:
        targets = [_picture(folder, sequence, frame) for folder in (self._sharp, self._blurred)]
        try:
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            # Both lie complete beside their places before the first takes its own.
            with whole_file(targets[0]) as first, whole_file(targets[1]) as second:
                first.write_bytes(sharp)
                second.write_bytes(blurred)
        except (BadInputError, OSError) as error:
            for target in targets:
                target.unlink(missing_ok=True)
            raise _write_error(targets[0], error) from error
        self.done.add((sequence, frame))

    def flush(self) -> None:
        """Nothing waits."""


class ParquetWriter:
    """``data/<split>-00000.parquet``, ``-00001`` and so on, of 64 pairs each."""

    def __init__(self, root: Path, split: str) -> None:
        self._datasets = import_datasets("Parquet")
        from pyarrow import parquet  # comes with datasets

        self._folder, self._split = root / "data", split
        self.done: set[tuple[str, int]] = set()
        self._waiting: list[dict] = []
        self._files = 0
        while self._path().is_file():
            rows = parquet.read_table(self._path(), columns=["sequence", "frame"]).to_pydict()
            self.done |= set(zip(rows["sequence"], rows["frame"], strict=True))
            self._files += 1

    def _path(self) -> Path:
        return self._folder / f"{self._split}-{self._files:05d}.parquet"

    def add(self, sequence: str, frame: int, blurred: bytes, sharp: bytes) -> None:
        pictures = {name: {"bytes": data, "path": None} for name, data in (("blurred", blurred), ("sharp", sharp))}
        self._waiting.append({**pictures, "sequence": sequence, "frame": frame})
        if len(self._waiting) == PAIRS_A_FILE:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path()) as partial:
                self._datasets.Dataset.from_list(rows, features=pair_features()).to_parquet(str(partial))
        except (BadInputError, OSError) as error:
            raise _write_error(self._path(), error) from error
        self._files += 1
        self.done |= {(row["sequence"], row["frame"]) for row in rows}


def _picture(folder: Path, sequence: str, frame: int) -> Path:
    return folder / sequence / f"{frame:06d}.png"


def _numbers_in(folder: Path) -> set[tuple[str, int]]:
    found = folder.glob("*/*.png")
    return {(path.parent.name, int(path.stem)) for path in found if path.stem.isdecimal()}


def _write_error(target: Path, error: Exception) -> WriteError:
    if isinstance(error, BadInputError):
        return WriteError(str(error))
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return WriteError(f"{target}: cannot be written ({reason}); free space or choose another folder")

"""Pairs made of video or of sharp photos, into a folder that can be taken up again and loaded by ``load_pairs``."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ...errors import BadInputError
from ...exposure.frame_average import average_frames
from ...io.atomic import whole_file
from ...io.images import load_image
from ...io.photo_files import seed_of_name
from ...version import __version__
from ..reading.tree_datasets import png
from ..scenes.cutouts import load_objects
from .card import card
from .high_fps import Skipped, video_windows
from .pair_writers import FlatWriter, PairWriter, ParquetWriter, WriteError
from .recipes import MAX_PHOTO_SIDE, RECIPES
from .settings import SynthesisSettings

RECORD = "synthesis.json"
CARD = "README.md"

OnPair: TypeAlias = Callable[[int], None]
Pictures: TypeAlias = tuple[np.ndarray, np.ndarray]
Planned: TypeAlias = tuple[int, Callable[[], Pictures]]
"""A pair's frame number, and what makes its blurred and its sharp picture."""


@dataclass
class SourceResult:
    """What became of one video or photo."""

    made: int = 0
    kept: int = 0
    skipped: Skipped = field(default_factory=Skipped)


class Synthesis:
    """One folder of synthesised pairs.

    Raises:
        BadInputError: the folder holds something else, or pairs of other settings.
    """

    def __init__(self, root: Path, settings: SynthesisSettings) -> None:
        self.root, self.settings = root, settings
        self._objects = load_objects(settings.objects, settings.label_maps)
        self._record = self._earlier_record()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(f"{root}: cannot be made ({error.strerror}); give another output") from None
        self._save_record()
        self._writer: PairWriter
        if settings.format == "flat":
            self._writer = FlatWriter(root, settings.split)
        else:
            self._writer = ParquetWriter(root, settings.split)

    @property
    def sources(self) -> dict[str, Any]:
        """What is recorded of each video or photo, by its name in the data set."""
        return self._record["sources"]

    def __len__(self) -> int:
        """Pairs that are safely there."""
        return len(self._writer.done)

    def add(self, source: Path, sequence: str, on_pair: OnPair | None = None) -> SourceResult:
        """Make the pairs of one video or photo that are not there yet.

        Args:
            source: the video or photo.
            sequence: its name in the data set.
            on_pair: called with the number of further pairs that are there.

        Raises:
            BadInputError: the source cannot be used; pairs made before that stay.
            WriteError: the folder cannot be written to.
        """
        self._check_same(source, sequence)
        result = SourceResult()
        if self._record["sources"].get(sequence, {}).get("finished"):
            result.kept = self._record["sources"][sequence]["pairs"]
            return result
        video = self.settings.recipe is None
        pairs = self._of_video(source, result) if video else self._of_photo(source, sequence)
        try:
            for frame, make in pairs:
                if (sequence, frame) in self._writer.done:
                    result.kept += 1
                else:
                    self._writer.add(sequence, frame, *map(png, make()))
                    result.made += 1
                if on_pair is not None:
                    on_pair(1)
        except WriteError:
            raise
        except BaseException:
            self._writer.flush()  # what is finished stays, also when someone presses Ctrl-C
            raise
        if video:
            self._writer.flush()
            self._note(source, sequence, result)
        return result

    def finish(self) -> None:
        """Write what waits, and the data set card; of a folder without a single pair nothing stays."""
        self._writer.flush()
        if not len(self):
            for name in (RECORD, CARD):
                (self.root / name).unlink(missing_ok=True)
            if not any(self.root.iterdir()):
                self.root.rmdir()
            return
        self._save_record()
        with whole_file(self.root / CARD) as beside:
            beside.write_text(card(self.settings, self._record["sources"], len(self)), encoding="utf-8")

    def _of_video(self, source: Path, result: SourceResult) -> Iterator[Planned]:
        settings, found = self.settings, False
        for window in video_windows(source, settings.window, settings.stride, settings.min_fps, result.skipped):
            found = True
            yield window.frame, partial(self._averaged, window.frames)
        if not found:
            slow = result.skipped.slow_windows or result.skipped.duplicates
            reason = f"too many of its frames repeat others ({result.skipped})" if slow else "it is too short"
            raise BadInputError(
                f"{source}: no {settings.window} frames in a row can be used: {reason}; give footage that really was "
                f"filmed at {settings.min_fps:g} frames per second or more, or a smaller window"
            )

    def _averaged(self, frames: Sequence[np.ndarray]) -> Pictures:
        return average_frames(frames, self.settings.gamma), frames[len(frames) // 2]

    def _of_photo(self, source: Path, sequence: str) -> Iterator[Planned]:
        numbers = range(self.settings.count)
        complete = all((sequence, number) in self._writer.done for number in numbers)
        photo = np.empty(0) if complete else _sharp_photo(source)
        for number in numbers:
            yield number, partial(self._blurred, source, photo, number)

    def _blurred(self, source: Path, photo: np.ndarray, number: int) -> Pictures:
        generator = np.random.default_rng((self.settings.seed, seed_of_name(source), number))
        try:
            return RECIPES[str(self.settings.recipe)](photo, generator, self.settings.gamma, self._objects)
        except BadInputError as error:
            raise BadInputError(f"{source}: {error}") from None

    def _earlier_record(self) -> dict[str, Any]:
        path, settings = self.root / RECORD, dataclasses.asdict(self.settings)
        if not os.path.lexists(self.root) or (self.root.is_dir() and not _visible(self.root)):
            return {"made_by": f"motion-offsets {__version__}", "settings": settings, "sources": {}}
        if not path.is_file():
            raise BadInputError(f"{self.root}: exists and holds no synthesised pairs; give a new or empty folder")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            earlier, _ = record["settings"], record["sources"]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInputError(f"{path}: cannot be read; give another output, or remove the folder") from None
        for name, value in settings.items():
            if earlier.get(name) != value:
                raise BadInputError(
                    f"{self.root}: holds pairs made with {name} {earlier.get(name)!r}, not {value!r}; give the same "
                    "or another output"
                )
        return record

    def _check_same(self, source: Path, sequence: str) -> None:
        """Refuse another file under the name of one whose pairs are here."""
        if not source.is_file():
            return  # reading it says what is wrong
        if not any(of == sequence for of, _ in self._writer.done):
            self.sources.pop(sequence, None)  # it was refused before a single pair was made
        known = self.sources.setdefault(sequence, {})
        size = source.stat().st_size
        if known.setdefault("bytes", size) != size:
            raise BadInputError(
                f"{source}: {self.root} holds pairs of another file of this name; rename it, or remove those pairs"
            )
        if known.setdefault("file", source.name) != source.name:
            raise BadInputError(f"{source}: {self.root} holds pairs of {known['file']} under this name; rename it")

    def _note(self, source: Path, sequence: str, result: SourceResult) -> None:
        noted = {"pairs": result.made + result.kept, "skipped": dataclasses.asdict(result.skipped), "finished": True}
        self._record["sources"][sequence].update(noted)
        self._save_record()

    def _save_record(self) -> None:
        with whole_file(self.root / RECORD) as beside:
            beside.write_text(json.dumps(self._record, indent=1) + "\n", encoding="utf-8")


def _sharp_photo(source: Path) -> np.ndarray:
    photo = load_image(source)
    photo.thumbnail((MAX_PHOTO_SIDE, MAX_PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def _visible(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]

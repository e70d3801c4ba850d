"""Many photos: while one is in the networks, the next ones are decoded and the last ones' pictures and clips encoded.

A thread reads ahead, the caller's thread computes, and one thread or several write. What is in flight is bounded, and
photos too large for that bound go alone. A photo that fails at any stage is reported and the others go on; whatever
stops the run, Ctrl-C too, leaves whole result folders only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..errors import BadInputError
from ..io.atomic import check_replaceable
from ..io.images import size_of
from ..runtime.memory import PHOTO_BYTES
from .given_frames import GivenFrames, check_given_frame
from .manifest import Manifest, has_result, hash_photo, hash_settings, hashes_of
from .result import ExtractedPhoto, LoadedPhoto, answer_photos, load_photo, write_answer
from .sources import Item

if TYPE_CHECKING:
    from ..pipelines.blur_to_video import BlurToVideoPipeline
    from .settings import ExtractionSettings

# A GPU gains from more photos at once; a CPU is busy with one.
GPU_BATCH = 8
MAX_WRITERS = 16


@dataclass(frozen=True)
class Outcome:
    """What became of one photo: a new result, one that was there already, or none.

    Args:
        name: what errors call the photo, or the data set that could not be read on.
        target: folder of its result.
        report: what ``report.json`` holds; ``None`` for a result that was there already.
        error: why the result is missing.
    """

    name: str
    target: Path | None = None
    report: dict[str, Any] | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class _Taken:
    """A photo on its way through the stages, and the room that it takes up."""

    item: Item
    target: Path
    photo_hash: str
    sharp_hash: str | None
    photo: LoadedPhoto
    room: float


class _Stopped(Exception):
    """The run ends here."""


class BatchExtraction:
    """Extracts photos into folders below ``out``.

    Args:
        pipe: on its device.
        out: the folder.
        settings: of all photos. Photos in flight together hold at most half of ``max_memory``, beside what the
            networks need for the photos they are at.
        manifest: where to enter what was done.
        resume: leave photos alone whose result is there.
        batch_size: most photos of one size to run together, as far as memory allows; by default 1 on a CPU.
        on_step: called with a photo's name, its step, how much of it is done and how much there is, from any thread.
        on_outcome: called once for each photo, one call at a time, from any thread.
        raise_faults: stop at the first fault of ours and raise it.
        given: sharp frames to use in place of the deblurrer's.
    """

    def __init__(
        self,
        pipe: BlurToVideoPipeline,
        out: Path,
        settings: ExtractionSettings,
        *,
        manifest: Manifest | None = None,
        resume: bool = False,
        batch_size: int | None = None,
        on_step: Callable[[str, str, int, int], None] = lambda *step: None,
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
        raise_faults: bool = False,
        given: GivenFrames | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise BadInputError(f"`batch_size` is {batch_size}; give a number of photos of at least 1")
        self._pipe, self._out, self._settings = pipe, out, settings
        self._manifest, self._resume, self._given = manifest, resume, given
        self._on_step, self._on_outcome, self._raise_faults = on_step, on_outcome, raise_faults
        gpu = pipe.device.type != "cpu"
        self._batch_size = batch_size or (GPU_BATCH if gpu else 1)
        self._writers = min(MAX_WRITERS, os.cpu_count() or 1) if gpu else 1
        self._settings_hash = hash_settings(pipe, settings)
        self._estimators_agree = pipe.estimators_agree
        self._room = _Room(settings.max_memory / 2, 2 * self._batch_size + self._writers)
        self._ready: SimpleQueue[list[_Taken]] = SimpleQueue()
        self._pending: list[_Taken] = []
        self._reporting = threading.Lock()
        self._stop = threading.Event()
        self._fault: BaseException | None = None

    def run(self, streams: Iterable[tuple[str, Iterator[Item]]]) -> None:
        """Extract all photos of some streams, each of them with a name.

        Raises:
            BadInputError: the manifest cannot be written.
        """
        reader = threading.Thread(target=self._read, args=(streams,), name="reader", daemon=True)
        writers = ThreadPoolExecutor(self._writers, "writer")
        reader.start()
        try:
            while batch := self._ready.get():
                self._compute(batch, writers)
            writers.shutdown()
        except BaseException:
            self._end()
            raise
        finally:
            # What is being written is taken back; the reader, which may wait for a network, is left to itself.
            writers.shutdown(cancel_futures=True)
        if self._fault is not None:
            raise self._fault

    # The reader's thread

    def _read(self, streams: Iterable[tuple[str, Iterator[Item]]]) -> None:
        try:
            for name, items in streams:
                self._read_stream(name, items)
            self._flush()
        except _Stopped:
            pass
        except BaseException as error:
            self._end(error)
        finally:
            self._ready.put([])

    def _read_stream(self, name: str, items: Iterator[Item]) -> None:
        while True:
            self._check_stopped()
            try:
                item = next(items, None)
            except Exception as error:
                return self._failed(name, None, error)
            if item is None:
                return None
            try:
                self._take_up(item)
            except _Stopped:
                raise
            except Exception as error:
                self._failed(str(item), item, error)

    def _take_up(self, item: Item) -> None:
        name, target = str(item), self._out / item.result
        self._on_step(name, "load", 0, 1)
        check_replaceable(target)
        width, height = size_of(item.photo, self._pipe.processor.max_pixels)
        photo_hash, sharp, sharp_hash = hash_photo(item.photo), None, None
        if self._given is not None:
            sharp = self._given.of(item.photo)
            check_given_frame(sharp, item.photo, (width, height), self._pipe.processor.max_pixels)
            sharp_hash = hash_photo(sharp)
        if self._manifest is not None:
            self._manifest.clear_unfinished(target)
            if self._resume and has_result(target, photo_hash, self._settings_hash, sharp_hash):
                return self._done(name, item, photo_hash, sharp_hash, None)
        self._pipe.check_fits(self._settings.max_memory, width * height, deblurs=sharp is None)
        room = width * height * PHOTO_BYTES
        if not self._room.take(room, wait=False):
            self._flush()  # or the photos that wait for company would wait for their own room
            self._room.take(room)
        try:
            photo = load_photo(self._pipe, item.photo, sharp)
        except BaseException:
            self._room.give(room)
            raise
        if self._pending and self._pending[0].photo.pixel_values.shape != photo.pixel_values.shape:
            self._flush()
        self._pending.append(_Taken(item, target, photo_hash, sharp_hash, photo, room))
        fitting = self._settings.max_memory / (width * height * (PHOTO_BYTES + self._pipe.tile_bytes))
        if len(self._pending) >= min(self._batch_size, fitting):
            self._flush()
        return None

    def _flush(self) -> None:
        if self._pending:
            self._ready.put(self._pending)
            self._pending = []

    # The caller's thread

    def _compute(self, batch: list[_Taken], writers: ThreadPoolExecutor) -> None:
        on_step = partial(self._on_step, str(batch[0].item))
        photos = [taken.photo for taken in batch]
        try:
            answers = answer_photos(self._pipe, photos, self._settings, on_step, self._estimators_agree)
        except Exception as error:
            if len(batch) > 1:  # whose fault was it?
                for taken in batch:
                    self._compute([taken], writers)
                return
            self._failed(str(batch[0].item), batch[0].item, error)
            self._room.give(batch[0].room)
            return
        for taken, answer in zip(batch, answers, strict=True):
            writers.submit(self._write, taken, answer)

    # A writer's thread

    def _write(self, taken: _Taken, answer: ExtractedPhoto) -> None:
        name = str(taken.item)

        def on_step(step: str, done: int, total: int) -> None:
            self._check_stopped()
            self._on_step(name, step, done, total)

        try:
            hashes = hashes_of(taken.photo_hash, self._settings_hash, taken.sharp_hash)
            try:
                self._check_stopped()
                report = write_answer(self._pipe, answer, taken.target, self._settings, on_step, hashes)
            except _Stopped:
                return
            except Exception as error:
                self._failed(name, taken.item, error)
            else:
                self._done(name, taken.item, taken.photo_hash, taken.sharp_hash, report)
        except BaseException as error:
            self._end(error)
        finally:
            self._room.give(taken.room)

    # Any thread

    def _done(
        self, name: str, item: Item, photo_hash: str, sharp_hash: str | None, report: dict[str, Any] | None
    ) -> None:
        with self._reporting:
            if self._manifest is not None:
                self._manifest.enter_done(item.result, name, photo_hash, self._settings_hash, sharp_hash)
            self._on_outcome(Outcome(name, self._out / item.result, report))

    def _failed(self, name: str, item: Item | None, error: Exception) -> None:
        if self._raise_faults and not isinstance(error, BadInputError):
            return self._end(error)
        with self._reporting:
            if self._manifest is not None and item is not None:
                self._manifest.enter_failed(item.result, name, " ".join(str(error).split()) or type(error).__name__)
            self._on_outcome(Outcome(name, error=error))
        return None

    def _end(self, fault: BaseException | None = None) -> None:
        self._fault = self._fault or fault
        self._stop.set()
        self._room.close()

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Room:
    """Bytes for the photos in flight; one that is larger than all of it gets it when it is alone."""

    def __init__(self, size: float, most: int) -> None:
        self._size, self._most = size, most
        self._used, self._count, self._closed = 0.0, 0, False
        self._changed = threading.Condition()

    def take(self, amount: float, wait: bool = True) -> bool:
        """Take room, and wait for it if need be; whether it was taken."""
        with self._changed:
            while not self._closed:
                if self._count == 0 or (self._count < self._most and self._used + amount <= self._size):
                    self._used += amount
                    self._count += 1
                    return True
                if not wait:
                    return False
                self._changed.wait()
        raise _Stopped

    def give(self, amount: float) -> None:
        with self._changed:
            self._used -= amount
            self._count -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

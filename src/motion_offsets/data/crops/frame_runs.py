"""Sharp frames of sequences and videos, decoded once into a file that is mapped into memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import BadInputError
from ...io.images import load_image
from ...io.path_names import as_path
from ...io.photo_sources import EncodedPhoto
from ..reading.file_trees import FileTree
from ..reading.sequences import frame_runs
from ..synthesis.high_fps import MIN_FPS, video_frames


class FrameRuns:
    """Runs of consecutive sharp frames, from which a window is read in about a millisecond.

    The frames are decoded into one temporary file, three bytes per pixel, which is removed with the object; the
    environment variable ``TMPDIR`` says on which disk. Worker processes map the same file.

    Args:
        sources: folders (or ZIP files) of consecutive frames as
            :func:`~motion_offsets.data.reading.sequences.load_sequences` takes them, or video files.
        shortest: runs of fewer frames are left out.
        min_fps: slowest video accepted, frames per second.

    Raises:
        BadInputError: a source does not exist, has no run of ``shortest`` frames, cannot be read, or has frames of
            different sizes; or the disk has no room for the frames.
    """

    def __init__(self, sources: list[str | Path], shortest: int, min_fps: float = MIN_FPS):
        self._folder = tempfile.mkdtemp(prefix="motion-offsets-frames-")
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._runs: list[tuple[int, tuple[int, ...]]] = []
        self._mapped: np.memmap | None = None
        try:
            for source in sources:
                self._keep(as_path(source), shortest, min_fps)
        except OSError as error:
            raise BadInputError(
                f"{self._folder}: frames cannot be stored there ({error.strerror or error}); set TMPDIR to a folder "
                "with room for them, three bytes per pixel"
            ) from None

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, number: int) -> np.ndarray:
        """The frames of a run, ``(N, H, W, 3)`` uint8, read-only."""
        if self._mapped is None:
            self._mapped = np.memmap(self._file, np.uint8, mode="r")
        start, shape = self._runs[number]
        return self._mapped[start : start + int(np.prod(shape))].reshape(shape)

    def __getstate__(self) -> dict[str, object]:
        # A copy in another process maps the file itself, and leaves its removal to the owner.
        return {**self.__dict__, "_mapped": None, "_remove": None}

    @property
    def _file(self) -> Path:
        return Path(self._folder) / "frames"

    def _keep(self, source: Path, shortest: int, min_fps: float) -> None:
        """Append the frames of a source to the file, and note those of its runs that are long enough."""
        size, name_of_first, longest = None, "", 0
        with self._file.open("ab") as file:
            start, count = file.tell(), 0
            for begins, name, pixels in _frames(source, min_fps):
                if size is None:
                    size, name_of_first = pixels.shape, name
                if pixels.shape != size:
                    sizes = [f"{shape[1]}x{shape[0]}" for shape in (pixels.shape, size)]
                    raise BadInputError(
                        f"{name} is {sizes[0]}, but {name_of_first} is {sizes[1]}; all frames of a source must have "
                        "one size"
                    )
                if begins:
                    longest = max(longest, self._note(start, count, size, shortest))
                    start, count = file.tell(), 0
                file.write(np.ascontiguousarray(pixels).data)
                count += 1
            longest = max(longest, self._note(start, count, size, shortest))
        if longest < shortest:
            raise BadInputError(
                f"{source}: its longest run of consecutive frames has {longest}, and a window {shortest}; give more "
                "frames, or a shorter window"
            )

    def _note(self, start: int, count: int, size: tuple[int, ...] | None, shortest: int) -> int:
        if count >= shortest and size is not None:
            self._runs.append((start, (count, *size)))
        return count


def _frames(source: Path, min_fps: float) -> Iterator[tuple[bool, str, np.ndarray]]:
    """Whether a run begins, what the frame is called, and its pixels."""
    if source.is_dir() or source.suffix.lower() == ".zip":
        tree = FileTree(source)
        for _, run in frame_runs(str(source), tree, "train"):
            for position, (_, name) in enumerate(run):
                photo = EncodedPhoto(f"{source}/{name}", tree.read(name))
                yield position == 0, photo.name, np.asarray(load_image(photo))
    elif source.exists():
        for number, (begins, pixels) in enumerate(video_frames(source, min_fps)):
            yield begins, f"{source}: frame {number}", pixels
    else:
        raise BadInputError(
            f"{source}: no such folder or video; give a folder of consecutive sharp frames, or a video"
        )

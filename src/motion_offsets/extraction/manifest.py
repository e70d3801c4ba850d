"""What has been done, so that a run that was killed is taken up where it stopped, and nothing is done twice.

A result folder appears whole or not at all, and its ``report.json`` names the photo and the settings by their hashes:
that alone decides whether a photo has its result. The manifest is the journal beside the folders, one line of JSON a
photo, written once the folder is in place; what a kill came between is entered on the next run. It lists the failures,
too. Each process or job of several keeps a manifest of its own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ..errors import BadInputError
from ..io.photo_sources import EncodedPhoto
from ..version import __version__
from .sources import Share

try:
    import fcntl
except ImportError:  # Windows, where filelock has another way
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from ..pipelines.blur_to_video import BlurToVideoPipeline
    from .settings import ExtractionSettings

PATTERN = "manifest*.jsonl"
PHOTO_HASH, SETTINGS_HASH, SHARP_HASH = "photo_sha256", "settings_sha256", "sharp_sha256"
# What file systems without flock answer: Lustre and others by default, NFS without a lock server.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
# What a config says of where it was read, and with what.
_NOT_OF_THE_MODEL = ("_name_or_path", "transformers_version")


def hash_photo(photo: Path | EncodedPhoto) -> str:
    """SHA-256 of a photo's file.

    Raises:
        BadInputError: the file cannot be read.
    """
    if isinstance(photo, EncodedPhoto):
        return hashlib.sha256(photo.content).hexdigest()
    digest = hashlib.sha256()
    try:
        with photo.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BadInputError(f"{photo}: cannot be read ({error.strerror}); give an intact photo") from None
    return digest.hexdigest()


def hash_settings(pipe: BlurToVideoPipeline, settings: ExtractionSettings) -> str:
    """SHA-256 of everything but the photo that decides about a result: weights, configs, settings, our version.

    The device is not among it: its results differ by rounding alone.
    """
    told = {
        "version": __version__,
        "times": list(settings.times),
        "fps": settings.fps,
        "animations": settings.animations,
        "max_memory": settings.max_memory,
        "refine_steps": settings.refine_steps,
        "safe": settings.safe,
        "camera": settings.camera,
        "keep_location": settings.keep_location,
        "dtype": str(settings.dtype),
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for model in (pipe.estimator, pipe.deblurrer):
        if model is None:
            continue
        config = {name: value for name, value in model.config.to_dict().items() if name not in _NOT_OF_THE_MODEL}
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def hashes_of(photo_hash: str, settings_hash: str, sharp_hash: str | None = None) -> dict[str, str]:
    """What reports and manifests say of a result; a sharp frame that was given has a hash of its own."""
    hashes = {PHOTO_HASH: photo_hash, SETTINGS_HASH: settings_hash}
    return hashes if sharp_hash is None else {**hashes, SHARP_HASH: sharp_hash}


def has_result(folder: Path, photo_hash: str, settings_hash: str, sharp_hash: str | None = None) -> bool:
    """Whether a folder holds the whole result of this photo with these settings and this given sharp frame."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        found = report[PHOTO_HASH], report[SETTINGS_HASH], report.get(SHARP_HASH)
        same = found == (photo_hash, settings_hash, sharp_hash)
        return same and all((folder / name).stat().st_size > 0 for name in report["files"])
    except (OSError, ValueError, KeyError, TypeError):  # no folder, or one of another make: no result of ours
        return False


class Manifest:
    """The journal of one run in its output folder; a context manager.

    Args:
        folder: the output folder, made where it is missing.
        share: which part of the run this is.

    Attributes:
        locked: whether other runs are kept out of the folder; not on a file system without locks.

    Raises:
        BadInputError: another run is at work in the folder, or it cannot be written to.
    """

    def __init__(self, folder: Path, share: Share) -> None:
        self._folder = folder
        part = "" if share.count == 1 else f"-{share.index:05d}-of-{share.count:05d}"
        self.path = folder / f"manifest{part}.jsonl"
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
            self._lock = _locked(self.path) if _has_locks(self._file) else None
            _drop_torn_line(self._file)
        except OSError as error:
            raise BadInputError(f"{self.path}: cannot be written ({error.strerror}); give another output") from error
        self.locked = self._lock is not None
        self._entered = _entered(folder)
        self._unfinished: dict[Path, dict[str, list[Path]]] = {}

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *error: object) -> None:
        empty = self.path.stat().st_size == 0
        self._file.close()
        if empty:
            self.path.unlink()
        if self._lock is not None:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is held: whoever comes makes a new one
            self._lock.release()
        for folder in self._made if empty else ():
            try:
                folder.rmdir()
            except OSError:  # there are results in it
                return

    def enter_done(
        self, result: str, photo: str, photo_hash: str, settings_hash: str, sharp_hash: str | None = None
    ) -> None:
        """Enter a result that is in place, unless its line is there."""
        hashes = hashes_of(photo_hash, settings_hash, sharp_hash)
        if self._entered.get(result) != _entry(hashes):
            self._write({"result": result, "status": "done", "photo": photo, **hashes})

    def enter_failed(self, result: str, photo: str, reason: str) -> None:
        """Enter a photo that has no result, and why."""
        self._write({"result": result, "status": "failed", "photo": photo, "reason": reason})

    def clear_unfinished(self, target: Path) -> None:
        """Remove what a killed run left of a result: only whoever makes that result may do so."""
        leftovers = self._unfinished.get(target.parent)
        if leftovers is None:
            # Folders that appear from now on are this run's own.
            leftovers = self._unfinished[target.parent] = _unfinished_in(target.parent)
        for folder in leftovers.pop(target.name, ()):
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            # A name that is not UTF-8 holds lone surrogates: as backslashes they are JSON's own escapes.
            self._file.write(json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise BadInputError(f"{self.path}: cannot be written ({error.strerror}); free some space") from error


def read_manifests(folder: Path) -> list[dict[str, Any]]:
    """All lines of all manifests in a folder; one that a kill cut short is left out."""
    lines = []
    for path in sorted(folder.glob(PATTERN)):
        for line in path.read_bytes().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    return lines


def _entered(folder: Path) -> dict[str, str]:
    """The last state of each result that the manifests of a folder know."""
    return {line["result"]: _entry(line) for line in read_manifests(folder)}


def _entry(line: Mapping[str, Any]) -> str:
    return " ".join(line.get(name, "")[:16] for name in (PHOTO_HASH, SETTINGS_HASH, SHARP_HASH))


def _unfinished_in(folder: Path) -> dict[str, list[Path]]:
    """The hidden folders of :func:`~motion_offsets.io.atomic.whole_folder`, by the name of the result."""
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for entry in os.scandir(folder):
            name, _, kind = entry.name.rpartition(".")
            name, _, number = name.rpartition(".")
            if name.startswith(".") and kind in ("partial", "old") and len(number) == 8 and entry.is_dir():
                found.setdefault(name[1:], []).append(Path(entry.path))
    return found


def _drop_torn_line(file: Any) -> None:
    """Cut off what was written of a last line when its run was killed."""
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)


def _has_locks(file: Any) -> bool:
    """Whether the file system of an open file knows the locks that keep a second run out."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _locked(path: Path) -> FileLock:
    """The lock of a manifest, held; on any system.

    Raises:
        BadInputError: another run holds it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BadInputError(
            f"{path}: another run is writing there; wait until it ends, or give another output"
        ) from None
    return lock

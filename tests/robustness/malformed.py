"""Inputs that are wrong: photos, configs, motion and weights that were damaged, each the same in every run."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from safetensors.torch import save

from motion_offsets.io.motion_files import SavedMotion, motion_to_bytes, save_motion

WIDTH, HEIGHT = 52, 44  # neither is a number that headers hold for another reason
POINTS = 4  # two control points, x and y
_UNUSUAL_SIZES = (0, 7, 60_000)
# Pillow writes these for other programs only, or in a mode of their own.
_MODES = {"XBM": "1", "MSP": "1", "PALM": "P", "SPIDER": "F", "GIF": "P", "BLP": "P", "EPS": "L"}
_DATE = time.gmtime(0)  # a PDF tells when it was written
_OPTIONS: dict[str, dict[str, Any]] = {"PDF": {"creationDate": _DATE, "modDate": _DATE}}
_SUFFIXES = {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif", "SPIDER": ".spi", "HDF5": ".h5"}


@dataclass(frozen=True)
class Malformed:
    """One damaged input.

    Args:
        name: what was done to what, as the test is called.
        kind: ``photo``, ``config``, ``weights`` or ``motion``.
        suffix: of the file.
        content: the file.
    """

    name: str
    kind: str
    suffix: str
    content: bytes


def all_malformed(folder: Path) -> list[Malformed]:
    """Every damaged file; ``folder`` holds a model as ``save_pretrained`` writes it."""
    return [*_photos(), *_configs(folder), *_weights(folder), *_motions()]


def photo() -> Image.Image:
    """A picture with smooth parts and detail, which every format takes in some mode."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([rows * 5, columns * 4, (rows + columns) * 2], axis=-1)
    noise = np.random.default_rng(0).integers(0, 30, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def written_formats() -> dict[str, bytes]:
    """The photo in every format that this Pillow writes."""
    Image.init()
    found = {}
    for name in sorted(Image.SAVE):
        if (name == "AVIF" and not features.check("avif")) or (name == "JPEG2000" and not features.check("jpg_2000")):
            continue
        written = io.BytesIO()
        try:
            photo().convert(_MODES.get(name, "RGB")).save(written, name, **_OPTIONS.get(name, {}))
        except OSError:  # a format that needs a handler which nobody registered
            continue
        found[name] = written.getvalue()
    return found


def _photos() -> Iterator[Malformed]:
    for name, intact in written_formats().items():
        suffix = _SUFFIXES.get(name, f".{name.lower()}")
        changed = [*_cut(intact), *_flipped(name, intact), *_resized(intact)]
        if name == "PNG":
            changed += [(f"{what}, checked", _with_checksum(content)) for what, content in _resized(intact)]
        for what, content in changed:
            yield Malformed(f"{name} {what}", "photo", suffix, content)


def _cut(intact: bytes) -> Iterator[tuple[str, bytes]]:
    for position in (1, 24, len(intact) // 3, 2 * len(intact) // 3, len(intact) - 3):
        yield f"cut at {position}", intact[:position]


def _flipped(name: str, intact: bytes) -> Iterator[tuple[str, bytes]]:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    for what, start, end, count in (
        ("head", 4, 40, 2),
        ("head more", 4, 40, 12),
        ("body", 40, len(intact), 5),
        ("anywhere", 0, len(intact), len(intact) // 20),
    ):
        content = np.frombuffer(intact, np.uint8).copy()
        positions = generator.integers(start, max(start + 1, min(end, len(intact))), count)
        content[positions] ^= generator.integers(1, 256, count, np.uint8)
        yield f"flipped in {what}", content.tobytes()


def _resized(intact: bytes) -> Iterator[tuple[str, bytes]]:
    """The width that a head gives, however it is written, as another."""
    for new in _UNUSUAL_SIZES:
        content, replaced = bytearray(intact), False
        for form in (">I", "<I", ">H", "<H"):
            position = intact.find(struct.pack(form, WIDTH), 0, 400)
            if position >= 0:
                struct.pack_into(form, content, position, new)
                replaced = True
                break
        text = str(WIDTH).encode()
        if not replaced and text in intact[:400]:
            content = bytearray(intact.replace(text, str(new).encode(), 1))
            replaced = True
        if replaced:
            yield f"{new} wide", bytes(content)


def _with_checksum(png: bytes) -> bytes:
    """A PNG whose first chunk has the check sum that it should."""
    return png[:29] + struct.pack(">I", zlib.crc32(png[12:29])) + png[33:]


def _configs(folder: Path) -> Iterator[Malformed]:
    intact = (folder / "config.json").read_bytes()
    values = json.loads(intact)
    texts = {
        "empty": b"",
        "blank": b" \n",
        "no JSON": b"base_channels: 4",
        "a list": b"[]",
        "a number": b"3",
        "null": b"null",
        "UTF-16": json.dumps(values).encode("utf-16"),
        "Latin-1": b'{"model_type": "\xe9"}',
        "nested deeply": b"[" * 100_000,
        "no end": b'{"a": ' * 50,
    }
    others = {
        "model_type": ("bert", "", None, 4, []),
        "base_channels": (0, -4, 4.5, "4", None, [4], 5, 8),
        "trajectory": ("spiral", "", 3, None, ["quadratic"], "cubic"),
        "num_samples": (0, -15, 14, "15", 1.5, None),
        "architectures": ("EtrajModel", 3),
        "dtype": ("float3", 16),
    }
    for what, content in [*texts.items(), *_cut(intact), *_flipped("config", intact)]:
        yield Malformed(f"config {what}", "config", ".json", content)
    for key, given in others.items():
        for value in given:
            content = json.dumps({**values, key: value}).encode()
            yield Malformed(f"config {key} {value!r}", "config", ".json", content)


def _weights(folder: Path) -> Iterator[Malformed]:
    intact = (folder / "model.safetensors").read_bytes()
    for what, content in _damaged_safetensors("weights", intact):
        yield Malformed(f"weights {what}", "weights", ".safetensors", content)


def _ordered(content: bytes) -> bytes:
    """The same safetensors with its head in order, which the library writes in another one each time."""
    (length,) = struct.unpack("<Q", content[:8])
    head = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + content[8 + length :]


def _damaged_safetensors(name: str, intact: bytes) -> Iterator[tuple[str, bytes]]:
    (length,) = struct.unpack("<Q", intact[:8])
    head, body = json.loads(intact[8 : 8 + length]), intact[8 + length :]
    first = next(key for key in head if key != "__metadata__")

    def headed(**changed: object) -> bytes:
        text = json.dumps({**head, first: {**head[first], **changed}}).encode()
        return struct.pack("<Q", len(text)) + text + body

    yield "empty", b""
    yield "zeros", bytes(len(intact))
    yield "text", b"not weights"
    yield "pickle", b"\x80\x02cos\nsystem\n."
    for size in (0, 1, length - 1, length + 1, 2**40, 2**64 - 1):
        yield f"head of {size}", struct.pack("<Q", size) + intact[8:]
    yield "another shape", headed(shape=[3, 3])
    yield "an enormous shape", headed(shape=[2**40, 2**40])
    yield "a negative shape", headed(shape=[-1])
    yield "another type", headed(dtype="F99")
    yield "offsets outside", headed(data_offsets=[0, 2**40])
    yield "offsets turned", headed(data_offsets=[8, 0])
    yield "no tensors", save({})
    yield "another tensor", save({"other": torch.zeros(3)})
    yield "not JSON", struct.pack("<Q", 8) + b"{{{{{{{{" + body
    yield from _cut(intact)
    yield from list(_flipped(name, intact))[:2]


def _motions() -> Iterator[Malformed]:
    motion = SavedMotion(
        torch.rand(1, POINTS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)), "quadratic", 15
    )
    for what, content in _damaged_safetensors("motion", _ordered(motion_to_bytes(motion))):
        yield Malformed(f"motion safetensors {what}", "motion", ".safetensors", content)
    for key, value in (
        ("trajectory", "spiral"),
        ("num_samples", "many"),
        ("num_samples", "14"),
        ("num_samples", "9" * 5000),
    ):
        header = {"trajectory": "quadratic", "num_samples": "15", key: value}
        content = save({"control_points": motion.control_points[0]}, metadata=header)
        yield Malformed(f"motion safetensors {key} {value[:8]}", "motion", ".safetensors", _ordered(content))
    intact = _npz(lambda file: save_motion(file, motion, [-1.0, 1.0]))  # type: ignore[arg-type]
    npz = [
        ("empty", b""),
        ("text", b"no archive"),
        *_cut(intact),
        *_flipped("npz", intact),
        *_changed_npz(motion),
        *_changed_archive(intact),
    ]
    for what, content in npz:
        yield Malformed(f"motion npz {what}", "motion", ".npz", content)


def _npz(write: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _changed_npz(motion: SavedMotion) -> Iterator[tuple[str, bytes]]:
    points = motion.control_points[0].numpy().astype(np.float16)
    intact = {"control_points": points, "trajectory": np.array("quadratic"), "num_samples": np.array(15)}
    with_nan = points.copy()
    with_nan[0, 3, 3] = np.nan
    changes: dict[str, dict[str, object]] = {
        "flat points": {"control_points": points.ravel()},
        "half the points": {"control_points": points[:2]},
        "no pixels": {"control_points": points[:, :0]},
        "text for points": {"control_points": np.array("none")},
        "complex points": {"control_points": points.astype(np.complex64)},
        "pickled points": {"control_points": np.array([{}], dtype=object)},
        "a point that is not a number": {"control_points": with_nan},
        "unknown trajectory": {"trajectory": np.array("spiral")},
        "a number for trajectory": {"trajectory": np.array(4)},
        "an even number of samples": {"num_samples": np.array(14)},
        "negative samples": {"num_samples": np.array(-15)},
        "endless samples": {"num_samples": np.array(np.inf)},
        "several numbers of samples": {"num_samples": np.array([15, 17])},
        "text for samples": {"num_samples": np.array("many")},
    }
    for what, changed in changes.items():
        yield what, _npz(lambda file, given={**intact, **changed}: np.savez(file, **given))  # type: ignore[misc]
    for key in intact:
        left = {name: value for name, value in intact.items() if name != key}
        yield f"without {key}", _npz(lambda file, given=left: np.savez(file, **given))  # type: ignore[misc]


def _changed_archive(intact: bytes) -> Iterator[tuple[str, bytes]]:
    """What the heads inside say, changed: the check sums of a zip do not cover its own."""
    shape = f"({POINTS}, {HEIGHT}, {WIDTH})".encode()
    for what, new in (("enormous", b"(9999999999999)"), ("negative", b"(-4, 44, 52)"), ("no", b"(4, 44, None")):
        changed = intact.replace(shape, new.ljust(len(shape)))
        yield f"{what} shape", _with_zip_checksums(changed)
    local, central = b"PK\x03\x04", b"PK\x01\x02"
    for what, at, value in (("encrypted", 0, 1), ("compressed in an unknown way", 2, 77), ("compressed", 2, 8)):
        content = bytearray(intact)
        for mark, offset in ((local, 6), (central, 8)):
            position = content.find(mark)
            while position >= 0:
                struct.pack_into("<H", content, position + offset + at, value)
                position = content.find(mark, position + 4)
        yield what, bytes(content)


def _with_zip_checksums(archive: bytes) -> bytes:
    """An archive of stored files whose check sums are those of what it now holds."""
    content, position = bytearray(archive), archive.find(b"PK\x03\x04")
    sums = []
    while position >= 0:
        size, names, extra = (
            struct.unpack_from("<I", archive, position + 18)[0],
            *struct.unpack_from("<HH", archive, position + 26),
        )
        start = position + 30 + names + extra
        if size == 0xFFFFFFFF:  # zip64, as numpy always writes
            (size,) = struct.unpack_from("<Q", archive, position + 30 + names + 4)
        sums.append(zlib.crc32(archive[start : start + size]))
        struct.pack_into("<I", content, position + 14, sums[-1])
        position = archive.find(b"PK\x03\x04", start + size)
    position = archive.find(b"PK\x01\x02")
    for checksum in sums:
        struct.pack_into("<I", content, position + 16, checksum)
        position = archive.find(b"PK\x01\x02", position + 4)
    return bytes(content)

"""Motion in the formats of other programs: safetensors, Middlebury ``.flo``, and a column of a ``datasets`` table.

The ``.npz`` that ``extract`` writes and the safetensors hold the control points, so that any time can be asked for. A
``.flo`` holds one flow: two of them give the offsets where the shutter opens and where it closes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ..errors import BadInputError
from ..exposure.trajectories import check_num_samples, num_control_points, offsets_at
from .atomic import whole_file

FORMATS = (".safetensors", ".flo")
FIELD = "control_points"
COLUMN = "motion"

# What NumPy and zipfile raise for archives that are damaged, encrypted, compressed otherwise or not ours.
NPZ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,  # a head that claims an enormous array
    RuntimeError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)

_FLO_MAGIC = 202021.25
_FLO_HEADER = struct.Struct("<fii")
_MAX_SIDE = 1 << 16


def read_motion(path: Path) -> SavedMotion:
    """The motion that a ``motion_offsets.npz`` or a ``.safetensors`` of :func:`export_motion` holds.

    Raises:
        BadInputError: the file is missing, or holds something else.
    """
    if path.suffix.lower() != ".safetensors":
        return load_motion(path)
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; give a .safetensors that export wrote")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        return _motion(load(path.read_bytes()), header)
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, BadInputError):
            raise BadInputError(f"{path}: {error}") from None
        raise BadInputError(f"{path}: holds no motion; give a .safetensors that export wrote") from None


def export_motion(motion: SavedMotion, path: Path) -> list[Path]:
    """Write motion as ``.safetensors``, or as ``NAME.start.flo`` and ``NAME.end.flo``, the offsets at t = -1 and 1.

    Returns:
        The files written.

    Raises:
        BadInputError: another suffix, or a place that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise BadInputError(
            f"{path}: cannot be written in this format; use a name that ends in {' or '.join(FORMATS)}"
        )
    if suffix == ".safetensors":
        with whole_file(path) as partial:
            partial.write_bytes(motion_to_bytes(motion))
        return [path]
    ends = offsets_at(motion.control_points, [-1.0, 1.0], motion.trajectory)[0]
    written = [path.with_suffix(".start.flo"), path.with_suffix(".end.flo")]
    with ExitStack() as both:  # either both or none
        partials = [both.enter_context(whole_file(file)) for file in written]
        for partial, offsets in zip(partials, ends, strict=True):
            write_flo(partial, offsets)
    return written


def write_flo(path: Path, flow: Tensor) -> None:
    """Write a flow ``(2, H, W)``, dx and dy in pixels, as Middlebury's ``.flo``: float32, little endian."""
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise BadInputError(f"{path}: a flow has shape (2, H, W), not {tuple(flow.shape)}")
    _, height, width = flow.shape
    with whole_file(path, (".flo",)) as partial:
        pixels = flow.permute(1, 2, 0).contiguous().numpy().astype("<f4")
        partial.write_bytes(_FLO_HEADER.pack(_FLO_MAGIC, width, height) + pixels.tobytes())


def read_flo(path: Path) -> Tensor:
    """The flow ``(2, H, W)`` of a ``.flo``, float32, pixels.

    Raises:
        BadInputError: the file is missing, no ``.flo``, or cut short.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; give a .flo")
    content = path.read_bytes()
    magic, width, height = _FLO_HEADER.unpack(content[: _FLO_HEADER.size].ljust(_FLO_HEADER.size, b"\0"))
    if magic != _FLO_MAGIC or not (0 < width < _MAX_SIDE and 0 < height < _MAX_SIDE):
        raise BadInputError(f"{path}: is not a .flo file; give one in Middlebury's format")
    if len(content) != _FLO_HEADER.size + 8 * width * height:
        raise BadInputError(f"{path}: is damaged, as its length does not fit {width}x{height}; give an intact file")
    pixels = np.frombuffer(content, "<f4", offset=_FLO_HEADER.size).reshape(height, width, 2)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).contiguous()


def motion_to_bytes(motion: SavedMotion) -> bytes:
    """Motion as the bytes of a safetensors file: ``control_points`` ``(2K, H, W)``, and what they mean as metadata."""
    header = {"trajectory": motion.trajectory, "num_samples": str(motion.num_samples), "units": "pixels, dx and dy"}
    return save({FIELD: motion.control_points[0].contiguous()}, metadata=header)


def motion_to_row(motion: SavedMotion) -> dict[str, Any]:
    """A row of a ``datasets`` table for pictures of any size, whose features include :func:`motion_features`."""
    fields = {"trajectory": motion.trajectory, "num_samples": motion.num_samples}
    return {COLUMN: save({FIELD: motion.control_points[0].contiguous()}), **fields}


def motion_from_row(row: Mapping[str, Any]) -> SavedMotion:
    """The motion of a row that :func:`motion_to_row` made.

    Raises:
        BadInputError: the row has no such columns, or they hold something else.
    """
    try:
        return _motion(load(row[COLUMN]), row)
    except (SafetensorError, KeyError, TypeError):
        raise BadInputError(f"this row holds no motion; give one whose column {COLUMN!r} motion_to_row made") from None


def motion_features() -> dict[str, Any]:
    """The ``datasets`` features of the columns that :func:`motion_to_row` fills."""
    from datasets import Value

    return {COLUMN: Value("large_binary"), "trajectory": Value("string"), "num_samples": Value("int32")}


def _motion(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> SavedMotion:
    points, trajectory = tensors[FIELD].float(), header["trajectory"]
    num_samples = check_num_samples(int(header["num_samples"]))
    expected = 2 * num_control_points(trajectory, num_samples)
    if not _is_motion(points, expected):
        raise BadInputError(
            f"holds control points of shape {tuple(points.shape)}; a {trajectory} trajectory needs finite values of "
            f"shape ({expected}, height, width)"
        )
    return SavedMotion(points[None], trajectory, num_samples)


def _is_motion(points: Tensor, channels: int) -> bool:
    """Whether these are finite control points of at least one pixel."""
    shaped = points.ndim == 3 and points.shape[0] == channels and points.numel() > 0
    return shaped and bool(torch.isfinite(points).all())


@dataclass(frozen=True)
class SavedMotion:
    """The motion of one photo as a file holds it.

    Args:
        control_points: ``(1, 2K, H, W)``, pixels.
        trajectory: the one that they belong to.
        num_samples: N, of an exposure.
        uncertainty: ``(1, 1, H, W)``, pixels, how far the ends of the paths are expected to be off, if it is known; a
            ``.npz`` keeps it.
    """

    control_points: Tensor
    trajectory: str
    num_samples: int
    uncertainty: Tensor | None = None


def save_motion(path: Path, motion: SavedMotion, times: Sequence[float]) -> None:
    """Save a motion as ``.npz``, control points as float16 (to 1/64 pixel at 32 pixels), with the frames' times."""
    uncertainty: dict[str, Any] = {} if motion.uncertainty is None else {"uncertainty": as_half(motion.uncertainty)}
    np.savez(
        path,
        control_points=as_half(motion.control_points),
        **uncertainty,
        trajectory=np.array(motion.trajectory),
        num_samples=np.array(motion.num_samples),
        timestamps=np.array(times, dtype=np.float64),
    )


def as_half(maps: Tensor) -> np.ndarray:
    """The first of ``(B, C, H, W)`` maps as float16 ``(C, H, W)``, to 1/64 pixel at 32 pixels."""
    return maps[0].clamp(-6e4, 6e4).to(torch.float16).cpu().numpy()


def load_motion(path: Path) -> SavedMotion:
    """The motion that :func:`save_motion` saved.

    Raises:
        BadInputError: the file is missing, no ``motion_offsets.npz``, or holds what does not fit together.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; give a motion_offsets.npz that extract wrote")
    try:
        with np.load(path, allow_pickle=False) as saved:
            points = torch.from_numpy(saved["control_points"].astype(np.float32, casting="same_kind"))
            trajectory, num_samples = str(saved["trajectory"]), int(saved["num_samples"])
            uncertainty = None
            if "uncertainty" in saved:
                uncertainty = torch.from_numpy(saved["uncertainty"].astype(np.float32, casting="same_kind"))[None]
    except NPZ_ERRORS:
        raise BadInputError(f"{path}: holds no motion offsets; give a motion_offsets.npz that extract wrote") from None
    try:
        expected = 2 * num_control_points(trajectory, check_num_samples(num_samples))
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from None
    if not _is_motion(points, expected):
        raise BadInputError(
            f"{path}: holds control points of shape {tuple(points.shape)}; a {trajectory} trajectory needs finite "
            f"values of shape ({expected}, height, width)"
        )
    if uncertainty is not None and uncertainty.shape != (1, 1, *points.shape[1:]):
        raise BadInputError(
            f"{path}: holds an uncertainty of shape {tuple(uncertainty.shape[1:])}; its control points need one of "
            f"{(1, *points.shape[1:])}"
        )
    return SavedMotion(points[None], trajectory, num_samples, uncertainty)

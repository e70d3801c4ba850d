"""Training crops rendered once into memory-mapped files: later passes over them cost a read, and no rendering."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ...errors import BadInputError
from ...io.atomic import put_in_place
from .augmentation import half_plane

# What a crop is kept as: pictures and masks in 8 bits, offsets in half precision (1/32 of a pixel at 64 pixels).
KEPT_AS = {"blurred": np.uint8, "sharp": np.uint8, "ends": np.float16, "known": np.uint8, "gamma": np.float32}
PICTURES = ("blurred", "sharp")
_RECORD = "made_of.json"


class CropShards(Dataset):
    """Crops of a folder of memory-mapped files, over and over; from the second pass on turned and mirrored at random.

    Items are as those of :class:`~motion_offsets.data.crops.flow_crops.MotionFlowCrops`, rounded as :data:`KEPT_AS`
    says. Item ``i`` depends on the folder, the seed and on ``i`` alone.

    Args:
        folder: what :func:`render_crops` made.
        length: number of items, more than there are crops for several passes.
        seed: what the turns depend on.
    """

    def __init__(self, folder: Path, length: int, seed: int = 0):
        self.length, self.seed = length, seed
        self.fields = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in KEPT_AS}
        self.count = len(self.fields["gamma"])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        turn, row = divmod(index, self.count)
        item = {name: torch.from_numpy(np.array(values[row])).float() for name, values in self.fields.items()}
        for name in PICTURES:
            item[name] /= 255
        if turn:
            generator = np.random.default_rng((self.seed, index, 3))
            item = turned(item, int(generator.integers(4)), bool(generator.integers(2)))
        return {**item, "gamma": float(item["gamma"])}


def turned(item: Mapping[str, Tensor], turns: int, mirrored: bool) -> dict[str, Tensor]:
    """A crop after so many anticlockwise quarter turns and, if asked, mirroring left to right after them."""
    maps = {name: value for name, value in item.items() if value.ndim > 1}
    maps = {name: torch.rot90(value, turns, (-2, -1)) for name, value in maps.items()}
    maps = {name: value.flip(-1) for name, value in maps.items()} if mirrored else maps
    across, down = maps["ends"][:, 0], maps["ends"][:, 1]
    for _ in range(turns):  # with y downwards, (dx, dy) becomes (dy, -dx)
        across, down = down, -across
    maps["ends"] = half_plane(torch.stack([-across if mirrored else across, down], dim=1))
    return {**item, **{name: value.contiguous() for name, value in maps.items()}}


def render_crops(source: Dataset, folder: Path, made_of: Mapping[str, Any]) -> None:
    """Render all items of ``source`` into ``folder``, unless it holds them already; whole or not at all.

    Args:
        source: of crops of one size; its length is how many are rendered.
        folder: what becomes of it; a few hundred kilobytes a crop of 128 pixels.
        made_of: what the crops depend on, as JSON can hold it; kept beside them.

    Raises:
        BadInputError: the folder holds something else, or cannot be written.
    """
    record = json.loads(json.dumps({**made_of, "count": len(source)}))  # type: ignore[arg-type]
    if folder.exists():
        _check_made_of(folder, record)
        return
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(source, partial)
        (partial / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        put_in_place(partial, folder)
    except OSError as error:
        raise BadInputError(
            f"{folder}: crops cannot be written there ({error.strerror or error}); give a folder with room for them"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(source: Dataset, folder: Path) -> None:
    count = len(source)  # type: ignore[arg-type]
    files: dict[str, np.memmap] = {}
    for index in tqdm(range(count), desc="crops", file=sys.stderr, mininterval=2):
        item = source[index]
        for name, kind in KEPT_AS.items():
            value = torch.as_tensor(item[name])
            if name not in files:
                shape = (count, *value.shape)
                files[name] = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
            files[name][index] = ((value * 255).round() if name in PICTURES else value).numpy().astype(kind)
    for file in files.values():
        file.flush()


def _check_made_of(folder: Path, record: Mapping[str, Any]) -> None:
    right = "give another folder, or remove this one"
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInputError(f"{folder}: exists and holds no crops; {right}") from None
    for name, value in record.items():
        if found.get(name) != value:
            raise BadInputError(f"{folder}: its crops have {name} {found.get(name)!r}, not {value!r}; {right}")

"""One command in several processes, as ``accelerate launch`` and ``torchrun`` start them.

``accelerate.PartialState`` does not do the same: the commands work without accelerate (extra ``train``), and it would
open NCCL, which needs a GPU per process, where only exit codes are exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from ..errors import BadInputError

# The processes do not talk while they work, and one may be done days before another.
_PATIENCE = timedelta(days=100)


@dataclass(frozen=True)
class Process:
    """This process: number ``index`` of ``count``, and number ``local_index`` on its machine."""

    index: int = 0
    count: int = 1
    local_index: int = 0

    def device(self, name: str) -> str:
        """``auto`` and ``cuda`` as the GPU of this process; other names as they are."""
        if self.count > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_index % torch.cuda.device_count()}"
        return name

    def worst(self, codes: set[int]) -> set[int]:
        """The exit codes of all processes; waits for them, as the launcher ends all when one ends with an error."""
        if self.count == 1:
            return codes
        gathered: list[set[int]] = [set() for _ in range(self.count)]
        distributed.all_gather_object(gathered, codes)
        return set().union(*gathered)


@contextmanager
def joined_processes() -> Iterator[Process]:
    """This process among those that a launcher started, by the variables that it sets.

    Raises:
        BadInputError: the variables are not numbers.
    """
    names = {"index": "RANK", "count": "WORLD_SIZE", "local_index": "LOCAL_RANK"}
    try:
        process = Process(**{field: int(os.environ[name]) for field, name in names.items() if name in os.environ})
    except ValueError:
        raise BadInputError(f"{', '.join(names.values())} are set, and not to numbers; unset them") from None
    if process.count == 1:
        yield Process()
        return
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield process
    finally:
        distributed.destroy_process_group()

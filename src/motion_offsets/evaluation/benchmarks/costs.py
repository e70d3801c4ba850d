"""What an answer costs: seconds per photo, measured while evaluating, and the size of the checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...pipelines.answer import MOTION, SHARP_FRAME

PARTS = {"estimator": MOTION, "deblurrer": SHARP_FRAME}


class Stopwatch:
    """Seconds of the parts of one photo's answer on a device, whose work is waited for.

    Args:
        device: where the networks run.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        started = self._now()
        yield
        self.seconds[name] = self._now() - started

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def figures(self) -> dict[str, float | None]:
        """``estimator_seconds``, ``deblurrer_seconds``, and ``extraction_seconds`` of both and the clip; ``None`` for
        what was not done."""
        whole = sum(self.seconds.values()) if "clip" in self.seconds else None
        return {f"{name}_seconds": self.seconds.get(part) for name, part in PARTS.items()} | {
            "extraction_seconds": whole
        }


def size_figures(part: str, network: torch.nn.Module | None, file_bytes: int | None) -> dict[str, float | None]:
    """``..._parameters`` of a network, their ``..._float32_mb``, as the paper's Table 5 counts, and ``..._file_mb`` of
    the weight file; a megabyte is a million bytes. ``None`` of what has no network."""
    count = None if network is None else sum(parameter.numel() for parameter in network.parameters())
    return {
        f"{part}_parameters": count,
        f"{part}_float32_mb": None if count is None else 4 * count / 1e6,
        f"{part}_file_mb": None if file_bytes is None else file_bytes / 1e6,
    }

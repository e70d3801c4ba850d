"""What the benchmarks share: medians of calls that take turns on a CPU or a GPU, and peak memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of one call, by the clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    seconds: Callable[[Callable[[], object]], float] = seconds_of,
) -> dict[str, float]:
    """Median seconds of each call over the rounds; within a round the calls take turns.

    Args:
        calls: what is timed, by name.
        rounds: that count.
        warm_up: rounds before these, which compile and allocate.
        seconds: how a call is timed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name, call in calls.items():
            spent = seconds(call)
            if number >= warm_up:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mb() -> float:
    """Most memory that this process ever held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)


def gpu_medians(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call on the GPU by its own clock; within a round the calls take turns.

    Before each call a quarter of a gigabyte is cleared: this empties the cache of what the last call left in it, and
    keeps the GPU busy while Python prepares the call, so that the time is the GPU's and not Python's.
    """
    sweep = torch.empty(1 << 28, dtype=torch.int8, device="cuda")

    def seconds(call: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(40):
            sweep.zero_()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    return medians(calls, rounds, warm_up=3, seconds=seconds)


def copy_bandwidth() -> float:
    """Bytes a second that the GPU reads and writes in copying a gigabyte."""
    source = torch.empty(1 << 30, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    seconds = gpu_medians({"copy": lambda: target.copy_(source)}, 10)["copy"]
    return 2 * source.numel() / seconds


def gpu_peak_mb(call: Callable[[], object]) -> float:
    """Megabytes that a call holds at most on the GPU beyond what was there before, its result included."""
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6

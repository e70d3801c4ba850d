"""Threads for kernels that release the interpreter lock.

Numba's own ``parallel=True`` is not used: its default threading layer aborts the process when two Python threads
enter it at once, which a web server does. This pool may be entered from any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_creating = threading.Lock()


def _keep_to_one_thread() -> None:
    torch.set_num_threads(1)
    # The first question settles the thread's number for good; later it would take that of the whole process.
    torch.get_num_threads()


def _pool(workers: int) -> ThreadPoolExecutor:
    """A pool whose threads keep PyTorch's operators to themselves."""
    # Keyed by process: threads do not survive a fork, so a forked data loader worker needs a pool of its own.
    key = (os.getpid(), workers)
    with _creating:
        if key not in _pools:
            before = torch.get_num_threads()
            _pools[key] = ThreadPoolExecutor(workers, "motion-offsets", _keep_to_one_thread)
            started = threading.Barrier(workers + 1)
            for _ in range(workers):
                _pools[key].submit(started.wait)
            started.wait()
            # What a thread sets is also what threads to come start with.
            torch.set_num_threads(before)
    return _pools[key]


def block_bounds(num_items: int, min_block: int = 1) -> list[tuple[int, int]]:
    """Split ``range(num_items)`` into at most ``torch.get_num_threads()`` contiguous ``(start, stop)`` blocks."""
    blocks = max(1, min(torch.get_num_threads(), num_items // max(1, min_block)))
    edges = [num_items * index // blocks for index in range(blocks + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def run_blocks(
    function: Callable[[int, int], None], num_items: int, min_block: int = 1, uses_torch: bool = False
) -> None:
    """Call ``function(start, stop)`` for each block of :func:`block_bounds`, in parallel; an error is raised.

    The calling thread works on the first block itself, unless ``uses_torch`` says that the function calls PyTorch's
    operators: these would take all cores there, and keep to one in the pool. No gradients are recorded, and an
    inference mode of the caller holds in every thread.
    """
    bounds = block_bounds(num_items, min_block)
    inference = torch.is_inference_mode_enabled()

    def block(start: int, stop: int) -> None:
        # These modes belong to the thread, and pool threads start without them.
        with torch.inference_mode(inference), torch.no_grad():
            function(start, stop)

    here = 0 if uses_torch and len(bounds) > 1 else 1
    futures = [_pool(len(bounds) - here).submit(block, start, stop) for start, stop in bounds[here:]]
    for start, stop in bounds[:here]:
        block(start, stop)
    for future in futures:
        future.result()

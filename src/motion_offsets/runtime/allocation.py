"""The memory of a process on a CPU, kept from one network layer to the next."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

# The names of mallopt's parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
# Free bytes at the end of the heap from which on they are given back, and tensors in pages of their own; glibc's
# defaults are in the second line. mallopt takes ints. Threads share one heap, for good: glibc cannot give back the end
# of a thread's own one, up to 64 MB of it, and one thread could not reuse what another has freed.
KEEP = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}
GIVE_BACK = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}
# How much more a network holds at its peak when memory is kept, measured on photos of 1 to 12 megapixels.
KEPT_OVERHEAD = 1.3

_wanted = False


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process reuse the memory of tensors that it has freed, instead of giving it back to the system.

    Otherwise every large tensor on a CPU is new memory, which Linux fills with zeros page by page as it is written:
    ``benchmarks/optimize.py`` prints what that costs. A process then holds up to 2 GB more of what it held at its
    peak, and the peak is up to a third higher: tiles of large photos are the smaller for it, and where a memory bound
    leaves no room for these, memory is given back as before. The command line, the web page and training call this;
    in your own program, ``pipe.optimize()`` does for a pipeline on a CPU.

    Args:
        keep: ``False`` undoes it, apart from the one heap of all threads, and gives back what is free.

    Returns:
        Whether the system's allocator was told so: it is, on Linux with glibc.
    """
    global _wanted
    _wanted = keep
    return _tell(keep)


def give_back_free_memory() -> None:
    """Give back, once, what is free; where freed memory is kept, it goes on being kept from here on."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def keep_while(fits: bool) -> bool:
    """Keep freed memory if that is wanted at all and there is room for it; returns whether it is kept."""
    return _wanted and _tell(fits) and fits


def _tell(keep: bool) -> bool:
    libc = _glibc()
    if libc is None:
        return False
    if not keep:
        libc.malloc_trim(0)
    return all(libc.mallopt(name, value) == 1 for name, value in (KEEP if keep else GIVE_BACK).items())


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else None

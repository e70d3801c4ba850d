"""Memory that is kept is not asked for again, until it is given back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COMMON = """
import resource
import torch
from motion_offsets.runtime.allocation import give_back_free_memory, keep_freed_memory, keep_while

def faults():
    for _ in range(16):  # until there is enough memory to go round
        torch.ones(1 << 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(1 << 24)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

"""
TURNS = "print(faults(), keep_freed_memory(), faults(), held(), keep_freed_memory(False), held())"
AT_REST = "keep_freed_memory(); faults(); kept = held(); give_back_free_memory(); print(kept, held(), faults())"
ROOM = "keep_freed_memory(); keep_while(False); tight = faults(); keep_while(True); print(tight, faults())"
UNASKED = "keep_while(True); print(faults())"
# Eight threads at once, as of eight visitors, each with 32 MB in pieces that fit into a thread's own heap.
OF_THREADS = """
import threading

together, done = threading.Barrier(9), threading.Event()

def work():
    together.wait()
    pieces = [bytearray(1 << 22) for _ in range(8)]
    together.wait()
    del pieces
    together.wait()
    done.wait()

keep_freed_memory()
before = held()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for _ in range(3):
    together.wait()
kept = held()
give_back_free_memory()
print(before, kept, held())
done.set()
"""
PAGES = 4 * (1 << 26) // 65536  # even with pages of 64 KB


pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told to keep memory"
)


def printed(program: str) -> list[str]:
    command = [sys.executable, "-c", COMMON + program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()


def test_freed_tensors_are_reused_until_told_otherwise() -> None:
    before, kept, meanwhile, held, given_back, left = printed(TURNS)
    assert (kept, given_back) == ("True", "True")
    assert int(before) >= PAGES
    assert int(meanwhile) < PAGES / 100
    assert int(held) - int(left) >= 1 << 26


def test_at_rest_it_is_given_back_and_then_kept_again() -> None:
    kept, at_rest, afterwards = map(int, printed(AT_REST))
    assert kept - at_rest >= 1 << 26
    assert afterwards < PAGES / 100


def test_what_threads_have_freed_is_given_back_while_they_live() -> None:
    before, kept, at_rest = map(int, printed(OF_THREADS))
    assert kept - before >= 7 << 25  # 8 threads of 32 MB, less what was free before
    assert at_rest - before < 1 << 25


def test_kept_only_while_there_is_room() -> None:
    tight, roomy = map(int, printed(ROOM))
    assert tight >= PAGES
    assert roomy < PAGES / 100


def test_not_kept_unless_asked_for() -> None:
    assert int(printed(UNASKED)[0]) >= PAGES

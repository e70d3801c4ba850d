"""Memory that is kept is not asked for again, until it is given back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

USE = """
import resource
import torch
from motion_offsets.allocation import keep_freed_memory

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

print(faults(), keep_freed_memory(), faults(), held(), keep_freed_memory(False), held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told to keep memory")
def test_freed_tensors_are_reused_until_told_otherwise() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True, timeout=120)
    before, kept, meanwhile, held, given_back, left = done.stdout.split()
    assert (kept, given_back) == ("True", "True")
    pages = 4 * (1 << 26) // 65536  # even with pages of 64 KB
    assert int(before) >= pages
    assert int(meanwhile) < pages / 100
    assert int(held) - int(left) >= 1 << 26

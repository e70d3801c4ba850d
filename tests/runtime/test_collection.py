"""The garbage collector is left out of imports, and is as it was afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from motion_offsets.runtime.collection import collection_paused


def test_the_collector_is_off_within_and_on_again_even_after_an_error() -> None:
    found = []

    def fail() -> None:
        with collection_paused():
            found.append(gc.isenabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (found, gc.isenabled()) == ([False], True)


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_commands_load_their_libraries_without_collecting() -> None:
    program = """
import gc
import motion_offsets.cli.app
from motion_offsets.cli.arguments import load_libraries
started = []
gc.callbacks.append(lambda phase, info: started.append(phase))
load_libraries()
import sys
assert {"torch", "transformers", "motion_offsets.extraction.batch"} <= set(sys.modules)
print(len(started), gc.isenabled())
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["0", "True"]

"""Python's garbage collector, left out while a program starts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Import libraries and load networks without collecting garbage.

    Importing PyTorch, transformers, and diffusers creates about a million objects that live as long as the process.
    The collector looks through them again and again and finds nothing; ``benchmarks/startup.py`` prints what that
    costs. On leaving, all objects are set aside for good (:func:`gc.freeze`), so that later collections are quick as
    well, and the collector is as it was before.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()

"""The progress bar of commands that work on photos."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm


class Progress:
    """One progress bar: for one photo, how far its step is; for many, how many are done.

    Args:
        single: there is one photo.
        count: number of photos, where it is known.
        shown: whether this process, of several, shows a bar.
    """

    def __init__(self, single: bool, count: int | None, shown: bool) -> None:
        self._single = single
        form = None if count is None and not single else "{desc} |{bar}| {n}/{total}"
        # Disabled (None) where standard error is not a terminal.
        disable = None if shown else True
        self._bar = tqdm(total=1 if single else count, leave=False, disable=disable, bar_format=form, unit=" photos")
        self._lock = threading.RLock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._bar.close()

    def step(self, photo: str, name: str, done: int, total: int) -> None:
        """A photo has come to a step, and ``done`` of its ``total`` parts are finished."""
        with self._lock:
            if self._single:
                self._bar.total, self._bar.n = total, done
            self._bar.set_description_str(f"{Path(photo).name}: {name}")

    @contextmanager
    def said(self) -> Iterator[None]:
        """The bar is hidden while a line about a finished photo is printed."""
        with self._lock:
            self._bar.clear()
            yield
            if not self._single:
                self._bar.update()

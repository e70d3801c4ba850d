"""Work that can be stopped: a visitor's click, their leaving or the time limit ends it between two network layers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from ..errors import BadInputError

OnStep = Callable[[str, float], None]


class StoppedError(Exception):
    """The visitor stopped the work."""


class Job:
    """One visitor's work: told its progress, asked to stop."""

    def __init__(self, seconds: float, on_step: OnStep | None = None) -> None:
        self._stop = threading.Event()
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._on_step = on_step

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        """Raise if the work is to end here."""
        if self._stop.is_set():
            raise StoppedError
        if time.monotonic() > self._deadline:
            raise BadInputError(f"This photo took longer than {self._seconds:.0f} seconds; try a smaller one")

    def step(self, name: str, fraction: float) -> None:
        self.check()
        if self._on_step is not None:
            self._on_step(name, fraction)


_current = threading.local()


@contextmanager
def working_on(job: Job) -> Iterator[Job]:
    """Make ``job`` the one that this thread's work belongs to."""
    _current.job = job
    try:
        yield job
    finally:
        _current.job = None


def check_current() -> None:
    """Raise if the work of this thread is to end here."""
    job = getattr(_current, "job", None)
    if job is not None:
        job.check()


def step_current(name: str, fraction: float) -> None:
    """Tell that the work of this thread has come so far, and raise if it is to end here."""
    job = getattr(_current, "job", None)
    if job is not None:
        job.step(name, fraction)


def make_stoppable(network: nn.Module) -> None:
    """Let the network ask, before each of its layers, whether it should go on."""

    def ask(module: nn.Module, inputs: object) -> None:
        check_current()

    for module in network.modules():
        if not any(True for _ in module.children()):
            module.register_forward_pre_hook(ask)


class Jobs:
    """The running jobs, by visitor."""

    def __init__(self) -> None:
        self._jobs: dict[str, set[Job]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def running(self, visitor: str, job: Job) -> Iterator[Job]:
        with self._lock:
            self._jobs.setdefault(visitor, set()).add(job)
        try:
            with working_on(job):
                yield job
        finally:
            with self._lock:
                self._jobs[visitor].discard(job)
                if not self._jobs[visitor]:
                    del self._jobs[visitor]

    def stop(self, visitor: str) -> int:
        """End whatever runs for a visitor; how much that was."""
        with self._lock:
            jobs = list(self._jobs.get(visitor, ()))
        for job in jobs:
            job.stop()
        return len(jobs)

    def __len__(self) -> int:
        with self._lock:
            return sum(len(jobs) for jobs in self._jobs.values())

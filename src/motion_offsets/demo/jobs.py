"""Work that can be stopped between two network layers: by a click, by the visitor's leaving, or by the time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from ..errors import BadInputError

OnStep = Callable[[str, float], None]
Network = TypeVar("Network", bound=nn.Module)


class StoppedError(Exception):
    """The visitor stopped the work."""


class Job:
    """One visitor's work: reports its progress, and can be asked to stop."""

    def __init__(self, seconds: float, on_step: OnStep | None = None) -> None:
        self._stop = threading.Event()
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._on_step = on_step
        self.current_step = ""

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        """Raise if the work must end here."""
        if self._stop.is_set():
            raise StoppedError
        if time.monotonic() > self._deadline:
            raise BadInputError(f"This photo took longer than {self._seconds:.0f} seconds; try a smaller one")

    def step(self, name: str, fraction: float) -> None:
        """The work has come to a step: its name, and the part of all work that is done by then, 0 to 1."""
        self.check()
        self.current_step = name
        if self._on_step is not None:
            self._on_step(name, fraction)


_current = threading.local()


@contextmanager
def working_on(job: Job) -> Iterator[Job]:
    """Make ``job`` the job of this thread."""
    _current.job = job
    try:
        yield job
    finally:
        _current.job = None


def check_current() -> None:
    """Raise if the work of this thread must end here."""
    job = getattr(_current, "job", None)
    if job is not None:
        job.check()


def step_current(name: str, fraction: float) -> None:
    """Report a step of this thread's work; raise if the work must end here."""
    job = getattr(_current, "job", None)
    if job is not None:
        job.step(name, fraction)


def make_stoppable(network: Network) -> Network:
    """The network itself, which from now on checks before each of its layers whether it should go on."""

    def ask(module: nn.Module, inputs: object) -> None:
        check_current()

    for module in network.modules():
        if not any(True for _ in module.children()):
            module.register_forward_pre_hook(ask)
    return network


class Jobs:
    """The running jobs, by visitor."""

    def __init__(self) -> None:
        self._jobs: dict[str, set[Job]] = {}
        self._lock = threading.Lock()
        self.finished = 0

    @contextmanager
    def running(self, visitor: str, job: Job) -> Iterator[Job]:
        with self._lock:
            self._jobs.setdefault(visitor, set()).add(job)
        try:
            with working_on(job):
                yield job
        finally:
            with self._lock:
                self.finished += 1
                self._jobs[visitor].discard(job)
                if not self._jobs[visitor]:
                    del self._jobs[visitor]

    def stop(self, visitor: str) -> int:
        """Stop the jobs of a visitor; returns their number."""
        with self._lock:
            jobs = list(self._jobs.get(visitor, ()))
        for job in jobs:
            job.stop()
        return len(jobs)

    def step_of(self, visitor: str) -> str | None:
        """The step that a visitor's work has come to; ``None`` if nothing runs for them."""
        with self._lock:
            names = [job.current_step for job in self._jobs.get(visitor, ())]
        return names[0] if names else None

    def __len__(self) -> int:
        with self._lock:
            return sum(len(jobs) for jobs in self._jobs.values())

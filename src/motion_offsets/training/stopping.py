"""When a run is asked to stop: by SIGTERM or SIGINT, or because ``accelerate launch``, which started it, has ended."""

from __future__ import annotations

import os
import signal
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAUNCHED = "ACCELERATE_MIXED_PRECISION"  # `accelerate launch` tells it to all that it starts


class StopRequest:
    """True once the run was asked to stop. From its making on, the two signals do nothing but that.

    With one process the launcher passes no signal on: who ends it would leave a run behind that nobody sees. It is
    therefore as good as a signal when the launcher is gone.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._launcher = os.getppid() if LAUNCHED in os.environ else None
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: Any) -> None:
        self._received = number

    def __bool__(self) -> bool:
        return self._received is not None or self._launcher not in (None, os.getppid())

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell tells it; a process that stops with others tells SIGTERM's."""
        return 128 + (self._received or signal.SIGTERM)


def leave_signals_alone(_worker: int) -> None:
    """For the processes that make crops: Ctrl-C, which they get as well, is the training process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

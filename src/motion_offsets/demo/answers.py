"""Answers of the networks, and where they wait while their visitor looks at them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInputError
from ..exposure.trajectories import offsets_at
from ..io.photo_metadata import NO_METADATA, PhotoMetadata


@dataclass(frozen=True)
class Answer:
    """What the networks found in one photo; everything that the page shows is drawn from it.

    Args:
        photo: uint8 ``(H, W, 3)``.
        sharp: the sharp frame, likewise.
        control_points: float16 ``(2K, H, W)``, pixels.
        model: name of the estimator.
        trajectory: one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`.
        num_samples: N, the number of samples of the exposure.
        consistency: see :class:`~motion_offsets.exposure.consistency.Consistency`.
        uncertainty: float16 ``(1, H, W)``, pixels, how far the ends of the paths are expected to be off; ``None`` if
            the estimator does not predict it.
        metadata: what the photo's file tells beside its pixels, for the files made from it.
    """

    photo: np.ndarray
    sharp: np.ndarray
    control_points: np.ndarray
    model: str
    trajectory: str
    num_samples: int
    consistency: dict[str, Any]
    uncertainty: np.ndarray | None = None
    metadata: PhotoMetadata = NO_METADATA

    @property
    def width(self) -> int:
        return self.photo.shape[1]

    @property
    def height(self) -> int:
        return self.photo.shape[0]

    @property
    def nbytes(self) -> int:
        unsure = 0 if self.uncertainty is None else self.uncertainty.nbytes
        return self.photo.nbytes + self.sharp.nbytes + self.control_points.nbytes + unsure

    def points(self) -> Tensor:
        """Control points ``(1, 2K, H, W)``, float32."""
        return torch.from_numpy(self.control_points).float()[None]

    def offsets(self, times: list[float], stride: int = 1) -> Tensor:
        """Offsets ``(T, 2, h, w)`` in pixels at every ``stride``-th pixel."""
        points = torch.from_numpy(self.control_points[:, ::stride, ::stride].astype(np.float32))[None]
        return offsets_at(points, times, self.trajectory)[0]

    def path_at(self, x: int, y: int, times: list[float]) -> np.ndarray:
        """``(T, 2)`` offsets of one pixel."""
        points = torch.from_numpy(self.control_points[:, y : y + 1, x : x + 1].astype(np.float32))[None]
        return offsets_at(points, times, self.trajectory)[0, :, :, 0, 0].numpy()


class AnswerStore:
    """Answers by a ticket that cannot be guessed; bounded in bytes and in time, so that memory stays flat."""

    def __init__(self, max_bytes: int, keep_seconds: float) -> None:
        self._max_bytes, self._keep_seconds = max_bytes, keep_seconds
        self._answers: OrderedDict[str, tuple[Answer, float]] = OrderedDict()
        self._pinned: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def put(self, answer: Answer, pinned: bool = False) -> str:
        """Keep an answer; pinned ones (the examples) stay for good."""
        ticket = secrets.token_urlsafe(16)
        with self._lock:
            if pinned:
                self._pinned[ticket] = answer
                return ticket
            self._answers[ticket] = (answer, time.monotonic())
            self._make_room()
        return ticket

    def get(self, ticket: str | None) -> Answer:
        """The answer of a ticket.

        Raises:
            BadInputError: there is none, or it has been dropped.
        """
        with self._lock:
            if ticket in self._pinned:
                return self._pinned[ticket]
            self._make_room()
            if ticket is None or ticket not in self._answers:
                raise BadInputError("This answer has expired; press the button again")
            answer, _ = self._answers[ticket]
            self._answers[ticket] = (answer, time.monotonic())
            self._answers.move_to_end(ticket)
            return answer

    def pinned(self, ticket: str) -> bool:
        """Whether the ticket is one of an answer that stays."""
        with self._lock:
            return ticket in self._pinned

    def drop(self, ticket: str | None) -> None:
        """Forget an answer, if it is not pinned."""
        with self._lock:
            if ticket is not None:
                self._answers.pop(ticket, None)

    @property
    def nbytes(self) -> int:
        return sum(answer.nbytes for answer, _ in self._answers.values())

    def sweep(self) -> None:
        """Drop what is too old."""
        with self._lock:
            self._make_room()

    def _make_room(self) -> None:
        """Drop what is too old, then the least recently used; the newest always stays."""
        oldest = time.monotonic() - self._keep_seconds
        for ticket in [ticket for ticket, (_, used) in self._answers.items() if used < oldest]:
            del self._answers[ticket]
        while len(self._answers) > 1 and self.nbytes > self._max_bytes:
            self._answers.popitem(last=False)

"""Sources of training and test data; imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reading.pairs import load_pairs
    from .reading.sequences import load_sequences

_HOME = {"load_pairs": "reading.pairs", "load_sequences": "reading.sequences"}

__all__ = ["load_pairs", "load_sequences"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)

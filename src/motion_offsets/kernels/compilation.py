"""Numba's compiler with a cache on disk that can only save time: if anything is wrong with it, kernels are compiled.

Numba's own cache ends in an error where no folder for it can be written, and for ever after one of its files was cut
short. A damaged file of the right length it would run as machine code, so a checksum is kept with each.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_DIGEST_BYTES = hashlib.sha256().digest_size


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(nogil=True, cache=True, **options)``, which works without a usable cache, too."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(function)
        try:
            dispatcher._cache = _Cache(dispatcher.py_func)
        except Exception:  # no folder can be written, or another version of numba keeps its cache otherwise
            pass  # the dispatcher keeps the empty cache that it was made with
        return dispatcher

    return decorate


class _CheckedFile(IndexDataCacheFile):
    """Machine code with its checksum before it."""

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(data)  # our own machine code, which is as trusted as a .pyc file


class _Cache(FunctionCache):
    """A function's cache whose faults cost time alone."""

    _cache_file: Any

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        plain = self._cache_file
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, plain._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # Saving reads the index first, so a damaged one must go.
            try:
                Path(self._cache_file._index_path).unlink()
            except OSError:
                self.disable()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:  # a full disk, say
            self.disable()

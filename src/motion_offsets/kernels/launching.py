"""What launching a Triton kernel takes: the right GPU, shapes of its blocks to choose from, and a word on determinism.

Under Triton's interpreter (``TRITON_INTERPRET=1``) the same kernels run on a CPU, slowly, which is how their logic is
tested where there is no GPU. (Only products of bfloat16 come out wrong there: the interpreter has none.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def tuned(configs: Sequence[triton.Config], key: Sequence[str], zeroed: Sequence[str] = ()) -> Callable[[Any], Any]:
    """Decorator: the fastest of a few block shapes, found on the first call of a kind; the first one if interpreted.

    Args:
        configs: what to try.
        key: arguments of the kernel for each of whose values the choice is made again.
        zeroed: arguments that the kernel adds to, which must be zeroed between the tries.
    """
    tried = list(configs[:1] if INTERPRETED else configs)
    return triton.autotune(configs=tried, key=list(key), reset_to_zero=list(zeroed) or None)


def alert_not_deterministic(what: str) -> None:
    """Do as PyTorch's own operators do under ``torch.use_deterministic_algorithms``: raise, or warn if so asked."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = (
        f"{what} adds up in no fixed order on a GPU and so is not deterministic; "
        "torch.use_deterministic_algorithms(True, warn_only=True) turns this error into a warning"
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=2)

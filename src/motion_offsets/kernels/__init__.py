"""Optional fast paths. Every one has a plain PyTorch twin with the same result, against which it is tested.

``MOTION_OFFSETS_KERNELS=plain`` switches all of them off.
"""

from __future__ import annotations

import importlib.util
import os


def use_kernels() -> bool:
    """Whether the CPU kernels may be used: numba is installed and ``MOTION_OFFSETS_KERNELS`` is not ``plain``."""
    return os.environ.get("MOTION_OFFSETS_KERNELS", "") != "plain" and importlib.util.find_spec("numba") is not None

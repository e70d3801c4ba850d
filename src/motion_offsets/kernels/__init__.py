"""Optional fast paths. Every one has a plain PyTorch twin with the same result, against which it is tested.

Numba serves tensors on a CPU, Triton those on a GPU. ``MOTION_OFFSETS_KERNELS=plain`` switches all of them off;
``MOTION_OFFSETS_KERNELS=triton`` sends tensors on a CPU, too, to the Triton kernels, which works under Triton's
interpreter alone (``TRITON_INTERPRET=1``) and is there to test them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version

TRITON_PIXELS = 1 << 30  # in one plane of a tensor: the Triton kernels count them in 32 bits


def use_kernels() -> bool:
    """Whether the CPU kernels may be used: numba is installed and ``MOTION_OFFSETS_KERNELS`` is not ``plain``."""
    return os.environ.get("MOTION_OFFSETS_KERNELS", "") != "plain" and importlib.util.find_spec("numba") is not None


@functools.cache
def cpu_kernels(name: str, check: str = "check") -> Any:
    """A module of numba kernels, once its own check has given the right values here; ``None`` where it cannot serve.

    Whatever keeps numba from working (a version that does not fit, no compiler for this CPU, no threads) costs speed
    and one warning, never the result.

    Args:
        name: of a module beside this one.
        check: function of the module that runs a tiny problem, and raises where the answer is wrong.
    """
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        module = importlib.import_module(f"{__name__}.{name}")
        with ThreadPoolExecutor(1) as fresh:  # where no mode of the caller's, fake tensors say, reaches
            fresh.submit(getattr(module, check)).result()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        warnings.warn(
            f"the fast kernels of {name} cannot be used ({type(error).__name__}: {reason}); going on without them, "
            "with the same results, slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return module


@torch.compiler.assume_constant_result
def cpu_serves(name: str, check: str = "check") -> bool:
    """Whether :func:`cpu_kernels` gives a module, and the environment lets it be used."""
    return use_kernels() and cpu_kernels(name, check) is not None


@torch.compiler.assume_constant_result
def triton_serves(device: str, single: bool) -> bool:
    """Whether the Triton kernels take tensors of this type of device.

    Args:
        device: ``tensor.device.type``.
        single: no tensor is in double precision, which the kernels do not have.
    """
    wish = os.environ.get("MOTION_OFFSETS_KERNELS", "")
    if wish == "plain" or not single:
        return False
    if device == "cpu":
        return wish == "triton" and os.environ.get("TRITON_INTERPRET") == "1" and _has_triton()
    return device == "cuda" and _has_triton() and _can_build()


@functools.cache
def _has_triton() -> bool:
    """Triton 3.3 or later, the oldest whose compiler is known to take the kernels."""
    if importlib.util.find_spec("triton") is None:
        return False
    import triton

    return Version(triton.__version__) >= Version("3.3")


@functools.cache
def _can_build() -> bool:
    """Triton needs a GPU of 2017 or later and, on Linux, a C compiler and Python's headers for its launchers."""
    if torch.version.hip is None and torch.cuda.get_device_capability() < (7, 0):
        return False
    if sys.platform != "linux":
        return True
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and (Path(sysconfig.get_config_var("INCLUDEPY")) / "Python.h").is_file()

"""Devices and precisions by name."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..errors import BadInputError

if TYPE_CHECKING:
    import torch


DTYPES = ("auto", "float32", "bfloat16", "float16")


def pick_device(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is an NVIDIA GPU where there is one, else the CPU.

    Apple's ``mps`` is not chosen by itself: it has no float64, in which an answer's consistency is summed up.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise BadInputError(f"`device` {name!r} cannot be used ({reason}); give auto, cpu or cuda") from None
    if device.type == "meta":
        raise BadInputError(f"`device` {name!r} cannot run a model; give auto, cpu or cuda")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """The autocast type of a name for a device; ``None`` is float32, without autocast.

    ``"auto"`` is bfloat16 where :func:`fast_dtype` says so.
    """
    import torch

    if name not in DTYPES:
        raise BadInputError(f"`dtype` {name!r} is not supported; give one of {', '.join(DTYPES)}")
    if name == "float16" and device.type == "cpu":
        raise BadInputError("`dtype` float16 is for GPUs; on a CPU give auto, float32 or bfloat16")
    chosen = fast_dtype(device) if name == "auto" else getattr(torch, name)
    return None if chosen == torch.float32 else chosen


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a device with instructions for it, else float32.

    These are CUDA GPUs from Ampere on, and CPUs with AMX or AVX512-BF16: measured on two cores of an AMD EPYC with
    AVX512-BF16, the networks take two thirds of the time, and the sharp frame stays within 60 dB of float32's.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bfloat16() else torch.float32


@functools.cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; without them such products take longer than in single precision."""
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))

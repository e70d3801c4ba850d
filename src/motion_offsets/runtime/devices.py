"""Devices and precisions by name."""

from __future__ import annotations

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
        raise BadInputError(f"`device` {name!r} computes nothing; give auto, cpu or cuda")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """The autocast type of a name for a device; ``None`` is float32, without autocast.

    ``"auto"`` is bfloat16 on a GPU that has it and on a CPU with a matrix unit for it (AMX). A CPU that has bfloat16
    as vector instructions only (AVX512-BF16) is no faster for it, measured on these networks, and stays at float32.
    """
    import torch

    if name not in DTYPES:
        raise BadInputError(f"`dtype` {name!r} is not offered; give one of {', '.join(DTYPES)}")
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
        return torch.bfloat16 if device.type == "cpu" and _has_bfloat16_matrix_unit() else None
    if name == "float16" and device.type == "cpu":
        raise BadInputError("`dtype` float16 is for GPUs; on a CPU give auto, float32 or bfloat16")
    return None if name == "float32" else getattr(torch, name)


def _has_bfloat16_matrix_unit() -> bool:
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CUDA GPU that has it and on a CPU with a matrix unit for it (AMX), else float32.

    A CPU with bfloat16 as vector instructions only (AVX512-BF16) is no faster for it on these networks.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _has_bfloat16_matrix_unit() else torch.float32

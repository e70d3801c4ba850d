"""``mixed_precision: auto``: the precision in which this machine takes a training step faster, by measurement."""

from __future__ import annotations

import copy
import sys
import time
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor
from tqdm.auto import tqdm

from .stages import Stage

MEASURED_STEPS = 3
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16}


def faster_precision(stage: Stage, batch_size: int, crop_size: int) -> str:
    """``"no"`` (float32) or ``"bf16"``, whichever takes less time per step; all processes get the same answer.

    The main process times the model's forward and backward pass over random crops, once to warm up and then
    :data:`MEASURED_STEPS` times, of which the fastest counts. The model is a copy; random states stay as they were.

    Args:
        stage: whose model is trained; its outputs are summed up for the backward pass.
        batch_size: B.
        crop_size: H and W, pixels.
    """
    state = PartialState()
    chosen = [""]
    if state.is_main_process:
        devices = [state.device] if state.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            model = copy.deepcopy(stage.model).to(state.device, memory_format=torch.channels_last)
            crops = torch.rand(batch_size, 3, crop_size, crop_size, device=state.device)
            crops = crops.contiguous(memory_format=torch.channels_last)
            inputs = stage.model_inputs(crops)
            seconds = {name: _seconds(model, inputs, dtype) for name, dtype in PRECISIONS.items()}
        chosen = [min(seconds, key=seconds.__getitem__)]
        told = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        told = f"mixed_precision auto: {chosen[0]} (a step of {batch_size} crops: {told})"
        tqdm.write(told, file=sys.stderr)
    return broadcast_object_list(chosen)[0]


def _seconds(model: Any, inputs: dict[str, Tensor], dtype: torch.dtype) -> float:
    found, device = [], inputs["pixel_values"].device
    for _ in range(1 + MEASURED_STEPS):
        _finish(device)
        started = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output = model(**inputs)
        _total(output).backward()
        _finish(device)
        found.append(time.perf_counter() - started)
        model.zero_grad()
    return min(found[1:])


def _total(output: object) -> Tensor:
    """The sum of the output's values that have gradients."""
    values = output.values() if isinstance(output, dict) else [output]  # a ModelOutput is a dictionary
    tensors = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    sums = [tensor.float().sum() for tensor in tensors if isinstance(tensor, Tensor) and tensor.requires_grad]
    return torch.stack(sums).sum()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

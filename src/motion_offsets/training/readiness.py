"""What a run needs of its environment, checked at the start rather than after a day."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import torch
from huggingface_hub import HfApi
from torch import nn

from ..errors import BadInputError
from ..io.atomic import check_output_folder
from ..models.hub_errors import check_login, hub_errors
from .options import TrainingOptions

# A tracker's name among accelerate's, and the packages that any one of makes it work.
TRACKER_PACKAGES = {"trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
CHECKPOINTS_ON_DISK = 3  # two that are kept, one that is being written


def check_surroundings(options: TrainingOptions) -> None:
    """Refuse an output that cannot be written, trackers and devices that are not there, a Hub without a token.

    Raises:
        BadInputError: names the field, what is wrong and what would be right.
    """
    check_output_folder(Path(options.output_dir))
    for name in options.report_to:
        packages = TRACKER_PACKAGES[name]
        if not any(importlib.util.find_spec(package) for package in packages):
            raise BadInputError(f"report_to names {name}, which is not installed: pip install {packages[-1]}")
    told = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    on_cpu = told or not torch.cuda.is_available()
    if options.mixed_precision == "fp16" and on_cpu:
        raise BadInputError("mixed_precision is fp16, which is for GPUs; on a CPU give no or bf16")
    if options.compile and on_cpu:
        # As of PyTorch 2.13 the backward of replication padding has other strides on a CPU than the compiler expects.
        raise BadInputError("compile is true, which is for GPUs: on a CPU PyTorch cannot compile the backward")
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" and options.ema_decay:
        raise BadInputError(
            f"ema_decay is {options.ema_decay}, and no average is kept of weights that FSDP cuts into parts; set it "
            "to 0, or launch with train/launch/8gpu-ddp.yaml"
        )
    if options.push_to_hub:
        check_login(options.push_to_hub, f"push_to_hub {options.push_to_hub}")


def make_repository(repo: str) -> None:
    """Make the repository on the Hub where there is none: whoever may do that may also send the model at the end.

    Raises:
        BadInputError: the Hub refuses.
    """
    with hub_errors(f"push_to_hub {repo}"):
        HfApi().create_repo(repo, exist_ok=True)


def room_wanted(model: nn.Module, options: TrainingOptions) -> int:
    """Bytes that the run's checkpoints and models take: weights and Adam's two averages, and ours, in float32."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    copies = 3 + bool(options.ema_decay)
    return 4 * weights * (CHECKPOINTS_ON_DISK * copies + 1)  # model/ and best/ are half as large each


def check_room(folder: str | os.PathLike[str], wanted: int) -> None:
    """Refuse a disk with less than ``wanted`` bytes to spare.

    Raises:
        BadInputError: with both numbers.
    """
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < wanted:
        raise BadInputError(
            f"{folder}: its disk has {free / 1e6:.0f} MB to spare and the checkpoints take {wanted / 1e6:.0f} MB; "
            "make room, or give another output_dir"
        )

"""What a run leaves: whole checkpoints, the trained model with its card, pictures. Written beside, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError
from options import TrainingOptions
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from motion_offsets.errors import BadInputError

KEPT_CHECKPOINTS = 2
PROGRESS_FILE = "progress.json"


def checkpoints(output: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted((output / "checkpoints").glob("step-*"))


def rotate(output: Path) -> None:
    """Delete all but the last checkpoints."""
    for old in checkpoints(output)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


def described(model: PreTrainedModel) -> dict[str, Any]:
    """What makes two models the same kind, as plain JSON: their configs, without what only says who wrote them."""

    def plain(fields: dict[str, Any]) -> dict[str, Any]:
        written = {name: value for name, value in fields.items() if name not in ("transformers_version", "dtype")}
        return {name: plain(value) if isinstance(value, dict) else value for name, value in written.items()}

    return plain(json.loads(model.config.to_json_string(use_diff=False)))


def check_same_run(folder: Path, earlier: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on from a checkpoint of another model or another number of crops a step.

    Args:
        folder: the checkpoint.
        earlier: what its ``progress.json`` says, ``stage``, ``crops_per_step`` and ``model``.
        now: the same of the run that wants to go on.

    Raises:
        BadInputError: names the first field that differs.
    """
    for name, found, wanted in _differences(earlier, now):
        raise BadInputError(
            f"{folder}: is of a run with {name} {found!r}, and this one has {wanted!r}; give the options and the "
            "number of processes it was started with, or another output_dir"
        )


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*earlier, *now}):
        found, wanted = earlier.get(name), now.get(name)
        if isinstance(found, dict) and isinstance(wanted, dict):
            yield from ((f"{name} {inner}", *pair) for inner, *pair in _differences(found, wanted))
        elif found != wanted:
            yield name, found, wanted


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder beside ``final`` that takes its place once everything is written into it."""
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)


def write_model(model: PreTrainedModel, folder: Path, options: TrainingOptions, record: dict[str, Any]) -> None:
    """Write a model in float16 (which it is changed to), its ``training.json`` and its card.

    Args:
        model: with the weights to write.
        folder: replaced as a whole.
        options: of the run.
        record: ``steps``, ``seconds`` and ``validation``, the last figures.
    """
    record = {"options": options.record(), **record}
    earlier = Path(options.start_from or "") / "training.json"
    if options.start_from and earlier.is_file():
        record["started_from"] = json.loads(earlier.read_text())
    with whole_folder(folder) as partial:
        # Contiguous again: safetensors would refuse the strides of channels_last.
        model.to(torch.float16).to(memory_format=torch.contiguous_format).save_pretrained(partial)
        (partial / "training.json").write_text(json.dumps(record, indent=2) + "\n")
        (partial / "README.md").write_text(str(_card(model, options, record)), encoding="utf-8")


def _card(model: PreTrainedModel, options: TrainingOptions, record: dict[str, Any]) -> ModelCard:
    data = ModelCardData(
        library_name="motion-offsets",
        pipeline_tag="image-to-image",
        tags=["motion-blur", "exposure-trajectory", model.config.model_type],
    )
    name = (options.push_to_hub or options.output_dir).rstrip("/").split("/")[-1]
    place = options.push_to_hub or "./model"
    weights = sum(parameter.numel() for parameter in model.parameters())
    shown = {**options.record(), "steps": record["steps"]}
    photos = ", ".join([*shown["images"], *shown["pairs"]])
    figures = "".join(f"| `{figure}` | {value:.4g} |\n" for figure, value in record["validation"].items())
    return ModelCard(
        f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n"
        f"{type(model).__name__} of motion-offsets, {weights:,} "
        f"parameters, float16, trained by `train/train.py` for {record['steps']:,} steps on {photos}. `training.json` "
        "holds every option of the run.\n\n"
        f"```python\nfrom motion_offsets import {type(model).__name__}\n\n"
        f'model = {type(model).__name__}.from_pretrained("{place}").eval()\n```\n\n'
        "## Figures\n\n"
        + (
            f"On validation data during training:\n\n| figure | value |\n| --- | --- |\n{figures}"
            if figures
            else "None were measured: the run had no validation data.\n"
        )
        + "\nOne photo cannot tell a motion from its reversal in time. The weights are no freer than the photos they "
        "were trained on.\n"
    )


def push(folder: Path, repo: str) -> str:
    """Send a model's folder to the Hub and return its address.

    Raises:
        BadInputError: the upload failed; says where the model is and how to send it.
    """
    try:
        address = HfApi().create_repo(repo, exist_ok=True)
        HfApi().upload_folder(repo_id=repo, folder_path=folder, commit_message="Trained by motion-offsets")
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"push_to_hub {repo}: the upload failed ({reason}); the model is whole: hf upload {repo} {folder}"
        ) from error
    return str(address)


def row_of_pictures(pictures: dict[str, Tensor]) -> np.ndarray:
    """Pictures ``(3, H, W)`` in [0, 1] side by side, ``(H, W, 3)`` uint8."""
    levels = torch.cat(list(pictures.values()), dim=2).clamp(0, 1) * 255
    return levels.round().byte().permute(1, 2, 0).numpy()


def write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    Image.fromarray(pixels).save(partial)
    os.replace(partial, path)

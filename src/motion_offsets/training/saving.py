"""What a run leaves: checkpoints of one and the same run, its log, the trained model with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi, ModelCard, ModelCardData
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import BadInputError
from ..io.atomic import whole_checkpoint, whole_file
from ..models.hub_errors import hub_errors
from ..publishing.cards import eval_results
from .options import TrainingOptions

KEPT_CHECKPOINTS = 2
PROGRESS_FILE = "progress.json"
METRICS_FILE = "metrics.jsonl"
# What a config says of who wrote it with what; some of it is there only once it has been written.
NOT_OF_THE_MODEL = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"}


def checkpoints(output: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted((output / "checkpoints").glob("step-*"))


def rotate(output: Path) -> None:
    """Delete all but the last checkpoints, and what killed runs left of others."""
    for old in (*checkpoints(output)[:-KEPT_CHECKPOINTS], *(output / "checkpoints").glob(".partial-*")):
        shutil.rmtree(old)


def forget_after(log: Path, step: int) -> None:
    """Leave out of a log of JSON lines what came after a step, which a resumed run is going to tell again."""
    if not log.is_file():
        return
    told = log.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in told if line.endswith("\n") and json.loads(line)["step"] <= step]
    with whole_file(log) as partial:
        partial.write_text("".join(kept), encoding="utf-8")


def config_record(model: PreTrainedModel) -> dict[str, Any]:
    """A model's config as plain JSON."""
    return json.loads(model.config.to_json_string(use_diff=False))


def check_same_run(folder: Path, earlier: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on from a checkpoint of another model or another number of crops per step.

    Args:
        folder: the checkpoint.
        earlier: what its ``progress.json`` says, ``stage``, ``crops_per_step`` and ``model``.
        now: the same of the run that continues.

    Raises:
        BadInputError: names the first field that differs.
    """
    for name, found, wanted in _differences(earlier, now):
        raise BadInputError(
            f"{folder}: is of a run with {name} {found!r}, and this one has {wanted!r}; give the options and the "
            "number of processes it was started with, or another output_dir"
        )


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*earlier, *now} - NOT_OF_THE_MODEL):
        found, wanted = earlier.get(name), now.get(name)
        if isinstance(found, dict) and isinstance(wanted, dict):
            yield from ((f"{name} {inner}", *pair) for inner, *pair in _differences(found, wanted))
        elif found != wanted:
            yield name, found, wanted


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
    with whole_checkpoint(folder) as partial:
        # Contiguous again: safetensors would refuse the strides of channels_last.
        model.to(torch.float16).to(memory_format=torch.contiguous_format).save_pretrained(partial)
        (partial / "training.json").write_text(json.dumps(record, indent=2) + "\n")
        (partial / "README.md").write_text(str(_card(model, options, record)), encoding="utf-8")


def _card(model: PreTrainedModel, options: TrainingOptions, record: dict[str, Any]) -> ModelCard:
    name = (options.push_to_hub or options.output_dir).rstrip("/").split("/")[-1]
    data = ModelCardData(
        model_name=name,
        eval_results=eval_results({"benchmark": "validation while training", **record["validation"]}) or None,
        library_name="motion-offsets",
        pipeline_tag="image-to-image",
        tags=["motion-blur", "exposure-trajectory", model.config.model_type],
    )
    source = options.push_to_hub or "./model"
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
        f'model = {type(model).__name__}.from_pretrained("{source}").eval()\n```\n\n'
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
        with hub_errors(f"push_to_hub {repo}"):
            address = HfApi().create_repo(repo, exist_ok=True)
            HfApi().upload_folder(repo_id=repo, folder_path=folder, commit_message="Trained by motion-offsets")
    except BadInputError as error:
        raise BadInputError(f"{error}. The model itself is complete: hf upload {repo} {folder}") from error
    return str(address)


def row_of_pictures(pictures: dict[str, Tensor]) -> np.ndarray:
    """Pictures ``(3, H, W)`` in [0, 1] side by side, ``(H, W, 3)`` uint8."""
    levels = torch.cat(list(pictures.values()), dim=2).clamp(0, 1) * 255
    return levels.round().byte().permute(1, 2, 0).numpy()

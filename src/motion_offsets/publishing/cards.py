"""Model cards: the text of ``model_cards/``, its figures and ``model-index`` from what ``evaluate`` measured."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..errors import BadInputError

# Parts of a figure's name that say what kind of figure it is, and its unit.
METRICS = {"psnr": "dB", "ssim": "", "mse": "square pixels", "error": "pixels", "lpips": ""}
COUNTS = {"images": "photos", "pairs": "pairs"}
EVALUATIONS = "evaluation*.json"
TRAINING = "training.json"

RUNS = ("<!-- runs -->\n", "<!-- /runs -->\n")

_ROW = re.compile(r"^(\| `(\w+)`[^|]*\| )(-?[0-9.]+)(?= )", re.MULTILINE)


def model_card(
    template: Path, name: str, evaluations: Sequence[dict[str, Any]], training: dict[str, Any] | None = None
) -> ModelCard:
    """The card of a model as it is published.

    Args:
        template: a card of ``model_cards/``. A table row that begins with the name of a figure gets its value from
            the evaluations, to the digits that the template shows.
        name: what the model is called on the Hub.
        evaluations: what ``evaluate`` measured, one dictionary per benchmark.
        training: what ``train.py`` recorded; its runs become the table between the two comments of :data:`RUNS`.

    Raises:
        BadInputError: no such card, a head that the Hub would not accept, no measured figures, or a row without one.
    """
    if not template.is_file():
        raise BadInputError(f"{template}: no such card; write one, as every model is published with its card")
    results = [result for evaluation in evaluations for result in eval_results(evaluation)]
    if not results:
        raise BadInputError(f"{name}: has no results for its card; measure it with evaluate, into its evaluation.json")
    card = load_card(template, ModelCard)
    text = fill_runs(fill_figures(card.text, evaluations, str(template)), training)
    data = ModelCardData(**{**card.data.to_dict(), "model_name": name, "eval_results": results})
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{text}", ignore_metadata_errors=False)


def load_card(file: Path, kind: Any) -> Any:
    """A card by ``huggingface_hub``'s own parsing.

    Args:
        kind: ``ModelCard``, ``DatasetCard`` or ``SpaceCard``.
    """
    try:
        text = file.read_text(encoding="utf-8")
        card = kind(text, ignore_metadata_errors=False)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInputError(
            f"{file}: is not a card ({' '.join(str(error).split())[:120]}); correct its YAML head"
        ) from None
    if not card.data.to_dict():
        raise BadInputError(f"{file}: has no YAML head; begin it with one between two lines of ---")
    return card


def eval_results(evaluation: dict[str, Any]) -> list[EvalResult]:
    """The figures of one evaluation, as the Hub's ``model-index`` lists them."""
    benchmark = str(evaluation.get("benchmark", ""))
    counts = [f"{evaluation[name]} {word}" for name, word in COUNTS.items() if name in evaluation]
    results = []
    for figure, value in evaluation.items():
        kind = next((part for part in figure.split("_") if part in METRICS), None)
        if kind is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        unit = f" ({METRICS[kind]})" if METRICS[kind] else ""
        results.append(
            EvalResult(
                task_type="image-to-image",
                dataset_type=benchmark,
                dataset_name=", ".join([benchmark, *counts]),
                metric_type=kind,
                metric_name=figure + unit,
                metric_value=value,
            )
        )
    return results


def fill_figures(text: str, evaluations: Sequence[dict[str, Any]], where: str) -> str:
    """Write the measured figures into the table rows that begin with their names.

    A row belongs to the benchmark that the text before it named last.
    """

    def measured(match: re.Match[str]) -> str:
        start, figure, shown = match.groups()
        before = text[: match.start()]
        by_mention = sorted(evaluations, key=lambda each: before.rfind(str(each.get("benchmark"))), reverse=True)
        for evaluation in by_mention[:1] if _mentioned(before, by_mention) else by_mention:
            value = evaluation.get(figure)
            if isinstance(value, (int, float)):
                return f"{start}{value:.{len(shown.partition('.')[2])}f}"
        raise BadInputError(f"{where}: shows {figure!r}, which was not measured; leave the row out or measure it")

    return _ROW.sub(measured, text)


def _mentioned(text: str, evaluations: Sequence[dict[str, Any]]) -> bool:
    return any(str(evaluation.get("benchmark")) in text for evaluation in evaluations)


def fill_runs(text: str, training: dict[str, Any] | None) -> str:
    """Write the training runs, first to last, between the two comments of :data:`RUNS`; without a record, nothing."""
    before, start, rest = text.partition(RUNS[0])
    _, end, after = rest.partition(RUNS[1])
    if training is None or not end:
        return text
    runs: list[dict[str, Any]] = []
    while training is not None:
        runs.insert(0, training)
        training = training.get("started_from")
    rows = ["| run | steps | crops per step | learning rate | seed | minutes |", "| --- " * 6 + "|"]
    for number, run in enumerate(runs, 1):
        options = run["options"]
        crops = f"{options['batch_size']} of {options['crops']['crop_size']} px"
        figures = (number, f"{run['steps']:,}", crops, f"{options['learning_rate']:g}", options["seed"])
        rows.append("| " + " | ".join(map(str, (*figures, round(run["seconds"] / 60)))) + " |")
    return before + start + "\n".join(rows) + "\n" + end + after


def read_training(folder: Path) -> dict[str, Any] | None:
    """The ``training.json`` of a model's folder, if there is one."""
    file = folder / TRAINING
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """Every ``evaluation*.json`` of a model's folder."""
    found = []
    for file in sorted(folder.glob(EVALUATIONS)):
        try:
            evaluation = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            evaluation = None
        if not isinstance(evaluation, dict):
            raise BadInputError(f"{file}: holds no figures; write it with `motion-offsets evaluate`")
        found.append(evaluation)
    return found

"""From a checkout to the folders that are published: models with code and card, data sets, the Space.

What is published is what lies there: every folder of ``hub/models`` with its card in ``model_cards``, every folder of
``hub/datasets``, and ``hub/space`` together with ``app.py``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, SpaceCard

from ..errors import BadInputError
from ..models.hub import pipeline_components
from .cards import EVALUATIONS, TRAINING, load_card, model_card, read_evaluations, read_training
from .repositories import Publication

WEIGHTS = "model.safetensors"
CARD = "README.md"
PICTURE = "example.jpg"
SPACE = "motion-offsets"


def available(root: Path) -> dict[str, str]:
    """What a checkout holds: name to repository type."""
    found: dict[str, str] = {}
    for kind, folder in (("model", "models"), ("dataset", "datasets")):
        here = root / "hub" / folder
        found |= {path.name: kind for path in sorted(here.iterdir()) if path.is_dir()} if here.is_dir() else {}
    if (root / "hub" / "space").is_dir() and (root / "app.py").is_file():
        found[SPACE] = "space"
    return found


def stage(root: Path, target: Path, owner: str, names: Sequence[str] = ()) -> list[Publication]:
    """Lay out every repository in a folder of its own under ``target``.

    Args:
        root: the checkout.
        target: an empty folder.
        owner: user or organisation; a card's ``OWNER/`` becomes it.
        names: only these; by default all that :func:`available` finds.

    Raises:
        BadInputError: a name that is not there, a card that is missing, invalid or without results, results of other
            weights, or a model that cannot be loaded.
    """
    found = available(root)
    for name in names:
        if name not in found:
            raise BadInputError(f"{name}: is not in {root / 'hub'}; give one of {', '.join(found) or 'nothing there'}")
    staged = []
    for name in names or found:
        folder = target / name
        folder.mkdir()
        {"model": _stage_model, "dataset": _stage_dataset, "space": _stage_space}[found[name]](root, name, folder)
        readme = folder / CARD
        readme.write_text(readme.read_text(encoding="utf-8").replace("OWNER/", f"{owner}/"), encoding="utf-8")
        staged.append(Publication(name, found[name], folder))
    return staged


def _stage_model(root: Path, name: str, folder: Path) -> None:
    source = root / "hub" / "models" / name
    foreign = [path.name for path in source.iterdir() if path.suffix not in (".json", ".safetensors")]
    if foreign:
        raise BadInputError(f"{source / foreign[0]}: does not belong there; give only a model .json and .safetensors")
    parts = pipeline_components(source)
    # A pipeline was measured with its deblurrer.
    measured = source.with_name(parts["deblurrer"]) if "deblurrer" in parts else source
    evaluations = read_evaluations(measured)
    card = model_card(root / "model_cards" / f"{name}.md", name, evaluations, read_training(source))
    weights = {part: source.with_name(plain) for part, plain in parts.items()} or {"": source}
    _check_measured(name, evaluations, [_sha256(place / WEIGHTS) for place in weights.values()])
    _save_with_code(source, folder)
    for part, place in weights.items():
        # The very bytes that were measured.
        shutil.copyfile(place / WEIGHTS, folder / part / WEIGHTS)
    for file in [*measured.glob(EVALUATIONS), *source.glob(TRAINING)]:
        shutil.copyfile(file, folder / file.name)
    for picture in (root / "model_cards").glob(f"{name}.jpg"):
        shutil.copyfile(picture, folder / PICTURE)
    card.save(folder / CARD)


def _save_with_code(source: Path, folder: Path) -> None:
    from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor
    from ..models.registry import model_class
    from ..pipelines.blur_to_video import BlurToVideoPipeline

    if (source / "model_index.json").is_file():
        BlurToVideoPipeline.from_pretrained(source, torch_dtype="auto").save_pretrained(folder)
        return
    model_class(source).from_pretrained(source, dtype="auto").save_pretrained(folder)
    MotionOffsetsImageProcessor().save_pretrained(folder)


def _check_measured(name: str, evaluations: Sequence[dict[str, Any]], weights: Sequence[str]) -> None:
    for evaluation in evaluations:
        measured = set((evaluation.get("checkpoints") or {}).values())
        if not measured.issuperset(weights):
            raise BadInputError(f"{name}: its results are of other weights; run evaluate again on the ones to publish")


def _stage_dataset(root: Path, name: str, folder: Path) -> None:
    source = root / "hub" / "datasets" / name
    load_card(source / CARD, DatasetCard)
    shutil.copytree(source, folder, dirs_exist_ok=True)


def _stage_space(root: Path, name: str, folder: Path) -> None:
    """The Space carries the package with models and examples, as the wheel does, so that it needs only PyPI."""
    source = root / "hub" / "space"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    card = load_card(folder / CARD, SpaceCard)
    try:
        card.data.sdk_version = version("gradio")
    except PackageNotFoundError:
        raise BadInputError("the Space is published for the gradio installed here, and none is; install it") from None
    card.save(folder / CARD)
    shutil.copyfile(root / "app.py", folder / "app.py")
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "src" / "motion_offsets", folder / "motion_offsets", ignore=without_caches)
    shutil.copytree(root / "hub" / "models", folder / "motion_offsets" / "_models")
    without_sources = shutil.ignore_patterns("*.py", "*.jpg", "*-sharp.png")
    shutil.copytree(root / "examples", folder / "motion_offsets" / "_examples", ignore=without_sources)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

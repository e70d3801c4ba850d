"""The weights that travel with the package: loadable without a network, and what is said of them was measured."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from motion_offsets import BlurToVideoPipeline, EtrajModel, MaDmphnForImageDeblurring
from motion_offsets.hub import bundled_models

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "hub" / "models"
CLASSES = {"etraj-quadratic": EtrajModel, "ma-dmphn": MaDmphnForImageDeblurring}


def measured(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / "evaluation.json").read_text())


def sha256(name: str) -> str:
    return hashlib.sha256((MODELS / name / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever opens a connection fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", CLASSES)
def test_models_load_by_plain_name(name: str, offline: None) -> None:
    model = CLASSES[name].from_pretrained(name)
    assert model.dtype == torch.float32
    stored = load_file(MODELS / name / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert stored.keys() == model.state_dict().keys()


def test_the_pipeline_is_composed_of_the_two(offline: None) -> None:
    assert not list((MODELS / "blur-to-video").glob("*.safetensors"))
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.estimators_agree
    with Image.open(ROOT / "examples" / "clock.png") as photo:
        part = photo.convert("RGB").crop((100, 100, 260, 228))
    result = pipe(part, num_frames=3)
    assert [frame.size for frame in result.frames[0]] == [(160, 128)] * 3
    assert result.sharp[0].tobytes() == result.frames[0][1].tobytes()


def test_tiles_of_the_deblurrer_show_no_seams() -> None:
    """A tile is a whole image to the network: tiled and untiled agree to 40 dB everywhere, seams included."""
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    with Image.open(ROOT / "examples" / "clock.png") as photo:
        image = pipe.preprocess(photo.convert("RGB").resize((1152, 896), Image.Resampling.BICUBIC))
    tiles: list[int] = []
    points = pipe.estimate(image)
    tiled = pipe.deblur(image, points, max_memory=5.5e8, on_tile=lambda done, total: tiles.append(total))
    assert len(tiles) > 1
    error = (tiled - pipe.deblur(image, points)).square().mean(1, keepdim=True)
    worst = torch.nn.functional.avg_pool2d(error, 32).max()
    assert -10 * torch.log10(error.mean()) > 40
    assert -10 * torch.log10(worst) > 40


@pytest.mark.parametrize("name", CLASSES)
def test_what_trained_them_is_beside_them(name: str) -> None:
    record = json.loads((MODELS / name / "training.json").read_text())
    assert record["steps"] == record["options"]["steps"]
    assert record["seconds"] > 0
    assert [folder.split("/")[-1] for folder in record["options"]["images"]] == ["train", "urban100"]
    assert isinstance(record["options"]["seed"], int)


def test_the_figures_are_of_these_weights() -> None:
    estimator, deblurrer = (sha256(name) for name in CLASSES)
    assert measured("etraj-quadratic")["checkpoints"] == {"estimator": estimator}
    assert measured("ma-dmphn")["checkpoints"] == {"estimator": estimator, "deblurrer": deblurrer}
    assert all((measured(name)["images"], measured(name)["pairs"]) == (100, 300) for name in CLASSES)


@pytest.mark.parametrize("document", ["README.md", "model_cards/etraj-quadratic.md", "model_cards/ma-dmphn.md"])
def test_documents_print_the_measured_figures(document: str) -> None:
    """A table row that begins with a name of ``evaluate``'s output holds that figure, to the digits it shows."""
    figures = measured("ma-dmphn")
    rows = re.findall(r"^\| `(\w+)`[^|]*\| ([0-9.]+) ", (ROOT / document).read_text(), re.MULTILINE)
    assert rows
    for name, shown in rows:
        digits = len(shown.partition(".")[2])
        assert shown == f"{figures[name]:.{digits}f}", name


def test_nothing_else_is_bundled() -> None:
    assert set(bundled_models()) == {*CLASSES, "blur-to-video"}

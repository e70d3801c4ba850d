"""The weights that travel with the package: loadable without a network, and what is said of them was measured."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest
import torch
from huggingface_hub import SpaceCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image
from safetensors.torch import load_file

from motion_offsets import BlurToVideoPipeline, EtrajModel, MaDmphnForImageDeblurring
from motion_offsets.models.hub import bundled_models, pipeline_components
from motion_offsets.publishing.cards import fill_figures, fill_runs, model_card, read_evaluations, read_training

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "hub" / "models"
CARDS = ROOT / "model_cards"
KINDS = {cls.config_class.model_type: cls for cls in (EtrajModel, MaDmphnForImageDeblurring)}
# Whatever lies there.
CLASSES = {
    file.parent.name: KINDS[json.loads(file.read_text())["model_type"]]
    for file in sorted(MODELS.glob("*/config.json"))
}


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
    with Image.open(ROOT / "examples" / "cat.png") as photo:
        part = photo.convert("RGB").crop((100, 100, 260, 228))
    result = pipe(part, num_frames=3)
    assert [frame.size for frame in result.frames[0]] == [(160, 128)] * 3
    assert result.sharp[0].tobytes() == result.frames[0][1].tobytes()


def test_tiles_of_the_deblurrer_show_no_seams() -> None:
    """A tile is a whole image to the network: tiled and untiled agree to 40 dB everywhere, seams included."""
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    with Image.open(ROOT / "examples" / "cat.png") as photo:
        image = pipe.preprocess(photo.convert("RGB").resize((768, 576), Image.Resampling.BICUBIC))
    tiles: list[int] = []
    points = pipe.estimate(image)
    tiled = pipe.deblur(image, points, max_memory=3.7e8, on_tile=lambda done, total: tiles.append(total))
    assert len(tiles) > 1
    error = (tiled - pipe.deblur(image, points)).square().mean(1, keepdim=True)
    worst = torch.nn.functional.avg_pool2d(error, 32).max()
    assert -10 * torch.log10(error.mean()) > 40
    assert -10 * torch.log10(worst) > 40


def test_tiles_of_the_deconvolution_show_no_seams() -> None:
    """Its steps carry a difference further than a tile's margin, but next to nothing of it."""
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    with Image.open(ROOT / "examples" / "cat.png") as photo:
        image = pipe.preprocess(photo.convert("RGB").resize((640, 512), Image.Resampling.BICUBIC))
    points, tiles = pipe.estimate(image), list[int]()
    tiled = pipe.deconvolve(image, points, max_memory=1.2e8, on_tile=lambda done, total: tiles.append(total), steps=30)
    assert len(tiles) > 1
    error = (tiled - pipe.deconvolve(image, points, steps=30)).square().mean(1, keepdim=True)
    worst = torch.nn.functional.avg_pool2d(error, 16).max()
    assert -10 * torch.log10(worst) > 50


@pytest.mark.parametrize("name", CLASSES)
def test_what_trained_them_is_beside_them(name: str) -> None:
    record = json.loads((MODELS / name / "training.json").read_text())
    assert record["steps"] == record["options"]["steps"]
    assert record["seconds"] > 0
    images = [folder.split("/")[-1] for folder in record["options"]["images"]]
    assert images[:2] == ["train", "urban100"]
    assert set(images[2:]) <= {"kodak24"}
    assert isinstance(record["options"]["seed"], int)


@pytest.mark.parametrize("name", CLASSES)
def test_the_figures_are_of_these_weights(name: str) -> None:
    evaluations = read_evaluations(MODELS / name)
    assert evaluations
    assert all(sha256(name) in evaluation["checkpoints"].values() for evaluation in evaluations)


@pytest.mark.parametrize("name", bundled_models())
def test_cards_print_what_was_measured_and_how_it_was_trained(name: str) -> None:
    """As published, so that whoever reads the checkout sees the same; every card is valid and complete."""
    parts = pipeline_components(MODELS / name)
    evaluations = read_evaluations(MODELS / parts.get("deblurrer", name))
    text = (CARDS / f"{name}.md").read_text()
    assert fill_runs(fill_figures(text, evaluations, name), read_training(MODELS / name)) == text
    card = model_card(CARDS / f"{name}.md", name, evaluations, read_training(MODELS / name))
    listed = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert {result.metric_type for result in listed[1]} >= {"psnr", "ssim"}
    assert card.data.license
    assert card.data.pipeline_tag
    for part in ("from_pretrained", "motion-offsets ", "## Figures", "## Limits", "time", "research", "@article"):
        assert part in card.text, part
    assert (CARDS / f"{name}.jpg").is_file()


def test_every_card_is_of_a_bundled_model_or_of_one_to_convert() -> None:
    assert {card.stem for card in CARDS.glob("*.md")} == {
        *bundled_models(),
        "maxim-deblurring",
        "dmphn-1-2-4",
    }  # the last two are converted, not bundled


def test_the_space_has_its_head() -> None:
    data = SpaceCard.load(ROOT / "hub" / "space" / "README.md").data
    assert (data.sdk, data.app_file) == ("gradio", "app.py")
    assert len(data.short_description) <= 60

"""Two processes, started by ``accelerate launch``, take the same steps as one that sees all their crops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from launching import finished, logged, run_here, train
from PIL import Image, ImageDraw
from safetensors.torch import load_file

pytestmark = pytest.mark.usefixtures("_signals")
STEPS = 3


@pytest.fixture
def mixture(photos: Path, tmp_path: Path) -> list[object]:
    """Everything that differs from crop to crop: known flow, occlusions, linear light, pairs of unknown motion."""
    (tmp_path / "cutouts").mkdir()
    with Image.open(photos / "coffee.png") as image:
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).ellipse((60, 50, 190, 180), fill=255)
        image.putalpha(mask)
        image.save(tmp_path / "cutouts" / "cup.png")
    arguments: list[object] = ["--images", photos, "--objects", tmp_path / "cutouts", "--dynamic_share", "0.4"]
    arguments += [
        "--crops",
        "{crop_size: 48, margin: 8}",
        "--steps",
        STEPS,
        "--log_every",
        1,
        "--learning_rate",
        "1e-3",
    ]
    arguments += ["--model", "{base_channels: 4, num_samples: 5, ssim_weight: 0.0}", "--max_gradient_norm", "1"]
    return [
        *arguments,
        "--learning_rate",
        "1e-3",
        "--flow_weight",
        "0.02",
        "--checkpoint_every",
        STEPS,
        "--ema_decay",
        "0.9",
    ]


def test_two_processes_equal_one_with_twice_the_batch(
    mixture: list[object], photos: Path, pairs: Path, tmp_path: Path
) -> None:
    mixture += ["--pairs", pairs, "--pairs_share", "0.3", "--validation_images", photos, "--validation_count", "1"]
    run_here(*mixture, "--batch_size", "4", "--output_dir", tmp_path / "one")
    finished(*mixture, "--batch_size", "2", "--output_dir", tmp_path / "two", processes=2)
    last = f"checkpoints/step-{STEPS:07d}"
    one, two = (load_file(tmp_path / run / last / "model.safetensors") for run in ("one", "two"))
    for name, weight in two.items():
        torch.testing.assert_close(weight, one[name], rtol=1e-5, atol=1e-5)
    for here, there in zip(logged(tmp_path / "one"), logged(tmp_path / "two"), strict=True):
        assert there["step"] == here["step"]
        assert there.get("loss", 0.0) == pytest.approx(here.get("loss", 0.0), rel=1e-4)
    assert there["validation_reblur_psnr"] == pytest.approx(here["validation_reblur_psnr"], abs=1e-3)
    kind = json.loads((tmp_path / "two" / last / "progress.json").read_text())["kind"]
    assert kind["crops_per_step"] == 4


def test_a_loss_that_is_not_finite_stops_both_processes(photos: Path, tmp_path: Path) -> None:
    arguments = ["--images", photos, "--crops", "{crop_size: 48, margin: 8}", "--steps", 9, "--batch_size", 1]
    arguments += ["--model", "{base_channels: 4, ssim_weight: 0.0}", "--learning_rate", "1e30"]
    done = train(*arguments, "--output_dir", tmp_path, processes=2)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "train.py: " in line]
    assert any("step 2: not a finite number: loss" in line and "of crops 2 to 2; loss" in line for line in said)
    assert not (tmp_path / "model").exists()

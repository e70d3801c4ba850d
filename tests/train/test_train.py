"""Training for real, on tiny models and photos: the loss falls, a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring

TRAIN = Path(__file__).resolve().parents[2] / "train"
TINY = ["--batch_size", "2", "--log_every", "1", "--validation_count", "1", "--crops", "{crop_size: 48, margin: 16}"]
ESTIMATOR = ["--model", "{base_channels: 4, num_samples: 5, ssim_weight: 0.0}", "--learning_rate", "1e-3"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage.data import data_dir

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        with Image.open(Path(data_dir) / f"{name}.png") as image:
            image.convert("RGB").resize((256, 224)).save(folder / f"{name}.png")
    return folder


def _train(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, str(TRAIN / "train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def _finished(*arguments: str) -> None:
    done = _train(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]


def _log(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_model_loads(photos: Path, tmp_path: Path) -> None:
    images = ["--images", str(photos), "--validation_images", str(photos)]
    schedule = ["--steps", "60", "--validate_every", "60", "--checkpoint_every", "60", "--ema_decay", "0.9"]
    _finished(*images, *TINY, *ESTIMATOR, *schedule, "--flow_weight", "0.1", "--output_dir", str(tmp_path))
    losses = [entry["flow"] for entry in _log(tmp_path) if "flow" in entry]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert {"validation_reblur_psnr", "validation_motion_mse"} <= set(_log(tmp_path)[-1])
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    model = EtrajModel.from_pretrained(tmp_path / "model")
    assert model.config.num_samples == 5
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["steps"] == 60
    assert record["options"]["learning_rate"] == 1e-3
    assert str(photos) not in (tmp_path / "model" / "training.json").read_text()


def test_a_resumed_run_equals_an_uninterrupted_one(photos: Path, tmp_path: Path) -> None:
    common = [
        "--images",
        str(photos),
        *TINY,
        *ESTIMATOR,
        "--steps",
        "8",
        "--checkpoint_every",
        "4",
        "--ema_decay",
        "0.9",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _finished(*common, "--output_dir", str(whole))
    shutil.copytree(whole / "checkpoints" / "step-0000004", broken / "checkpoints" / "step-0000004")
    (broken / "checkpoints" / ".partial-0000008").mkdir()  # what a kill in the middle of writing leaves
    _finished(*common, "--output_dir", str(broken), "--resume", "true")
    expected = load_file(whole / "model" / "model.safetensors")
    for name, tensor in load_file(broken / "model" / "model.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


def test_the_deblurrer_trains_with_an_estimator_and_grows(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    from motion_offsets.configuration_etraj import EtrajConfig

    EtrajModel(EtrajConfig(base_channels=4)).save_pretrained(tmp_path / "estimator")
    common = ["--stage", "deblurrer", "--images", str(photos), *TINY, "--steps", "2", "--pixel_loss", "l1"]
    small = ["--model", "{levels: [1], base_channels: 4}", "--estimator", str(tmp_path / "estimator")]
    _finished(
        *common,
        *small,
        "--freeze_estimator",
        "true",
        "--frequency_weight",
        "0.05",
        "--output_dir",
        str(tmp_path / "one"),
    )
    one = MaDmphnForImageDeblurring.from_pretrained(tmp_path / "one" / "model")
    trained = load_file(tmp_path / "estimator" / "model.safetensors")["network.head.weight"]
    torch.testing.assert_close(one.estimator.network.head.weight, trained, atol=1e-3, rtol=1e-3)
    grown = ["--model", "{levels: [1, 2, 4], base_channels: 4, estimator_config: {base_channels: 4}}"]
    start = ["--start_from", str(tmp_path / "one" / "model")]
    _finished(*common, *grown, *start, "--learning_rate", "1e-9", "--output_dir", str(tmp_path / "two"))
    two = MaDmphnForImageDeblurring.from_pretrained(tmp_path / "two" / "model")
    image = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(two.eval()(image).sharp, one.eval()(image).sharp, atol=2e-3, rtol=1e-2)


# What a config has to be given beside photos: the models that the runs before it made.
WANTS = {
    "etraj-quadratic-longer.yaml": ["--start_from", "estimator"],
    "etraj-quadratic-still.yaml": ["--start_from", "estimator"],
    "ma-dmphn.yaml": ["--estimator", "estimator"],
    "ma-dmphn-paper.yaml": ["--estimator", "estimator"],
    "ma-dmphn-still.yaml": ["--start_from", "deblurrer", "--estimator", "estimator"],
    "ma-dmphn-levels.yaml": ["--start_from", "deblurrer"],
}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an estimator and a deblurrer of one level, as earlier runs would have left them."""
    folder = tmp_path_factory.mktemp("earlier")
    EtrajModel(EtrajConfig()).save_pretrained(folder / "estimator")
    config = MaDmphnConfig(levels=(1,), estimator_config=EtrajConfig())
    MaDmphnForImageDeblurring(config).save_pretrained(folder / "deblurrer")
    return folder


@pytest.mark.parametrize("config", sorted(path.name for path in (TRAIN / "configs").glob("*.yaml")))
def test_every_config_takes_a_step(config: str, photos: Path, earlier: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(TRAIN / "configs" / config), "--images", str(photos)]
    arguments += ["--steps", "1", "--batch_size", "1", "--output_dir", str(tmp_path / "run")]
    arguments += [str(earlier / word) if (earlier / word).is_dir() else word for word in WANTS.get(config, [])]
    _finished(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere"], "nowhere: no such folder"),
        (["--images", "nowhere", "--stage", "painter"], "stage is 'painter'"),
        (["--images", "nowhere", "--model", "{num_samples: 8}"], "num_samples is 8"),
        (["--images", "nowhere", "--crops", "{size: 3}"], "crops has no field 'size'"),
        (["--images", "nowhere", "--steps", "0"], "steps is 0"),
        (["--images", "nowhere", "--stepz", "3"], "there is no option '--stepz'"),
        (["--images", "nowhere", "--mixed_precision", "half"], "mixed_precision is 'half'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = _train(*arguments, "--output_dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_keep_of_start_saves_a_model_halfway(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, num_samples=5, ssim_weight=0.0)).save_pretrained(tmp_path / "start")
    common = ["--images", str(photos), *TINY, *ESTIMATOR, "--learning_rate", "0.01", "--steps", "1"]
    common += ["--start_from", str(tmp_path / "start")]
    _finished(*common, "--output_dir", str(tmp_path / "whole"))
    _finished(*common, "--output_dir", str(tmp_path / "half"), "--keep_of_start", "0.5")
    start, whole, half = (
        EtrajModel.from_pretrained(tmp_path / path).network.head.weight
        for path in ("start", "whole/model", "half/model")
    )
    assert (whole - start).abs().max() > 0.005
    torch.testing.assert_close(half, (start + whole) / 2, rtol=0, atol=2e-3)


def test_another_run_in_the_same_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "step-0000009"
    checkpoint.mkdir(parents=True)
    done = _train("--images", str(photos), "--steps", "1", "--output_dir", str(tmp_path))
    assert done.returncode == 2
    assert "holds the checkpoints of another run; give --resume true" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    assert checkpoint.is_dir()


def test_an_unknown_field_of_a_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("learning_rat: 1.0\n")
    done = _train("--config", str(tmp_path / "x.yaml"))
    assert "there is no field 'learning_rat'" in done.stderr
    assert "Traceback" not in done.stderr

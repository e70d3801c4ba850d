"""Every config builds its model and takes a step; bases, overrides, and what is refused before any data is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from launching import TRAIN, train_here
from safetensors.torch import load_file

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.training.config_files import load_config, read_options
from motion_offsets.training.run import Run

CONFIGS = TRAIN / "configs"
NAMES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml"))
# Configs that go on from a model of an earlier run.
CONTINUED = (
    "etraj-bidirectional-linear",
    "etraj-cubic",
    "etraj-linear",
    "etraj-quadratic-context",
    "etraj-quadratic-dynamic",
    "etraj-quadratic-longer",
    "etraj-quadratic-plain",
    "etraj-quadratic-real",
    "etraj-quadratic-still",
    "etraj-zero-constraint",
    "ma-dmphn-dynamic",
    "ma-dmphn-fitted",
    "ma-dmphn-levels",
    "ma-dmphn-still",
    "paper/gopro-quadratic-fast",
)


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Photos cut out as a disc each, as transparent pictures."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("cutouts")
    for path in photos.iterdir():
        with Image.open(path) as image:
            mask = Image.new("L", image.size)
            ImageDraw.Draw(mask).ellipse((60, 50, 190, 180), fill=255)
            image.putalpha(mask)
            image.save(folder / path.name)
    return folder


def _frames(folder: Path) -> Path:
    """Thirteen consecutive frames of noise that moves by a pixel each."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(256, size=(200, 220, 3), dtype=np.uint8)
    for number in range(17):
        Image.fromarray(noise[:, number : number + 200]).save(folder / f"{number:06d}.png")
    return folder


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("name", NAMES)
def test_every_config_takes_a_step(name: str, photos: Path, pairs: Path, cutouts: Path, tmp_path: Path) -> None:
    fields = load_config(CONFIGS / name)
    deblurs = fields["stage"] == "deblurrer"
    channels = 24 if fields.get("deconvolution_start") else 4  # few, so that a step takes no time
    arguments = ["--config", CONFIGS / name, "--steps", 1, "--warmup_steps", 0, "--output_dir", tmp_path / "run"]
    # Two crops, so that a mixture of sources or a mean over a batch has something to do.
    guided = fields["stage"] == "motion-guided"
    few: dict[str, Any] = {"base_channels": channels}
    if guided or fields.get("model", {}).get("backbone") == "pyramid":
        few = {"widths": [4, 4], "encoder_blocks": [0, 1], "decoder_blocks": [1]}
        if not guided:
            few = {**fields["model"], **few}
    # All runs of this process share accelerate's precision.
    arguments += ["--batch_size", 2, "--model", json.dumps(few), "--mixed_precision", "no"]
    arguments += ["--pairs", pairs] if fields.get("pairs_share") else ["--images", photos]
    if fields.get("dynamic_share"):
        arguments += ["--objects", cutouts]
    if fields.get("frames_share"):
        arguments += ["--frames", _frames(tmp_path / "frames")]
    estimator = fields.get("model", {}).get("estimator_config", {})
    aware = deblurs and fields["model"].get("motion_aware", True)
    if aware or guided:
        EtrajModel(EtrajConfig(base_channels=4, **estimator)).save_pretrained(tmp_path / "estimator")
        arguments += ["--estimator", tmp_path / "estimator"]
    if fields.get("prior"):
        MaDmphnForImageDeblurring(MaDmphnConfig(levels=(1,), base_channels=4)).save_pretrained(tmp_path / "prior")
        arguments += ["--prior", tmp_path / "prior"]
    if name.removesuffix(".yaml") in CONTINUED:
        if deblurs:
            start = MaDmphnForImageDeblurring(MaDmphnConfig(**{**fields["model"], "levels": (1,), "base_channels": 4}))
        else:
            start = EtrajModel(EtrajConfig(**{**_without_context(fields["model"]), "base_channels": 4}))
        start.save_pretrained(tmp_path / "start")
        arguments += ["--start_from", tmp_path / "start"]
    run = Run(read_options([str(argument) for argument in arguments]))
    before = {name: weight.clone() for name, weight in run.stage.model.state_dict().items()}
    run.train()
    after = run.stage.model.state_dict()
    changed = {name for name, weight in before.items() if not weight.equal(after[name])}
    assert changed
    assert any(name.startswith("estimator.") for name in changed) == (aware and not fields.get("freeze_estimator"))
    if fields.get("freeze_network"):
        assert all(name.startswith("context.") for name in changed)
    if guided:
        assert all(name.startswith("stages.") for name in changed)
    assert load_file(tmp_path / "run" / "model" / "model.safetensors").keys() == after.keys()


def _without_context(fields: dict[str, Any]) -> dict[str, Any]:
    """Of a model that a network of context is trained on: it predicts no uncertainty itself."""
    if "context_widths" not in fields:
        return fields
    return {**{name: value for name, value in fields.items() if "context" not in name}, "predicts_uncertainty": False}


def test_a_config_lies_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text("steps: 7\nseed: 3\nmodel: {trajectory: linear, num_samples: 9}\n")
    (tmp_path / "high.yaml").write_text("base: low.yaml\nseed: null\nmodel: {num_samples: 5}\nimages: [x]\n")
    options = read_options(["--config", str(tmp_path / "high.yaml"), "--model={base_channels: 4}", "--steps", "8"])
    assert options.model_fields() == {"trajectory": "linear", "num_samples": 5, "base_channels": 4}
    assert (options.steps, options.seed, options.recipe().crop_size) == (8, 0, 256)


def test_a_config_that_is_its_own_base_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(BadInputError, match=r"a.yaml: is its own base"):
        load_config(tmp_path / "a.yaml")


DEBLURRER = ["--stage", "deblurrer"]
ESTIMATOR = ["--estimator", "etraj-quadratic"]
PAIRS = ["--pairs", "nowhere", "--pairs_share"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "painter"], "stage is 'painter'"),
        (["--model", "{num_samples: 8}"], "num_samples is 8"),
        (["--model", "{trajectry: linear}"], "model has no field 'trajectry'"),
        (["--model", "{trajectory: [}"], "model is not YAML"),
        (["--crops", "{size: 3}"], "crops has no field 'size'"),
        (["--crops", "{crop_size: 128}"], "crops crop_size is 128 and model ssim_window_size 11"),
        (["--steps", "0"], "steps is 0"),
        (["--steps", "many"], "argument --steps: invalid int value: 'many'; `help` describes the options"),
        (["--stepz", "3"], "unknown option '--stepz'"),
        (["--learning_rate", "nan"], "learning_rate is nan"),
        (["--mixed_precision", "half"], "mixed_precision is 'half'"),
        (["--report_to", "paper"], "report_to is"),
        (["--freeze_estimator", "true"], "freeze_estimator is True and stage is estimator"),
        (["--true_motion", "0.3"], "true_motion is 0.3 and stage is estimator"),
        (["--pixel_loss", "l1"], "pixel_loss is 'l1' and stage is estimator"),
        (["--freeze_network", "true"], "freeze_network is True, which trains the network of model context_widths"),
        (["--keep_of_start", "0.5"], "keep_of_start is 0.5 and start_from is not given"),
        (["--reblur_from", "0.5"], "reblur_from is 0.5 and the flow loss before it is missing"),
        (["--dynamic_share", "0.5"], "dynamic_share is 0.5 and objects is []"),
        (["--pairs", "nowhere"], "pairs_share is 0.0 and pairs is ['nowhere']"),
        ([*PAIRS, "1.0"], "images is given and pairs_share is 1"),
        ([*PAIRS, "0.7", "--objects", "x", "--dynamic_share", "0.7"], "together they may be 1"),
        (["--frames_share", "0.3"], "frames_share is 0.3 and frames is []"),
        (["--frames", "x", "--frames_share", "0.3", "--frames_window", "7"], "frames_window is [7]"),
        (["--frames", "x", "--frames_share", "0.3", "--frames_window", "8", "8"], "the window is 8 to 8 frames"),
        (["--validation_images", "x", "--validation_pairs", "y"], "validation_images and validation_pairs"),
        ([*DEBLURRER], "estimator is not given"),
        ([*DEBLURRER, *ESTIMATOR, "--flow_weight", "1"], "flow_weight is 1.0 and stage is deblurrer"),
        (
            [*DEBLURRER, *ESTIMATOR, "--model", "{motion_aware: false}"],
            "estimator is 'etraj-quadratic' and model motion",
        ),
        ([*DEBLURRER, *ESTIMATOR, "--true_motion", "0.3"], "true_motion is 0.3 and disturbed_motion 0.0; set model"),
        (
            [*DEBLURRER, *ESTIMATOR, "--true_motion", "0.6", "--disturbed_motion", "0.6"],
            "true_motion is 0.6 and disturbed_motion 0.6; together they must be 1 at most",
        ),
        ([*DEBLURRER, "--start_from", "x", "--deconvolution_start", "true"], "deconvolution_start and start_from"),
    ],
)
def test_contradictions_are_refused_before_any_data_is_read(arguments: list[str], message: str) -> None:
    """The photos do not even exist."""
    with pytest.raises(BadInputError) as refusal:
        read_options(["--images", "nowhere", *arguments])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_estimator_of_another_trajectory_is_refused(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, trajectory="linear")).save_pretrained(tmp_path / "linear")
    config = CONFIGS / "paper" / "gopro-ma-dmphn-cubic.yaml"
    given = ["--config", config, "--estimator", tmp_path / "linear", "--pairs", photos]
    options = read_options([str(argument) for argument in (*given, "--output_dir", tmp_path / "run")])
    with pytest.raises(BadInputError, match="has trajectory 'linear', and the config's estimator_config asks for 'cu"):
        Run(options)


@pytest.mark.usefixtures("_signals")
def test_a_refusal_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = train_here("--images", "nowhere", "--output_dir", tmp_path / "run")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("train.py: nowhere: no such folder")
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInputError, match="nowhere.yaml: cannot be read"):
        read_options(["--config", "nowhere.yaml"])


def test_an_unknown_field_of_a_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("learning_rat: 1.0\n")
    with pytest.raises(BadInputError, match="unknown field 'learning_rat'"):
        read_options(["--config", str(tmp_path / "x.yaml")])

"""Training for real, on tiny models and photos: the loss falls, a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from file_limits import files_up_to
from launching import (
    ESTIMATOR,
    TINY,
    logged,
    run_here,
    said_until,
    train_here,
    training,
)

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.training.run import main

pytestmark = pytest.mark.usefixtures("_signals")


def test_the_loss_falls_and_the_model_loads(photos: Path, tmp_path: Path) -> None:
    images = ["--images", str(photos), "--validation_images", str(photos)]
    schedule = ["--steps", "60", "--validate_every", "20", "--checkpoint_every", "60", "--ema_decay", "0.9"]
    run_here(*images, *TINY, *ESTIMATOR, *schedule, "--flow_weight", "0.1", "--output_dir", str(tmp_path))
    losses = [entry["flow"] for entry in logged(tmp_path) if "flow" in entry]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    validations = [entry for entry in logged(tmp_path) if "validation_reblur_psnr" in entry]
    assert [entry["step"] for entry in validations] == [20, 40, 60]
    assert "validation_motion_mse" in validations[0]
    best = max(validations, key=lambda entry: entry["validation_reblur_psnr"])
    kept = json.loads((tmp_path / "best" / "training.json").read_text())
    assert kept["steps"] == best["step"]
    assert kept["validation"]["reblur_psnr"] == round(best["validation_reblur_psnr"], 4)
    with Image.open(tmp_path / "pictures" / "step-0000060.png") as picture:
        width, height = picture.size
    assert width > 2 * height  # blurred, reblurred, trajectories
    assert (
        f"| `reblur_psnr` | {validations[-1]['validation_reblur_psnr']:.4g} |"
        in (tmp_path / "model" / "README.md").read_text()
    )
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
        "--gradient_accumulation",
        "2",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_here(*common, "--output_dir", str(whole))
    shutil.copytree(whole / "checkpoints" / "step-0000004", broken / "checkpoints" / "step-0000004")
    (broken / "checkpoints" / ".partial-0000008").mkdir()  # what a kill in the middle of writing leaves
    run_here(*common, "--output_dir", str(broken), "--resume", "true")
    expected = load_file(whole / "model" / "model.safetensors")
    for name, tensor in load_file(broken / "model" / "model.safetensors").items():
        assert torch.equal(tensor, expected[name]), name
    # What is logged is an average over many steps, which goes on too.
    told = [
        {entry["step"]: entry["loss"] for entry in logged(run) if "loss" in entry and entry["step"] > 4}
        for run in (whole, broken)
    ]
    assert told[0]
    assert told[1] == told[0]


def test_the_deblurrer_trains_with_an_estimator_and_grows(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    from motion_offsets.models.configuration_etraj import EtrajConfig

    EtrajModel(EtrajConfig(base_channels=4)).save_pretrained(tmp_path / "estimator")
    common = ["--stage", "deblurrer", "--images", str(photos), *TINY, "--steps", "2", "--pixel_loss", "l1"]
    small = ["--model", "{levels: [1], base_channels: 4}", "--estimator", str(tmp_path / "estimator")]
    run_here(
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
    run_here(*common, *grown, *start, "--learning_rate", "1e-9", "--output_dir", str(tmp_path / "two"))
    two = MaDmphnForImageDeblurring.from_pretrained(tmp_path / "two" / "model")
    image = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(two.eval()(image).sharp, one.eval()(image).sharp, atol=2e-3, rtol=1e-2)


def test_a_deblurrer_along_drawn_motion_resumes_to_the_same_weights(photos: Path, tmp_path: Path) -> None:
    """Which crops are deblurred along true, disturbed, and estimated motion is drawn, and goes on as it was."""
    EtrajModel(EtrajConfig(base_channels=4)).save_pretrained(tmp_path / "estimator")
    drawn = ["--freeze_estimator", "true", "--true_motion", "0.4", "--disturbed_motion", "0.4"]
    common = ["--stage", "deblurrer", "--images", str(photos), "--validation_images", str(photos), *TINY, *drawn]
    common += ["--estimator", str(tmp_path / "estimator"), "--model", "{levels: [1], base_channels: 4}"]
    common += ["--learning_rate", "1e-2", "--steps", "4", "--checkpoint_every", "2"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_here(*common, "--output_dir", str(whole))
    shutil.copytree(whole / "checkpoints" / "step-0000002", broken / "checkpoints" / "step-0000002")
    run_here(*common, "--output_dir", str(broken), "--resume", "true")
    expected = load_file(whole / "model" / "model.safetensors")
    for name, tensor in load_file(broken / "model" / "model.safetensors").items():
        assert torch.equal(tensor, expected[name]), name
    record = json.loads((whole / "model" / "training.json").read_text())
    assert {"gain", "gain_with_true_motion"} <= record["validation"].keys()
    # Along the estimates alone, the same crops teach something else.
    run_here(*common, "--true_motion", "0", "--disturbed_motion", "0", "--output_dir", str(tmp_path / "estimated"))
    estimated = load_file(tmp_path / "estimated" / "model" / "model.safetensors")
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in estimated.items())


def test_keep_of_start_saves_a_model_halfway(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, num_samples=5, ssim_weight=0.0)).save_pretrained(tmp_path / "start")
    common = ["--images", str(photos), *TINY, *ESTIMATOR, "--learning_rate", "0.01", "--steps", "1"]
    common += ["--start_from", str(tmp_path / "start")]
    run_here(*common, "--output_dir", str(tmp_path / "whole"))
    run_here(*common, "--output_dir", str(tmp_path / "half"), "--keep_of_start", "0.5")
    start, whole, half = (
        EtrajModel.from_pretrained(tmp_path / path).network.head.weight
        for path in ("start", "whole/model", "half/model")
    )
    assert (whole - start).abs().max() > 0.005
    torch.testing.assert_close(half, (start + whole) / 2, rtol=0, atol=2e-3)


def test_what_is_validated_is_what_is_saved(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, num_samples=5, ssim_weight=0.0)).save_pretrained(tmp_path / "start")
    common = ["--images", str(photos), "--validation_images", str(photos), *TINY, *ESTIMATOR, "--steps", "1"]
    common += ["--start_from", str(tmp_path / "start")]
    run_here(*common, "--learning_rate", "0.02", "--keep_of_start", "0.5", "--output_dir", str(tmp_path / "half"))
    again = ["--learning_rate", "1e-12", "--start_from", str(tmp_path / "half" / "model")]
    run_here(*common, *again, "--output_dir", str(tmp_path / "again"))
    half, again_half = (
        json.loads((tmp_path / run / "model" / "training.json").read_text())["validation"] for run in ("half", "again")
    )
    assert half["motion_mse"] != half["motion_mse_zero"]
    assert half == pytest.approx(again_half, rel=1e-2)  # what is saved is rounded to float16


def test_crops_are_rendered_once_and_read_over_and_over(photos: Path, tmp_path: Path) -> None:
    common = ["--images", str(photos), *TINY, *ESTIMATOR, "--flow_weight", "0.02", "--shard_crops", "4"]
    common += ["--shards", str(tmp_path / "crops")]
    run_here(*common, "--steps", "2", "--output_dir", str(tmp_path / "one"))
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "crops").iterdir()}
    run_here(*common, "--steps", "5", "--output_dir", str(tmp_path / "two"))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "crops").iterdir()} == written
    flows = [
        [json.loads(line)["flow"] for line in (tmp_path / run / "metrics.jsonl").open() if '"flow"' in line]
        for run in ("one", "two")
    ]
    assert flows[0][0] == pytest.approx(flows[1][0])  # the same first crops, and after four of them these turned
    assert len(flows[1]) == 5
    record = json.loads((tmp_path / "one" / "model" / "training.json").read_text())
    assert record["options"]["shard_crops"] == 4
    with pytest.raises(BadInputError, match=r"its crops have seed 0, not 1"):
        run_here(*common, "--steps", "2", "--seed", "1", "--output_dir", str(tmp_path / "three"))


def test_another_run_in_the_same_folder_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoints" / "step-0000009"
    checkpoint.mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["train.py", "--images", str(photos), "--output_dir", str(tmp_path)])
    with pytest.raises(BadInputError, match="holds the checkpoints of another run; give `resume` true"):
        main()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    assert checkpoint.is_dir()


def test_adding_up_gradients_equals_a_larger_batch(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, *TINY, *ESTIMATOR, "--steps", "2"]
    whole = run_here(*common, "--batch_size", "4", "--output_dir", tmp_path / "whole").stage.model
    parts = run_here(*common, "--batch_size", "1", "--gradient_accumulation", "4", "--output_dir", tmp_path / "parts")
    for name, weight in parts.stage.model.state_dict().items():
        torch.testing.assert_close(weight, whole.state_dict()[name], rtol=0, atol=2e-5)


def test_training_on_pairs_validates_on_pairs(photos: Path, pairs: Path, tmp_path: Path) -> None:
    common = ["--pairs", pairs, "--validation_pairs", pairs, *TINY, "--validation_count", "2", "--steps", "1"]
    run_here(*common, *ESTIMATOR, "--images", photos, "--pairs_share", "0.5", "--output_dir", tmp_path / "etraj")
    assert set(logged(tmp_path / "etraj")[-1]) == {"step", "seconds", "validation_reblur_psnr"}
    plain = ["--stage", "deblurrer", "--model", "{motion_aware: false, levels: [1], base_channels: 4}"]
    run_here(*common, *plain, "--pairs_share", "1", "--output_dir", tmp_path / "dmphn")
    assert {"validation_deblur_psnr", "validation_gain"} < set(logged(tmp_path / "dmphn")[-1])


def test_a_loss_that_is_not_finite_stops_the_run(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, *TINY, *ESTIMATOR, "--checkpoint_every", "1", "--steps", "9"]
    done = train_here(*common, "--learning_rate", "1e30", "--output_dir", tmp_path)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert "step 2: not a finite number: loss, " in line
    assert "of crops 2 to 3." in line
    assert "with --resume true and a lower --learning_rate" in line
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000001"]


@pytest.mark.parametrize(
    ("processes", "number"),
    [(0, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGTERM)],
    ids=["ctrl-c", "launched", "two-processes"],
)
def test_a_signal_saves_a_checkpoint(processes: int, number: signal.Signals, photos: Path, tmp_path: Path) -> None:
    """It goes to whatever was started, which may be ``accelerate launch``."""
    common = ["--images", photos, "--validation_images", photos, *TINY, *ESTIMATOR, "--validate_every", "1"]
    common += ["--data_workers", "1"] if number == signal.SIGINT else []
    arguments = (*common, "--steps", "100000", "--output_dir", tmp_path)
    with training(*arguments, processes=processes) as process:
        said = said_until(process, "step 1: ")
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # a terminal tells all processes
        else:
            process.send_signal(number)
        assert process.stderr is not None
        said += process.stderr.read()  # until the last process has closed it
        code = process.wait()
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    step = json.loads((checkpoint / "progress.json").read_text())["steps"]
    assert f"stopped at step {step}; go on with resume true" in said
    if not processes:
        assert code == 128 + number
        assert "Traceback" not in said


def test_a_killed_run_goes_on(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, "--validation_images", photos, *TINY, *ESTIMATOR, "--steps", "5"]
    common += ["--validate_every", "1", "--checkpoint_every", "1"]
    with training(*common, "--output_dir", tmp_path / "killed") as process:
        said_until(process, "step 3: ")  # the checkpoint of that step is being written
        process.kill()
    run_here(*common, "--output_dir", tmp_path / "killed", "--resume", "true")
    run_here(*common, "--output_dir", tmp_path / "whole")
    assert [entry["step"] for entry in logged(tmp_path / "killed")] == [
        entry["step"] for entry in logged(tmp_path / "whole")
    ]
    killed, whole = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("killed", "whole"))
    for name, weight in whole.items():
        torch.testing.assert_close(killed[name], weight, rtol=0, atol=1e-4)
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_run_killed_before_its_first_checkpoint_starts_again(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, "--validation_images", photos, *TINY, *ESTIMATOR, "--output_dir", tmp_path]
    with training(*common, "--validate_every", "1", "--steps", "5") as process:
        said_until(process, "step 1: ")
        process.kill()
    assert logged(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"step": 2, "sec')  # a line that the kill cut
    run_here(*common, "--validate_every", "2", "--steps", "2")
    assert [entry["step"] for entry in logged(tmp_path)] == [1, 2, 2]  # losses of both steps, the last one's figures


def test_a_disk_that_takes_no_more_stops_the_run_in_one_line(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, *TINY, *ESTIMATOR, "--steps", "2", "--checkpoint_every", "1"]
    with files_up_to(20 * 1024):
        done = train_here(*common, "--output_dir", tmp_path)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert f"train.py: {tmp_path / 'checkpoints'}: cannot be written (" in line
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "checkpoints").iterdir())


def test_another_models_checkpoint_is_refused(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, *TINY, *ESTIMATOR, "--steps", "1", "--output_dir", tmp_path]
    run_here(*common)
    other = [*common, "--resume", "true", "--steps", "2"]
    with pytest.raises(BadInputError, match="step-0000001: is of a run with model num_samples 5, and this one has 9"):
        run_here(*other, "--model", "{base_channels: 4, num_samples: 9, ssim_weight: 0.0}")
    with pytest.raises(BadInputError, match="is of a run with crops_per_step 2, and this one has 3"):
        run_here(*other, "--batch_size", "3")


@pytest.mark.usefixtures("_precision_of_its_own")
def test_bfloat16_trains(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, "--validation_images", photos, *TINY, *ESTIMATOR, "--steps", "2"]
    run = run_here(*common, "--mixed_precision", "bf16", "--output_dir", tmp_path)
    assert run.accelerator.mixed_precision == "bf16"
    assert logged(tmp_path)[-1]["validation_reblur_psnr"] > 10


@pytest.mark.usefixtures("_precision_of_its_own")
def test_auto_precision_is_measured_and_recorded(photos: Path, tmp_path: Path) -> None:
    common = ["--images", photos, *TINY, *ESTIMATOR, "--steps", "2"]
    done = train_here(*common, "--mixed_precision", "auto", "--output_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    chosen = re.search(r"mixed_precision auto: (no|bf16) \(a step of 2 crops: no (\S+) s, bf16 (\S+) s\)", done.stderr)
    assert chosen is not None
    seconds = {"no": float(chosen[2]), "bf16": float(chosen[3])}
    assert seconds[chosen[1]] == min(seconds.values())
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["options"]["mixed_precision"] == chosen[1]


def test_a_start_that_predicts_something_else_is_refused(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, num_samples=5, direction="doubled-angle")).save_pretrained(tmp_path / "a")
    common = ["--images", photos, *TINY, *ESTIMATOR, "--steps", "1", "--output_dir", tmp_path / "run"]
    with pytest.raises(BadInputError, match="start_from has direction 'doubled-angle' and model 'half-plane'"):
        run_here(*common, "--start_from", tmp_path / "a")

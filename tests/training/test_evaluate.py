"""evaluate.py: two processes give what one gives, a stopped run goes on, and the rows are there exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import TRAIN
from PIL import Image

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.distributed import main
from motion_offsets.evaluation.run import run, to_markdown


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    EtrajModel(EtrajConfig(base_channels=4)).save_pretrained(folder / "estimator")
    MaDmphnForImageDeblurring(MaDmphnConfig(levels=(1,), base_channels=4, motion_aware=False)).save_pretrained(
        folder / "deblurrer"
    )
    return ["--model", str(folder / "estimator"), "--deblurrer", str(folder / "deblurrer")]


def launched(*arguments: object) -> subprocess.CompletedProcess[str]:
    """evaluate.py in two processes."""
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", TRAIN / "launch" / "8gpu-ddp.yaml", "--main_process_port", "0"]
    command += ["--num_processes", "2", "--num_cpu_threads_per_process", "1", TRAIN / "evaluate.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    everything = [str(word) for word in command]
    return subprocess.run(everything, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_two_processes_go_on_from_a_stopped_run(
    photos: Path, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, rows_file = tmp_path / "result.json", tmp_path / "result.rows.jsonl"
    common = ["bsd-motion-flow", "--images", photos, *models, "-o", output, "--line_kernels"]
    first = launched(*common, "--figure", tmp_path / "curves.png", "--markdown")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "| quoted by the paper, Gong et al. | 37.61 | 0.9818 | 10.05 |" in first.stdout
    assert ", by line kernels |" in first.stdout
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > picture.height
    result, lines = json.loads(output.read_text()), rows_file.read_text().splitlines(keepends=True)
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2]
    alone = run("bsd-motion-flow", photos, model=models[1], deblurrer=models[3])
    shared = {name: value for name, value in alone.items() if not name.endswith(("seconds", "device"))}
    for name, value in shared.items():
        assert result[name] == (pytest.approx(value, abs=2e-3) if isinstance(value, float) else value), name
    # Stopped in the middle of a line: the whole line before it is kept as it is, whatever it says.
    marked = json.loads(lines[0])
    for row in marked["rows"]:
        row["reblur_psnr"] = 1000.0
    rows_file.unlink()
    (tmp_path / "result.rows-0000.jsonl").write_text(json.dumps(marked) + "\n" + lines[1][:40])
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *(str(word) for word in common)])
    main()
    assert [json.loads(line)["number"] for line in rows_file.read_text().splitlines()] == [0, 1, 2]
    assert json.loads(output.read_text())["reblur_psnr"] > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "result.json", "result.rows.jsonl"]
    sys.argv += ["--dtype", "bfloat16"]
    with pytest.raises(BadInputError, match="holds rows of another model, benchmark, data set, precision or"):
        main()


def test_safe_without_a_deblurrer_is_refused(
    photos: Path, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["evaluate.py", "unblurred", "--images", photos, *models[:2], "--deblurrer", "none", "--safe"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (*command, "-o", tmp_path / "result.json")])
    with pytest.raises(
        BadInputError,
        match="unblurred measures what a deblurrer changes, and the deblurrer is none; give `deblurrer`",
    ):
        main()
    assert not list(tmp_path.iterdir())


def test_rows_of_the_motion_alone_are_not_those_of_deconvolution(
    photos: Path, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["evaluate.py", "bsd-motion-flow", "--images", photos, *models[:2], "--limit", "1"]
    command += ["-o", tmp_path / "result.json", "--deblurrer"]
    monkeypatch.setattr(sys, "argv", [*map(str, command), "map"])
    main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["deblurrer"] == "map"
    assert result["deblur_psnr"] > 5
    monkeypatch.setattr(sys, "argv", [*map(str, command), "none"])
    with pytest.raises(BadInputError, match="holds rows of another model"):
        main()


def test_gopro_stands_beside_the_paper(pairs: Path, models: list[str]) -> None:
    result = run("gopro", pairs, model=models[1], deblurrer=models[3], limit=2)
    assert result["images"] == 2
    assert {"reblur_psnr", "deblur_ssim", "blurred_psnr", "motion_length", "flat_length"} < result.keys()
    text = to_markdown(result)
    assert "They are not GoPro's test set" in text
    assert "| paper, quadratic | 34.68 | 0.9740 |" in text
    assert f"| ours less the paper's quadratic | {result['reblur_psnr'] - 34.68:.2f} |" in text
    assert "| quoted by the paper, stack(4)-DMPHN | 31.20 | 0.9453 |" in text
    assert result["tracks"] is result["video_psnr"] is None
    assert "These pairs come without their frames" in text


def test_any_folder_of_pairs_stands_beside_doing_nothing(pairs: Path, models: list[str], tmp_path: Path) -> None:
    """The pairs' gains over the blurred photos, from the pictures themselves."""
    folder = tmp_path / "pairs"
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir(parents=True)
    blurred, sharp = np.random.default_rng(0).integers(256, size=(2, 2, 64, 80, 3), dtype=np.uint8)
    for number in range(2):
        Image.fromarray(blurred[number]).save(folder / "blur" / f"{number}.png")
        Image.fromarray(sharp[number]).save(folder / "sharp" / f"{number}.png")
    result = run("pairs", folder, model=models[1], deblurrer=models[3])
    error = np.square(blurred / 255.0 - sharp / 255.0).mean(axis=(1, 2, 3))
    assert result["images"] == 2
    assert result["reblur_psnr_zero"] == pytest.approx(float(np.mean(-10 * np.log10(error))), abs=1e-3)
    assert result["deblur_gain"] == pytest.approx(result["deblur_psnr"] - result["blurred_psnr"], abs=2e-4)
    assert result["deblur_gain_lowest"] <= result["deblur_gain"]
    text = to_markdown(result)
    assert text.startswith("pairs: 2.")
    assert f"| {result['deblur_gain']:.2f} | {result['deblur_gain_lowest']:.2f} |" in text


def test_an_ablation_stands_beside_the_papers_own(pairs: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, ssim_weight=0.0)).save_pretrained(tmp_path / "estimator")
    config = MaDmphnConfig(levels=(1,), base_channels=4, estimator_config={"base_channels": 4, "trajectory": "linear"})
    MaDmphnForImageDeblurring(config).save_pretrained(tmp_path / "deblurrer")
    result = run("gopro", pairs, model=str(tmp_path / "estimator"), deblurrer=str(tmp_path / "deblurrer"), limit=1)
    text = to_markdown(result)
    difference = f"{result['reblur_psnr'] - 34.16:.2f} | {result['reblur_ssim'] - 0.97:.4f}"
    assert f"| ours less the paper's quadratic without SSIM loss | {difference} |" in text
    difference = f"{result['deblur_psnr'] - 30.82:.2f} | {result['deblur_ssim'] - 0.9462:.4f}"
    assert f"| ours less the paper's MA-DMPHN linear | {difference} |" in text


def test_gopro_of_frames_has_tracks_and_clips(sideways: Path, models: list[str]) -> None:
    result = run("gopro", sideways, model=models[1], deblurrer=models[3], window=7)
    assert result["images"] == 2
    assert result["tracks"] > 50
    # Seven frames of 3 pixels each: 9, 6, 3, 0, 3, 6 and 9 pixels from the middle one.
    assert result["track_distance_zero"] == pytest.approx(36 / 7, abs=0.2)
    assert result["video_psnr"] > 5
    text = to_markdown(result)
    assert "| no motion at all | 5.1" in text
    assert "| the deblurred frame repeated |" in text
    assert "They are not GoPro's test set" in text

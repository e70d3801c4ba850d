"""The scaled-down table, from training to Markdown, for a row of one step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launching import TRAIN


def test_a_row_is_trained_measured_and_kept(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, TRAIN / "reproduce.py", "--images", photos, "--evaluation_images", photos]
    command += [
        "--rows",
        "supervised",
        "--limit",
        "1",
        "--output_dir",
        tmp_path,
        "--steps",
        "1",
        "--warmup_steps",
        "0",
    ]
    command += ["--batch_size", "1", "--validation_count", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    everything = [str(word) for word in command]
    done = subprocess.run(everything, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "supervised" / "evaluation.json").read_text())
    ours = f"{result['line_reblur_psnr']:.2f} | {result['line_reblur_ssim']:.4f} | {result['motion_mse']:.2f}"
    assert f"| supervised | {ours} | 37.61 | 0.9818 | 10.05 |" in done.stdout
    assert f"trajectories\n\n{(tmp_path / 'trajectories.md').read_text()}\n" == done.stdout
    (tmp_path / "supervised" / "model" / "model.safetensors").unlink()  # nobody needs it again
    again = subprocess.run(everything, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert again.stdout == done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_on_the_tables_and_the_limit(tmp_path: Path) -> None:
    (tmp_path / "bsds500" / "train").mkdir(parents=True)
    command = ["make", "--dry-run", "reproduce", f"DATA={tmp_path}", "TABLES=losses deblurrers", "LIMIT=25"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=TRAIN.parent, check=True, timeout=60).stdout
    assert said.rstrip().endswith("--tables losses deblurrers --limit 25")
    said = subprocess.run(command[:4], capture_output=True, text=True, cwd=TRAIN.parent, check=True, timeout=60).stdout
    assert said.rstrip().endswith("--tables trajectories")

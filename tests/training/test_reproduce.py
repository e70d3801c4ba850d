"""The scaled-down tables, from training to Markdown, for rows of one step of tiny networks."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from launching import TRAIN
from PIL import Image

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from reproduce import figures_of_table, main
from reproduce_tables import TABLES
from safetensors.numpy import load_file, save_file

from motion_offsets.errors import BadInputError
from motion_offsets.evaluation import distributed as evaluate
from motion_offsets.training import run as train

pytestmark = pytest.mark.usefixtures("_signals")
TINY = ["--warmup_steps", "0", "--batch_size", "1", "--validation_count", "1", "--model", "{base_channels: 4}"]


def run_here(command: list[str]) -> None:
    """What ``reproduce.py`` starts, in this process."""
    program = {"train.py": train.main, "evaluate.py": evaluate.main}[command[0]]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setattr(sys, "argv", command)
        program()


def reproduced(
    photos: Path, output: Path, *arguments: object, steps: int = 1, limit: int = 1, processes: bool = False
) -> str:
    """What ``reproduce.py`` prints; what it starts runs in this process, or in processes of its own as for a user."""
    command = ["reproduce.py", "--images", photos, "--evaluation_images", photos, "--output_dir", output, *arguments]
    command += ["--limit", limit, "--steps", steps, *TINY]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        for name, value in (("OMP_NUM_THREADS", "1"), ("ACCELERATE_USE_CPU", "true")):
            patch.setenv(name, value)
        patch.setenv("MOTION_OFFSETS_CACHE", str(output / "cache"))
        patch.setattr(sys, "argv", [str(word) for word in command])
        if not processes:
            patch.setattr("reproduce._run", run_here)
        main()
    return said.getvalue()


def figures(output: Path, row: str) -> dict:
    return json.loads((output / row / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def done(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The row "supervised", and what was printed."""
    output = tmp_path_factory.mktemp("reproduce")
    return output, reproduced(photos, output, "--rows", "supervised", processes=True)


@pytest.fixture
def output(done: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of its folder."""
    return shutil.copytree(done[0], tmp_path / "reproduce")


def test_a_row_is_trained_measured_and_kept(photos: Path, done: tuple[Path, str]) -> None:
    output, said = done
    result = figures(output, "supervised")
    ours = f"{result['line_reblur_psnr']:.2f} | {result['line_reblur_ssim']:.4f} | {result['motion_mse']:.2f}"
    assert f"| supervised | {ours} | 37.61 | 0.9818 | 10.05 |" in said
    assert f"trajectories\n\n{(output / 'trajectories.md').read_text()}\n" == said
    files = ("model/model.safetensors", "evaluation.json", "evaluation.rows.jsonl")
    times = [(output / "supervised" / name).stat().st_mtime_ns for name in files]
    assert reproduced(photos, output, "--rows", "supervised") == said
    assert [(output / "supervised" / name).stat().st_mtime_ns for name in files] == times


def test_another_number_of_photos_or_another_model_is_measured_again(photos: Path, output: Path) -> None:
    first, rows = figures(output, "supervised"), output / "supervised" / "evaluation.rows.jsonl"
    before = rows.read_text()
    said = reproduced(photos, output, "--rows", "supervised", limit=2)
    assert figures(output, "supervised")["images"] == 2
    assert f"| supervised | {figures(output, 'supervised')['line_reblur_psnr']:.2f} |" in said
    assert rows.read_text().startswith(before), "the photo that was measured is not measured again"
    model = output / "supervised" / "model" / "model.safetensors"
    weights = load_file(model)
    weights["network.head.bias"] += 1  # pixel
    save_file(weights, model, metadata={"format": "pt"})
    reproduced(photos, output, "--rows", "supervised")
    again = figures(output, "supervised")
    assert again["images"] == 1
    assert again["checkpoints"] != first["checkpoints"]
    assert again["motion_mse"] != first["motion_mse"]


def test_a_model_trained_otherwise_is_refused(photos: Path, output: Path) -> None:
    before = sorted(path.relative_to(output) for path in output.rglob("*"))
    wrong = (
        r"supervised: holds a model trained with steps 1, and 2 is asked for; move the folder away, or give another"
    )
    with pytest.raises(BadInputError, match=wrong) as caught:
        reproduced(photos, output, steps=2)
    assert "\n" not in str(caught.value)
    assert sorted(path.relative_to(output) for path in output.rglob("*")) == before, (
        "the rows before it were not begun"
    )
    (output / "supervised" / "model" / "training.json").unlink()
    with pytest.raises(BadInputError, match="supervised: the record of how its model was trained is missing"):
        reproduced(photos, output)


def test_a_row_of_losses_starts_from_another_row(photos: Path, output: Path) -> None:
    said = reproduced(photos, output, "--tables", "losses", "--rows", "self-supervised-n5")
    result = figures(output, "self-supervised-n5")
    ours = f"{result['reblur_psnr']:.2f} | {result['reblur_ssim']:.4f} | {result['motion_mse']:.2f}"
    assert f"| self-supervised-n5 | {ours} | 34.09 | 0.9668 |" in said
    record = output / "self-supervised-n5" / "model" / "training.json"
    start = json.loads((output / "quadratic" / "model" / "training.json").read_text())
    assert json.loads(record.read_text())["started_from"] == start
    # The other table gets a row more, and holds the one that was there too, in its own order.
    said = reproduced(photos, output, "--rows", "quadratic")
    rows = [line.split(" | ")[0] for line in (output / "trajectories.md").read_text().splitlines()[2:]]
    assert rows == ["| quadratic", "| supervised", "| no motion at all"]
    given = {"images": [str(photos)], "evaluation_images": str(photos), "output_dir": str(output)}
    arguments = argparse.Namespace(**given, label_maps=[], evaluation_label_maps=None, limit=2)
    assert not figures_of_table(TABLES["trajectories"], [], arguments, ["--steps", "1", *TINY]), "of another limit"
    assert not figures_of_table(TABLES["trajectories"], [], arguments, ["--steps", "2", *TINY]), "of other models"
    start["options"]["seed"] = 7
    record.write_text(json.dumps(json.loads(record.read_text()) | {"started_from": start}))
    with pytest.raises(
        BadInputError, match="self-supervised-n5: holds a model trained with seed 7, and 0 is asked for"
    ):
        reproduced(photos, output, "--tables", "losses", "--rows", "self-supervised-n5")


def test_a_row_of_deblurrers_is_measured_on_scenes(photos: Path, tmp_path: Path) -> None:
    maps, output = tmp_path / "maps", tmp_path / "reproduce"
    maps.mkdir()
    labels = np.zeros((224, 256), np.uint8)
    labels[60:120, 70:140] = 1
    for photo in photos.iterdir():
        Image.fromarray(labels).save(maps / photo.name)
    given = ["--tables", "deblurrers", "--rows", "dmphn", "--label_maps", maps, "--evaluation_label_maps", maps]
    said = reproduced(photos, output, *given)
    result = figures(output, "dmphn")
    assert result["benchmark"] == "bsd-dynamic"
    assert result["checkpoints"].keys() == {"estimator", "deblurrer"}
    assert result["deblurrer_trajectory"] is None, "it knows no motion"
    names = {"deblur_psnr": 2, "deblur_ssim": 4, "video_psnr": 2, "trajectory_error": 2}
    ours = " | ".join(f"{result[name]:.{digits}f}" for name, digits in names.items())
    assert f"| dmphn | {ours} | 30.21 | 0.9345 |" in said


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_on_the_tables_and_the_limit(tmp_path: Path) -> None:
    (tmp_path / "bsds500" / "train").mkdir(parents=True)
    command = ["make", "--no-print-directory", "--dry-run", "reproduce", f"DATA={tmp_path}"]
    for more, expected in (
        (["TABLES=losses deblurrers", "LIMIT=25"], "--tables losses deblurrers --limit 25"),
        ([], "--tables trajectories"),
    ):
        told = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=TRAIN.parent, check=True, timeout=60
        )
        assert told.stdout.rstrip().endswith(expected)

"""Runs over many photos in real processes: killed and taken up again, spread over processes, interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import datasets
import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from motion_offsets.cli import app as cli
from motion_offsets.cli.extract import _ended_by_signals
from motion_offsets.extraction.manifest import read_manifests

COUNT = 8
MODULE = "motion_offsets.cli"


@pytest.fixture
def photos(tmp_path: Path, generator: np.random.Generator) -> Path:
    """``COUNT`` tiny photos of two sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        pixels = generator.integers(0, 256, (40, 48 + 8 * (number % 2), 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number:02d}.png")
    return folder


def arguments(models: Path, photos: object, out: Path, *more: object) -> list[str]:
    used = ("--model", models / "motion", "--deblurrer", models / "sharp", "--device", "cpu", "--frames", 2)
    return [str(argument) for argument in ("extract", photos, "-o", out, *used, *more)]


def run(*given: object) -> Result:
    return CliRunner().invoke(cli.app, arguments(*given))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def start(*given: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", MODULE, *arguments(*given)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )


def done(out: Path) -> Counter[str]:
    """How often each result is entered as done."""
    return Counter(line["result"] for line in read_manifests(out) if line["status"] == "done")


def written(out: Path) -> dict[str, int]:
    """When each result's report was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/report.json")}


def hidden(out: Path) -> list[str]:
    return [path.name for path in out.rglob(".*")]


EVERY_PHOTO_ONCE = Counter(f"p{number:02d}" for number in range(COUNT))


def test_killed_run_is_taken_up_and_every_photo_is_done_once(models: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # What a kill between the writing and the renaming leaves.
    (out / ".p07.0123abcd.partial" / "frames").mkdir(parents=True)
    with start(models, photos, out, "--frames", 120) as process:
        for _ in range(4):
            assert " -> " in process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    before, entered = written(out), done(out)
    assert 4 <= len(before) < COUNT
    # And what one between the renaming and the entry leaves.
    lines = (out / "manifest.jsonl").read_text().splitlines(keepends=True)
    (out / "manifest.jsonl").write_text("".join(lines[:3]) + lines[3][:20])

    result = run(models, photos, out, "--frames", 120)
    assert result.exit_code == 0, result.output
    assert sum("already done" in line for line in result.stdout.splitlines()) == len(before) >= sum(entered.values())
    assert done(out) == EVERY_PHOTO_ONCE
    assert before.items() <= written(out).items()
    assert len(written(out)) == COUNT
    assert hidden(out) == []


def test_what_changed_is_done_anew_and_nothing_else(models: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for path in sorted(photos.iterdir())[4:]:
        path.unlink()
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert run(models, photos, out).exit_code == 2
    first = written(out)
    failed = [line for line in read_manifests(out) if line["status"] == "failed"]
    assert [line["result"] for line in failed] == ["broken"]
    assert "broken.png: not a picture that can be read" in failed[0]["reason"]

    shutil.copy(photos / "p01.png", photos / "p00.png")
    (out / "p02" / "sharp.png").unlink()
    (photos / "broken.png").unlink()
    assert run(models, photos, out).exit_code == 0
    second = written(out)
    assert {name for name in second if second[name] != first[name]} == {"p00", "p02"}

    assert run(models, photos, out, "--fps", 10).exit_code == 0
    third = written(out)
    assert all(third[name] != second[name] for name in second)
    assert run(models, photos, out, "--fps", 10, "--redo").exit_code == 0
    assert all(written(out)[name] != third[name] for name in third)
    assert json.loads((out / "p00" / "report.json").read_text())["fps"] == 10


def test_a_single_photo_is_made_anew_and_entered_where_there_is_a_manifest(
    models: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    one = photos / "p00.png"
    assert run(models, one, out).exit_code == 0
    assert [path.name for path in out.iterdir()] == ["p00"]
    first = written(out)
    assert run(models, one, out).exit_code == 0
    assert written(out) != first
    again = written(out)
    assert run(models, one, out, "--resume").exit_code == 0
    assert written(out) == again
    assert done(out) == Counter(p00=1)


def test_accelerate_spreads_the_photos_over_processes(models: Path, photos: Path, tmp_path: Path) -> None:
    """Two processes; a photo that fails in one does not keep the other from its own."""
    out = tmp_path / "out"
    (photos / "a.png").write_text("the first photo, so that its process is done with it at once")
    # --multi_gpu starts processes on a machine without one, too; --cpu would start one alone.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", MODULE]
    finished = subprocess.run(
        [sys.executable, *launch, *arguments(models, photos, out)], capture_output=True, text=True, env=environment()
    )
    assert finished.returncode != 0
    assert "a.png: not a picture that can be read" in finished.stderr
    assert done(out) == EVERY_PHOTO_ONCE
    assert len(written(out)) == COUNT
    shares = [len((out / f"manifest-0000{n}-of-00002.jsonl").read_text().splitlines()) for n in (0, 1)]
    assert shares == [5, 4]
    # One process alone finds all of it.
    (photos / "a.png").unlink()
    before = written(out)
    assert run(models, photos, out).exit_code == 0
    assert written(out) == before
    assert done(out) == EVERY_PHOTO_ONCE


def test_jobs_of_an_array_share_the_photos(models: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for index in (0, 1, 2):
        assert run(models, photos, out, "--num-shards", 3, "--shard-index", index).exit_code == 0
    assert done(out) == EVERY_PHOTO_ONCE


def test_an_interrupted_run_leaves_whole_folders_only(models: Path, photos: Path, tmp_path: Path) -> None:
    """By Ctrl-C, and by SIGTERM, with which a cluster takes a machine back."""
    for sent, out in ((signal.SIGINT, tmp_path / "int"), (signal.SIGTERM, tmp_path / "term")):
        with start(models, photos, out, "--frames", 120) as process:
            assert " -> " in process.stdout.readline()
            process.send_signal(sent)
            _, said = process.communicate()
        assert process.returncode not in (0, 2)
        assert "Traceback" not in said
        assert hidden(out) == []
        assert 1 <= len(written(out)) < COUNT
        assert {path.name for path in out.iterdir() if path.is_dir()} == set(written(out)) == set(done(out))


def test_photos_of_one_size_together_give_what_each_gives_alone(models: Path, photos: Path, tmp_path: Path) -> None:
    assert run(models, photos, tmp_path / "alone").exit_code == 0
    assert run(models, photos, tmp_path / "together", "--batch-size", 3).exit_code == 0
    assert done(tmp_path / "together") == EVERY_PHOTO_ONCE
    for name in EVERY_PHOTO_ONCE:
        for file in ("sharp.png", "frames/0001.png"):
            one, other = (np.asarray(Image.open(tmp_path / way / name / file)) for way in ("alone", "together"))
            assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("memory", ["20MB", "4GB"])
def test_little_memory_slows_down_and_stops_nothing(models: Path, photos: Path, tmp_path: Path, memory: str) -> None:
    """20 MB holds a few of these photos at a time, and no batch of eight."""
    result = run(models, photos, tmp_path / "out", "--max-memory", memory, "--batch-size", COUNT)
    assert result.exit_code == 0, result.output
    assert done(tmp_path / "out") == EVERY_PHOTO_ONCE


def test_rows_of_a_data_set(models: Path, photos: Path, tmp_path: Path) -> None:
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(photos.iterdir())[:3]]
    rows[1]["bytes"] = b"no picture"
    features = datasets.Features(image=datasets.Image())
    datasets.Dataset.from_dict({"image": rows}, features=features).to_parquet(tmp_path / "data.parquet")
    result = run(models, tmp_path / "data.parquet", tmp_path / "out")
    assert result.exit_code == 2
    assert f"{tmp_path / 'data.parquet'}, row 1: not a picture that can be read" in result.stderr
    assert done(tmp_path / "out") == Counter({"data/00000000-p00": 1, "data/00000002-p02": 1})
    again = run(models, tmp_path / "data.parquet", tmp_path / "out")
    assert again.stdout.count("already done") == 2
    assert (tmp_path / "out" / "data" / "00000002-p02" / "video.mp4").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batch-size", 0], "--batch-size is 0"),
        (["--num-shards", 2, "--shard-index", 2], "--shard-index is 2, of 2"),
        (["--column", "image"], "--column is for data sets"),
    ],
)
def test_bad_options_are_one_line(models: Path, photos: Path, tmp_path: Path, options: list, said: str) -> None:
    result = run(models, photos, tmp_path / "out", *options)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("sent", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_whose_exception_was_lost_ends_the_run_at_the_next_step(
    sent: signal.Signals, raised: type[BaseException]
) -> None:
    """As one that is raised in a destructor is."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with _ended_by_signals() as end_if_signalled:
        end_if_signalled()
        with suppress(raised):
            signal.raise_signal(sent)
        with pytest.raises(raised):
            end_if_signalled()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

"""``motion-offsets synthesize``, end to end: real MP4 files and photos into pairs, and pairs into ``load_pairs``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from file_limits import files_up_to
from local_hub import local_hub
from PIL import Image
from typer.testing import CliRunner

from motion_offsets.cli import app as cli
from motion_offsets.data import load_pairs
from motion_offsets.data.scenes.motion_flow import blur_with_flow, sample_flow, valid_window
from motion_offsets.data.synthesis.recipes import RECIPES
from motion_offsets.io.video import read_video, write_video


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["synthesize", *(str(argument) for argument in arguments)])


def run_alone(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, where the Hub's client reads these variables."""
    command = [sys.executable, "-c", program, *(str(argument) for argument in arguments)]
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True
    )


@pytest.fixture
def clip(tmp_path: Path, sample_photo) -> Path:
    """A 240-fps clip of 30 frames: a camera pans over a photo."""
    with Image.open(sample_photo("astronaut")) as image:
        pixels = np.asarray(image.convert("RGB").resize((300, 200)))
    frames = [pixels[20:116, 10 + 2 * number : 138 + 2 * number].copy() for number in range(30)]
    return write_video(frames, tmp_path / "pan.mp4", 240)


@pytest.fixture
def photo(tmp_path: Path, sample_photo) -> Path:
    return Path(shutil.copy(sample_photo("chelsea"), tmp_path / "chelsea.png"))


def loaded(folder: Path, split: str = "train") -> list[dict]:
    return list(load_pairs(folder, split, cache_dir=folder.parent / "cache"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [[], ["--format", "parquet", "--split", "test"]], ids=["flat", "parquet"])
@pytest.mark.parametrize("gamma", ["none", "2.2"])
def test_video_to_pairs_and_back(clip, tmp_path, options, gamma):
    result = run(clip, "-o", tmp_path / "out", "--window", 7, "--stride", 10, "--gamma", gamma, *options)
    assert result.exit_code == 0, result.output
    frames, _ = read_video(clip)
    rows = loaded(tmp_path / "out", "test" if options else "train")
    assert [(row["sequence"], row["frame"]) for row in rows] == [("pan", 3), ("pan", 13), ("pan", 23)]
    power = 1.0 if gamma == "none" else float(gamma)
    for row in rows:
        shown = frames[row["frame"] - 3 : row["frame"] + 4]
        np.testing.assert_array_equal(np.asarray(row["sharp"]), shown[3])
        linear = np.mean([(frame / 255) ** power for frame in shown], axis=0)
        assert np.abs(np.asarray(row["blurred"]) - 255 * linear ** (1 / power)).max() < 0.51
    card = (tmp_path / "out" / "README.md").read_text()
    assert "3 pairs" in card
    assert "average of 7 consecutive frames" in card
    assert not [name for name in files(tmp_path / "out") if Path(name).name.startswith(".")]


@pytest.mark.parametrize("format", ["flat", "parquet"])
def test_photos_to_pairs(photo, tmp_path, format):
    out = tmp_path / "out"
    options = ["--recipe", "motion-flow", "--count", 2, "--seed", 5, "--format", format]
    assert run(photo, "-o", out, *options).exit_code == 0
    rows = loaded(out)
    assert [(row["sequence"], row["frame"]) for row in rows] == [("chelsea", 0), ("chelsea", 1)]
    pictures = [np.asarray(row["blurred"]).astype(float) for row in rows]
    assert all(row["blurred"].size == row["sharp"].size for row in rows)
    assert all(np.abs(one - np.asarray(row["sharp"])).mean() > 1 for one, row in zip(pictures, rows, strict=True))
    # The pairs of a photo depend on nothing else that is made beside it.
    run(photo, "-o", tmp_path / "again", *options, "--count", 3)
    for one, row in zip(pictures, loaded(tmp_path / "again"), strict=False):
        np.testing.assert_array_equal(one, np.asarray(row["blurred"]))


def test_dynamic_scenes_from_photos_and_objects(photo, tmp_path):
    pixels = np.zeros((60, 60, 4), np.uint8)
    pixels[10:50, 10:50] = (255, 0, 255, 255)
    (tmp_path / "objects").mkdir()
    Image.fromarray(pixels).save(tmp_path / "objects" / "square.png")
    options = ["--recipe", "dynamic", "--count", 4, "--objects", tmp_path / "objects"]
    result = run(photo, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.stderr
    rows = loaded(tmp_path / "out")
    sharp = [np.asarray(row["sharp"]).reshape(-1, 3) for row in rows]
    assert any((picture == (255, 0, 255)).all(1).sum() > 100 for picture in sharp)
    for row in rows:
        assert np.abs(np.asarray(row["blurred"]).astype(float) - np.asarray(row["sharp"])).mean() > 1
    assert "2 kept" not in result.stdout
    assert "4 kept" in run(photo, "-o", tmp_path / "out", *options).stdout
    assert_line(run(photo, "-o", tmp_path / "no", "--recipe", "dynamic", "--gamma", "none"), "srgb or 2.2")
    assert_line(run(photo, "-o", tmp_path / "no", "--recipe", "motion-flow", "--objects", tmp_path), "recipe dynamic")


def assert_line(result, part):
    assert result.exit_code == 2
    assert part in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_motion_flow_averages_in_linear_light(generator):
    photo = generator.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    flow = sample_flow(200, 220, np.random.default_rng(3))
    for gamma in (None, 2.2):
        blurred, sharp = RECIPES["motion-flow"](photo, np.random.default_rng(3), gamma, ())
        np.testing.assert_array_equal(sharp, photo[valid_window(flow)])
        linear = torch.from_numpy((photo / 255) ** (gamma or 1)).permute(2, 0, 1)
        expected = blur_with_flow(linear, flow).permute(1, 2, 0).numpy()[valid_window(flow)] ** (1 / (gamma or 1))
        assert np.abs(blurred - 255 * expected).max() < 0.51


@pytest.mark.parametrize("format", ["flat", "parquet"])
def test_goes_on_where_it_stopped(clip, photo, tmp_path, format):
    """The disk takes the first pair, which is flat, and not the second, which is textured and so a larger file."""
    frames = [np.full((96, 128, 3), 10 + 2 * number, np.uint8) for number in range(7)]
    write_video([*frames, *read_video(clip)[0]], tmp_path / "grows.mp4", 240)
    videos = [tmp_path / "grows.mp4", clip]
    options = ["--window", 7, "--format", format]
    assert run(*videos, "-o", tmp_path / "at once", *options).exit_code == 0
    with files_up_to(6000):
        done = run(*videos, "-o", tmp_path / "out", *options)
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "File too large" in line
    kept = files(tmp_path / "out")
    assert not [name for name in kept if Path(name).name.startswith(".")]
    if format == "flat":
        assert [row["frame"] for row in loaded(tmp_path / "out")] == [3]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    result = run(*videos, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out").keys() == files(tmp_path / "at once").keys()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for one, other in zip(loaded(tmp_path / "out"), loaded(tmp_path / "at once"), strict=True):
        assert (one["sequence"], one["frame"]) == (other["sequence"], other["frame"])
        np.testing.assert_array_equal(np.asarray(one["blurred"]), np.asarray(other["blurred"]))
    # A third run finds everything there and makes nothing.
    before = files(tmp_path / "out")
    assert "0 pairs made, 4 kept" in run(*videos, "-o", tmp_path / "out", *options).output
    assert files(tmp_path / "out") == before


def test_a_pair_of_which_half_is_there_is_made_again(clip, tmp_path):
    run(clip, "-o", tmp_path / "out", "--window", 7)
    whole = files(tmp_path / "out")
    (tmp_path / "out" / "train" / "blur" / "pan" / "000010.png").unlink()
    record = tmp_path / "out" / "synthesis.json"
    started = json.loads(record.read_text())
    del started["sources"]["pan"]["finished"]  # as it is while the video is being read
    record.write_text(json.dumps(started))
    assert "1 pair made, 3 kept" in run(clip, "-o", tmp_path / "out", "--window", 7).output
    assert files(tmp_path / "out") == whole


def test_a_broken_video_is_reported_and_the_others_go_on(clip, tmp_path):
    (tmp_path / "videos").mkdir()
    whole = clip.read_bytes()
    (tmp_path / "videos" / "a-cut.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "videos" / "b-words.mp4").write_text("no video")
    shutil.move(clip, tmp_path / "videos" / "pan.mp4")
    result = run(tmp_path / "videos", "-o", tmp_path / "out", "--window", 7)
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2
    assert "a-cut.mp4" in lines[0]
    assert "b-words.mp4" in lines[1]
    rows = [(row["sequence"], row["frame"]) for row in loaded(tmp_path / "out")]
    assert rows[0] == ("a-cut", 3)
    assert rows[-4:] == [("pan", 3), ("pan", 10), ("pan", 17), ("pan", 24)]


def test_bad_input_is_one_line(clip, photo, tmp_path):
    slow = write_video(read_video(clip)[0], tmp_path / "slow.mp4", 30)
    run(clip, "-o", tmp_path / "made", "--window", 7)
    (tmp_path / "other").mkdir()
    shutil.copy(clip, tmp_path / "other" / "holiday.txt")
    shutil.copy(slow, tmp_path / "other" / "pan.mp4")
    before = files(tmp_path)
    for arguments, words in (
        ([slow], "ghosts"),
        ([tmp_path / "gone.mp4"], "no such file"),
        ([photo], "--recipe"),
        ([clip, "--window", 8], "window is 8"),
        ([clip, "--stride", 0], "stride is 0"),
        ([clip, "--gamma", "bright"], "--gamma 'bright'"),
        ([clip, "--gamma", "-1"], "gamma is -1"),
        ([clip, "--window", 31], "too short"),
        ([clip, "--format", "tar"], "format is 'tar'"),
        ([clip, "--split", "all"], "split is 'all'"),
        ([photo, "--recipe", "shake"], "recipe is 'shake'; it must be one of motion-flow, dynamic"),
        ([clip, "--push-to-hub", "no/such/name"], "no/such/name: the Hub does not allow this name"),
    ):
        result = run(*arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2, result.output
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("error: ")
        assert words in line
    for arguments, words in (
        ([clip, "-o", tmp_path / "made", "--window", 9], "made with window 7, not 9"),
        ([tmp_path / "other" / "pan.mp4", "-o", tmp_path / "made", "--window", 7], "another file of this name"),
        ([clip, "-o", tmp_path / "other"], "holds no synthesised pairs"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr
    assert files(tmp_path) == before


def test_a_video_of_any_name_loads_back(clip, tmp_path):
    for name in ("input", "gt", "test"):
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    videos = [tmp_path / f"{name}.mp4" for name in ("input", "gt", "test")]
    assert run(*videos, "-o", tmp_path / "out", "--window", 7).exit_code == 0
    assert sorted({row["sequence"] for row in loaded(tmp_path / "out")}) == ["gt", "input", "test"]


def test_a_mended_video_is_taken_up(clip, tmp_path):
    whole = clip.read_bytes()
    (tmp_path / "broken.mp4").write_bytes(whole[: len(whole) // 2])
    arguments = [tmp_path / "broken.mp4", clip, "-o", tmp_path / "out", "--window", 7]
    assert run(*arguments).exit_code == 2
    (tmp_path / "broken.mp4").write_bytes(whole)
    assert run(*arguments).exit_code == 0
    assert {row["sequence"] for row in loaded(tmp_path / "out")} == {"broken", "pan"}


PUSH_AND_READ = """
import hashlib, json
from motion_offsets.cli.app import app
from motion_offsets.data import load_pairs
from motion_offsets.errors import BadInputError
try:
    app()
except SystemExit as end:
    print("exit code", end.code)
print("READ")
for streaming in (False, True):
    rows = load_pairs("tester/pairs", streaming=streaming)
    print(json.dumps([[row["frame"], hashlib.sha256(row["blurred"].tobytes()).hexdigest()] for row in rows]))
    try:
        load_pairs("tester/others", streaming=streaming)
    except BadInputError as error:
        print(error)
"""


@pytest.mark.parametrize("format", ["flat", "parquet"])
def test_push_to_hub_and_load_from_it(clip, tmp_path, format):
    options = ["--window", "7", "--format", format, "--push-to-hub", "tester/pairs", "--private"]
    with local_hub(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        done = run_alone(PUSH_AND_READ, "synthesize", clip, "-o", tmp_path / "out", *options, **environment)
    assert done.returncode == 0, done.stderr
    pushed, _, read = done.stdout.partition("READ\n")
    assert "exit code 0" in pushed
    assert f"{hub.address}/datasets/tester/pairs" in pushed
    (created,) = hub.created
    assert created["name"] == "pairs"
    assert created.get("private") or created.get("visibility") == "private"
    assert sorted(files(hub.folder)) == ["README.md", "data/train-00000.parquet"]
    rows = loaded(tmp_path / "out")
    expected = [[row["frame"], hashlib.sha256(row["blurred"].tobytes()).hexdigest()] for row in rows]
    assert [frame for frame, _ in expected] == [3, 10, 17, 24]
    lines = read.splitlines()
    assert [json.loads(line) for line in lines[::2]] == [expected, expected], done.stderr
    assert lines[1] == lines[3]
    assert lines[1].startswith("tester/others: no folder or file here, and not found on the Hub")


def test_push_to_hub_needs_a_login_before_anything_is_made(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    done = run(clip, "-o", tmp_path / "out", "--push-to-hub", "tester/pairs")
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert "hf auth login" in line
    assert not (tmp_path / "out").exists()

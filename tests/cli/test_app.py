"""The command line, end to end on tiny networks: what it writes, what it says of bad input, and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from commands import assert_refused, run
from PIL import Image

from motion_offsets import __version__
from motion_offsets.cli.reporting import BAD_INPUT, report, say
from motion_offsets.errors import BadInputError
from motion_offsets.io.video import read_video

SIZE = (70, 51)


@pytest.fixture
def photo(tmp_path: Path, sample_photo) -> Path:
    with Image.open(sample_photo("clock_motion")) as image:
        image.convert("RGB").resize(SIZE).save(tmp_path / "clock.png")
    return tmp_path / "clock.png"


def extract(models: Path, out: Path, *arguments: object) -> Result:
    models_used = ("--model", models / "motion", "--deblurrer", models / "sharp", "--device", "cpu")
    return run("extract", "-o", out, *models_used, *arguments)


def test_extract_writes_everything(models: Path, photo: Path, tmp_path: Path) -> None:
    result = extract(models, tmp_path / "out", photo, "--frames", 4, "--fps", 10, "--gif", "--webp", "--refine", 0)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "clock"
    report = json.loads((folder / "report.json").read_text())
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(report["files"])
    assert [path.name for path in sorted((folder / "frames").iterdir())] == [f"000{n}.png" for n in (1, 2, 3, 4)]
    for name in ("sharp.png", "trajectories.png", "flow.png", "frames/0001.png"):
        with Image.open(folder / name) as picture:
            assert picture.size == SIZE
    frames, fps = read_video(folder / "video.mp4")
    assert (len(frames), fps) == (4, 10)
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    with Image.open(folder / "video.gif") as gif, Image.open(folder / "video.webp") as webp:
        assert gif.n_frames == webp.n_frames == 4
    assert report["timestamps"] == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert report["consistency"]["mean_offset_length"] == pytest.approx(3 * 8 / 15)
    # The networks are known: the first frame is the photo 3 pixels further to the right.
    pixels = np.asarray(Image.open(photo))
    with Image.open(folder / "frames" / "0001.png") as first:
        np.testing.assert_array_equal(np.asarray(first)[:, 3:], pixels[:, :-3])
    with np.load(folder / "motion_offsets.npz") as saved:
        assert saved["control_points"].shape == (4, SIZE[1], SIZE[0])
        assert saved["control_points"].dtype == np.float16
        assert str(saved["trajectory"]) == "quadratic"


def test_extract_tells_of_the_camera_unless_it_is_told_not_to(models: Path, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8769)[0xA405] = 26
    with Image.open(photo) as image:
        image.load()
        image.save(photo, exif=exif)
    result = extract(models, tmp_path / "out", photo, "--frames", 2)
    assert result.exit_code == 0, result.output
    assert "the camera explains 100%" in result.output
    folder = tmp_path / "out" / "clock"
    camera = json.loads((folder / "report.json").read_text())["camera"]
    assert (camera["mode"], camera["moved"], camera["used"], camera["explained"]) == ("auto", True, True, 1)
    assert np.abs(camera["path_pixels"][0]).tolist() == pytest.approx([3, 0], abs=1e-3)
    # 3 pixels, of a photo whose diagonal is 43.3 mm.
    focal = 26 * np.hypot(*SIZE) / np.hypot(36, 24)
    turn = np.degrees(np.arctan(3 / focal))
    assert np.abs(camera["rotation_degrees"][-1]).tolist() == pytest.approx([0, turn, 0], abs=1e-3)
    with Image.open(folder / "camera.png") as picture:
        assert picture.size == (360, 360)

    result = extract(models, tmp_path / "out", photo, "--frames", 2, "--camera", "off")
    assert result.exit_code == 0, result.output
    assert not (folder / "camera.png").exists()
    assert json.loads((folder / "report.json").read_text())["camera"] == {"mode": "off"}


def test_a_photo_of_one_colour_has_no_motion(models: Path, tmp_path: Path) -> None:
    Image.new("RGB", SIZE, (90, 120, 60)).save(tmp_path / "wall.png")
    result = extract(models, tmp_path / "out", tmp_path / "wall.png", "--frames", 2)
    assert result.exit_code == 0, result.output
    assert "the camera did not move" in result.output
    with np.load(tmp_path / "out" / "wall" / "motion_offsets.npz") as saved:
        assert np.abs(saved["control_points"]).max() == 0


@pytest.mark.parametrize("command", ["extract", "trajectories", "deblur"])
def test_a_camera_mode_that_does_not_exist(command: str, models: Path, photo: Path, tmp_path: Path) -> None:
    result = run(command, photo, "-o", tmp_path / "out", "--camera", "tripod")
    assert_refused(result, "--camera is 'tripod'; it must be one of auto, off, only")
    assert not (tmp_path / "out").exists()
    result = run("evaluate", "bsd-motion-flow", "--images", tmp_path, "--camera", "tripod")
    assert_refused(result, "--camera is 'tripod'; it must be one of auto, off, only")


@pytest.mark.parametrize("command", ["trajectories", "deblur"])
def test_pictures_with_and_without_the_camera(command: str, models: Path, photo: Path, tmp_path: Path) -> None:
    method = ("--method", "map") if command == "deblur" else ()
    made = []
    Image.new("RGB", SIZE, (90, 120, 60)).save(photo)
    for mode in ("auto", "off"):
        target = tmp_path / f"{mode}.png"
        result = run(command, photo, "-o", target, "--model", models / "motion", "--camera", mode, *method)
        assert result.exit_code == 0, result.output
        made.append(np.asarray(Image.open(target)))
    # A wall gets dots instead of curves; deblurred, it stays one colour.
    assert np.array_equal(*made) == (command == "deblur")


def test_batch_goes_on_after_a_failed_photo(models: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    shutil.copy(photo, tmp_path / "more" / "clock.png")
    (tmp_path / "more" / "broken.jpg").write_bytes(photo.read_bytes()[:300])
    result = extract(models, tmp_path / "out", tmp_path / "missing.png", tmp_path / "more", photo, "--frames", 2)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 2
    assert str(tmp_path / "missing.png") in result.stderr
    assert str(tmp_path / "more" / "broken.jpg") in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clock", "clock-2", "manifest.jsonl"]


def test_refined_and_safe_answers_are_told_apart(models: Path, photo: Path, tmp_path: Path) -> None:
    again = ("--resume", "--frames", 2)
    unrefined = ("--refine", 0)
    kinds = (((), False, 40), (unrefined, False, 0), ((*unrefined, "--safe"), True, 0), (("--refine", 1), False, 1))
    for options, safe, steps in kinds:
        result = extract(models, tmp_path, photo, *options, *again)
        assert result.exit_code == 0, result.output
        assert "already done" not in result.output
        report = json.loads((tmp_path / photo.stem / "report.json").read_text())
        assert (report["safe"], report["refine_steps"]) == (safe, steps)
        assert -1 <= report["consistency"]["explained"] <= 1
    assert "already done" in extract(models, tmp_path, photo, "--refine", 1, *again).output


def test_deblur_refines_as_extract_does(sample_photo, tmp_path: Path) -> None:
    """With the bundled models, on a photo that a moving camera blurred."""
    photo, made = sample_photo("clock_motion"), {}
    assert run("extract", photo, "-o", tmp_path / "out", "--frames", 2, "--refine", 2).exit_code == 0
    made["extract"] = tmp_path / "out" / photo.stem / "sharp.png"
    for steps in (2, 0):
        made[steps] = tmp_path / f"{steps}.png"
        assert run("deblur", photo, "-o", made[steps], "--refine", steps).exit_code == 0
    pixels = {name: np.asarray(Image.open(path)) for name, path in made.items()}
    np.testing.assert_array_equal(pixels[2], pixels["extract"])
    assert (pixels[2] != pixels[0]).mean() > 0.1
    assert_refused(run("deblur", photo, "-o", tmp_path / "no.png", "--refine", -2), "--refine is -2")
    assert not (tmp_path / "no.png").exists()


def test_nothing_is_left_of_a_failed_run(models: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    assert_refused(extract(models, tmp_path / "out", tmp_path / "text.jpg"), tmp_path / "text.jpg")
    assert [entry.name for entry in tmp_path.iterdir()] == ["text.jpg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--frames", 1], "from 2 to 9999"),
        (["--fps", 0], "--fps is 0"),
        (["--refine", -2], "--refine is -2"),
        (["--max-memory", "much"], "4GB or 800MB"),
        (["--max-memory", "1MB"], "give at least"),
        (["--device", "abacus"], "--device 'abacus'"),
        (["--dtype", "int3"], "--dtype 'int3'"),
    ],
)
def test_bad_options_are_one_line(models: Path, photo: Path, tmp_path: Path, options: list[object], said: str) -> None:
    assert_refused(extract(models, tmp_path / "out", photo, *options), said)
    assert not (tmp_path / "out").exists()


def test_unknown_models_are_one_line(photo: Path, tmp_path: Path) -> None:
    assert_refused(
        run("extract", photo, "-o", tmp_path / "out", "--model", "no-such-model"), "no-such-model", "bundled"
    )


def test_output_that_cannot_be_written(models: Path, photo: Path, tmp_path: Path) -> None:
    assert_refused(extract(models, photo, photo), photo, "is a file")
    (tmp_path / "out" / "clock").mkdir(parents=True)
    (tmp_path / "out" / "clock" / "diary.txt").write_text("mine")
    assert_refused(extract(models, tmp_path / "out", photo), "diary.txt")
    assert (tmp_path / "out" / "clock" / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extract"], "PHOTO"),
        (["extract", "x.png"], "--output"),
        (["nothing"], "nothing"),
        (["--nothing"], "--nothing"),
        (["extract", "x.png", "-o", "y", "--frames", "many"], "--frames"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], said: str) -> None:
    assert_refused(run(*arguments), said, "--help")


def test_no_arguments_show_the_help() -> None:
    assert "slow-motion" in run().output


def test_own_faults_exit_with_one(models: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline.assess", fail)
    result = extract(models, tmp_path / "out", photo)
    assert result.exit_code == 1
    assert "ZeroDivisionError: a bug" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    with pytest.raises(ZeroDivisionError):
        raise extract(models, tmp_path / "out", photo, "--debug").exception
    assert not (tmp_path / "out").exists()


def test_deblur_and_trajectories(models: Path, photo: Path, tmp_path: Path) -> None:
    arguments = ("--model", models / "motion", "--deblurrer", models / "sharp")
    assert run("deblur", photo, "-o", tmp_path / "sharp.png", *arguments).exit_code == 0
    assert run("deblur", photo, "-o", tmp_path / "map.png", "--method", "map", *arguments).exit_code == 0
    with Image.open(tmp_path / "sharp.png") as sharp, Image.open(photo) as blurred:
        np.testing.assert_array_equal(np.asarray(sharp), np.asarray(blurred))
    assert run("trajectories", photo, "-o", tmp_path / "drawn", "--model", models / "motion").exit_code == 0
    with Image.open(tmp_path / "drawn" / "clock.png") as drawn:
        assert drawn.size == SIZE
    result = run("deblur", tmp_path / "gone.png", "-o", tmp_path / "gone" / "sharp.png", *arguments)
    assert_refused(result, tmp_path / "gone.png")
    assert not (tmp_path / "gone").exists()


def test_reblur_uses_the_saved_motion(models: Path, photo: Path, tmp_path: Path) -> None:
    extract(models, tmp_path / "out", photo, "--frames", 2, "--refine", 0)
    motion = tmp_path / "out" / "clock" / "motion_offsets.npz"
    assert run("reblur", photo, "--offsets", motion, "-o", tmp_path / "blurred.png").exit_code == 0
    pixels = np.asarray(Image.open(photo), dtype=np.float64)
    # The exposure is the mean of the photo moved by -3 ... 3 pixels in 15 steps of 3/7.
    columns = np.arange(SIZE[0])
    expected = np.mean(
        [
            np.stack([np.interp(columns + shift, columns, line) for line in pixels[20].T], axis=1)
            for shift in np.linspace(-3, 3, 15)
        ],
        axis=0,
    )
    with Image.open(tmp_path / "blurred.png") as blurred:
        assert np.abs(np.asarray(blurred)[20] - expected).max() < 0.75
    Image.open(photo).resize((64, 64)).save(tmp_path / "other.png")
    assert_refused(
        run("reblur", tmp_path / "other.png", "--offsets", motion, "-o", tmp_path / "no.png"), "64x64", "70x51"
    )
    assert_refused(run("reblur", photo, "--offsets", photo, "-o", tmp_path / "no.png"), photo, "no motion offsets")
    assert not (tmp_path / "no.png").exists()


def test_the_help_loads_no_library_of_networks() -> None:
    """So that it is there at once."""
    program = (
        "import sys\nfrom motion_offsets.cli.app import app\n"
        "try:\n    app(['extract', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers', 'diffusers', 'gradio', 'scipy', 'av'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "--output" in shown
    assert shown.splitlines()[-1] == "[]"


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == f"motion-offsets {__version__}"
    for command in ("extract", "deblur", "trajectories", "reblur", "evaluate"):
        assert run(command, "--help").exit_code == 0


def test_a_files_name_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """A line about it stays one line, and a terminal obeys nothing in it."""
    assert report(BadInputError("\x1b[2Jred\npicture\x9b.png: is a folder")) == BAD_INPUT
    say("caf\u00e9 \udcff\r.png -> out/a\nb")
    said = capsys.readouterr()
    assert said.err == "error: \\x1b[2Jred\\npicture\\x9b.png: is a folder\n"
    assert said.out == "caf\u00e9 \\udcff\\r.png -> out/a\\nb\n"

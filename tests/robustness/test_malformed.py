"""Malformed inputs through the command line, Python and the page: one line that names them, and nothing left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import assert_refused, run
from malformed import Malformed, all_malformed, photo
from tiny_models import save_tiny_models

from motion_offsets import BlurToVideoPipeline, EtrajModel
from motion_offsets.errors import BadInputError
from motion_offsets.io.motion_files import read_motion
from motion_offsets.pipelines.from_names import load_pipeline

with tempfile.TemporaryDirectory() as _folder:
    INPUTS = all_malformed(save_tiny_models(Path(_folder)) / "motion")


@pytest.fixture(scope="module")
def pipe(models: Path) -> BlurToVideoPipeline:
    return load_pipeline(str(models / "motion"), str(models / "sharp"))


@pytest.fixture
def given(tmp_path: Path, models: Path) -> Callable[[Malformed], Path]:
    """Writes an input where it belongs, and returns the path that a user would give."""

    def write(malformed: Malformed) -> Path:
        if malformed.kind in ("photo", "motion"):
            file = tmp_path / f"given{malformed.suffix}"
            file.write_bytes(malformed.content)
            return file
        model = tmp_path / "model"
        shutil.copytree(models / "motion", model)
        (model / {"config": "config.json", "weights": "model.safetensors"}[malformed.kind]).write_bytes(
            malformed.content
        )
        return model

    return write


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refusal(action: Callable[[], object]) -> str | None:
    """What a person is told, or ``None`` if the input could be used; any other error is a fault of ours."""
    try:
        action()
    except BadInputError as error:
        return str(error)
    return None


def command(malformed: Malformed, path: Path, models: Path) -> list[object]:
    """A command that takes such an input, without its output."""
    intact = path.parent / "intact.png"
    photo().save(intact)
    motion, sharp = ("--model", models / "motion", "--device", "cpu"), ("--deblurrer", models / "sharp")
    if malformed.kind == "photo":
        every = (
            ["deblur", path, *motion, *sharp],
            ["trajectories", path, *motion],
            ["extract", path, *motion, *sharp, "--frames", 2],
        )
        return list(every[len(malformed.content) % len(every)])
    if malformed.kind == "motion":
        return ["reblur", intact, "--offsets", path]
    return ["trajectories", intact, "--model", path, "--device", "cpu"]


def in_python(malformed: Malformed, path: Path, pipe: BlurToVideoPipeline) -> None:
    if malformed.kind == "photo":
        pipe.preprocess(str(path))
    elif malformed.kind == "motion":
        read_motion(path)
    else:
        EtrajModel.from_pretrained(path)


@pytest.mark.malformed
@pytest.mark.parametrize("malformed", INPUTS, ids=lambda malformed: malformed.name)
def test_one_line_that_names_it(
    malformed: Malformed,
    given: Callable[[Malformed], Path],
    models: Path,
    pipe: BlurToVideoPipeline,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = given(malformed)
    arguments = command(malformed, path, models)
    before = snapshot(tmp_path)
    result = run(*arguments, "-o", tmp_path / "out")
    if result.exit_code != 0:
        assert_refused(result, path)
        assert "a bug in this program" not in result.stderr
        assert snapshot(tmp_path) == before
    else:
        assert not list(tmp_path.rglob(".*")), "nothing is half-written"
        assert snapshot(tmp_path).items() > before.items()
    message = refusal(lambda: in_python(malformed, path, pipe))
    assert (message is not None) == (result.exit_code == 2), message
    assert message is None or (str(path) in message and "\n" not in message)
    assert capfd.readouterr().err == "", "libraries keep their remarks to themselves"


@pytest.mark.malformed
@pytest.mark.parametrize(
    "malformed", [each for each in INPUTS if each.kind == "photo"], ids=lambda malformed: malformed.name
)
def test_the_page_says_what_is_wrong(malformed: Malformed, given: Callable[[Malformed], Path]) -> None:
    pytest.importorskip("gradio", reason="the web page needs the demo extra")
    from motion_offsets.demo.limits import Limits
    from motion_offsets.demo.photos import open_photo

    path, limits = given(malformed), Limits()
    message = refusal(lambda: open_photo(str(path), limits.working_pixels[0], limits))
    if message is not None:
        assert message.startswith("Your photo")
        assert str(path.parent) not in message
        assert "\n" not in message


SPOILED = [
    (["extract", "PHOTO", "--frames", value], "--frames") for value in ("many", "", "1", "-3", "1e3", "99999999999999")
]
SPOILED += [(["extract", "PHOTO", "--fps", value], "--fps") for value in ("fast", "0", "-5", "nan", "inf", "1e300")]
SPOILED += [(["extract", "PHOTO", "--refine", value], "--refine") for value in ("-1", "few", "2.5")]
SPOILED += [(["extract", "PHOTO", "--batch-size", value], "--batch-size") for value in ("0", "-2", "some")]
SPOILED += [(["extract", "PHOTO", "--num-shards", value], "--num-shards") for value in ("0", "-1", "x")]
SPOILED += [(["extract", "PHOTO", "--shard-index", value], "--shard-index") for value in ("-1", "1", "x")]
SPOILED += [
    (["deblur", "PHOTO", "--max-memory", value], "--max-memory") for value in ("", "lots", "-1GB", "1e999", "nan")
]
SPOILED += [(["deblur", "PHOTO", "--device", value], "--device") for value in ("", "gpu", "cuda:99", "cpu:x", "\n")]
SPOILED += [(["deblur", "PHOTO", "--dtype", value], "--dtype") for value in ("", "int8", "float64", "float 32")]
SPOILED += [(["deblur", "PHOTO", "--method", value], "--method") for value in ("", "magic", "NETWORK")]
SPOILED += [
    (["trajectories", "PHOTO", "--model", value], "model")
    for value in ("", "/", "a/b/c", "none", "~nobody/x", "\0", "x" * 5000)
]
SPOILED += [
    (["trajectories", value], repr(value)[1:9].rstrip("'"))
    for value in ("", "\0", "x" * 300 + ".png", "/dev/null", "https:a.png", "[", "*.nothing")
]
SPOILED += [
    (["reblur", "PHOTO", "--offsets", value], repr(value)[1:9].rstrip("'"))
    for value in ("", "\0", "gone.npz", "gone.safetensors", "/")
]
SPOILED += [(["reblur", "PHOTO", "--offsets", "x.npz", "--gamma", value], "gamma") for value in ("bright",)]
SPOILED += [(["deblur", "PHOTO", "--sharper"], "--sharper"), (["sharpen", "PHOTO"], "sharpen"), (["extract"], "PHOTO")]


@pytest.mark.malformed
@pytest.mark.parametrize(("arguments", "said"), SPOILED, ids=lambda value: repr(value)[:60])
def test_arguments(
    arguments: list[str], said: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo().save(tmp_path / "intact.png")
    used = [argument.replace("PHOTO", "intact.png") if argument == "PHOTO" else argument for argument in arguments]
    if "--model" not in used and used[0] in ("extract", "deblur", "trajectories"):
        used += ["--model", str(models / "motion")]
    if used[0] in ("extract", "deblur"):
        used += ["--deblurrer", str(models / "sharp")]
    before = snapshot(tmp_path)
    assert_refused(run(*used, "-o", "out"), said)
    assert snapshot(tmp_path) == before

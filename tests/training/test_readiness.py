"""What is refused at the start, and what leaves the run: trackers, the Hub."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from hub_server import Hub, User
from huggingface_hub import ModelCard
from launching import ESTIMATOR, TINY, TRAIN, finished, run_here, train_here

from motion_offsets.errors import BadInputError
from motion_offsets.training.config_files import read_options
from motion_offsets.training.readiness import TRACKER_PACKAGES, check_room, check_surroundings


@pytest.mark.parametrize(
    ("script", "package"),
    [
        ("train", "accelerate"),
        ("train", "motion_offsets"),
        ("evaluate", "torch"),
        ("reproduce", "torch"),
        ("reproduce", "motion_offsets"),
    ],
)
def test_a_missing_package_is_one_line_with_a_command(script: str, package: str) -> None:
    """What is not installed here is told apart from a fault, whatever it is; the command works from any folder."""
    hidden = f"import runpy, sys; sys.modules[{package!r}] = None; sys.path.insert(0, {str(TRAIN)!r}); "
    code = f"{hidden}sys.argv = [{str(TRAIN / f'{script}.py')!r}]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script}.py: ")
    assert package in line
    assert line.endswith(f"pip install -e '{TRAIN.parent}[train,eval]'")


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="is a file, so .*run cannot be a folder"):
        check_surroundings(read_options(["--images", "x", "--output_dir", str(tmp_path / "file" / "run")]))


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "yet", 1)
    with pytest.raises(BadInputError, match="MB to spare and the checkpoints take 1000000000000 MB"):
        check_room(tmp_path / "not" / "yet", 10**18)


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    missing = [name for name, (package, *_) in TRACKER_PACKAGES.items() if not importlib.util.find_spec(package)]
    missing = [name for name in missing if name != "tensorboard"]
    if not missing:
        pytest.skip("all trackers are installed")
    given = ["--images", "x", "--output_dir", str(tmp_path / "run"), "--report_to", missing[0]]
    with pytest.raises(BadInputError, match=f"report_to names {missing[0]}, which is not installed: pip install"):
        check_surroundings(read_options(given))


@pytest.mark.usefixtures("_signals")
def test_a_tracker_gets_losses_figures_and_pictures(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="no tensorboardX")
    images = ["--images", photos, "--validation_images", photos]
    run_here(*images, *TINY, *ESTIMATOR, "--steps", "1", "--output_dir", tmp_path, "--report_to", "tensorboard")
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("events.out*"))
    for name in (b"total_variation", b"validation_reblur_psnr", b"validation\x22", b"IHDR", b"learning_rate"):
        assert name in written, name


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--mixed_precision", "fp16"], "mixed_precision is fp16, which is for GPUs"),
        (["--compile", "true"], "compile is true, which is for GPUs"),
    ],
)
def test_what_is_for_gpus_is_refused_on_a_cpu(
    option: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    given = ["--images", "x", "--output_dir", str(tmp_path / "run"), *option]
    with pytest.raises(BadInputError, match=message):
        check_surroundings(read_options(given))


def test_an_average_of_cut_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as `accelerate launch` tells its processes
    given = ["--images", "x", "--output_dir", str(tmp_path / "run"), "--ema_decay", "0.9"]
    with pytest.raises(BadInputError, match=r"ema_decay is 0.9, and no average is kept"):
        check_surroundings(read_options(given))


@pytest.fixture
def hub(_signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that knows one user, who is logged in; for this process it is the Hub."""
    with Hub() as hub:
        hub.users["hf_test"] = User("tester")
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        yield hub


def test_push_to_hub_wants_a_token_at_the_start(
    hub: Hub, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    given = ["--images", photos, *TINY, *ESTIMATOR, "--output_dir", tmp_path / "run", "--push_to_hub", "tester/etraj"]
    done = train_here(*given)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "push_to_hub tester/etraj: nobody is logged in; run hf auth login" in line
    assert not (tmp_path / "run").exists()


def test_a_hub_that_is_not_there_is_told_at_the_start(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    done = train_here("--images", "x", "--push_to_hub", "tester/etraj")
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("train.py: push_to_hub tester/etraj: the connection to the Hub broke")
    assert "Traceback" not in done.stderr


def test_push_to_hub_makes_nothing_when_the_data_is_not_there(hub: Hub, tmp_path: Path) -> None:
    given = ["--images", tmp_path / "nowhere", *TINY, *ESTIMATOR, "--push_to_hub", "tester/etraj"]
    done = train_here(*given, "--output_dir", tmp_path / "run")
    assert done.returncode == 2
    assert "nowhere: no such folder" in done.stderr
    assert list(hub.repos) == []


def test_push_to_hub_sends_the_model_and_its_card(photos: Path, tmp_path: Path) -> None:
    """In a process of its own, which finds the Hub by its environment."""
    with Hub() as hub:
        hub.users["hf_test"] = User("tester")
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"}
        given = ["--images", photos, "--validation_images", photos, *TINY, *ESTIMATOR, "--steps", "1"]
        given += ["--output_dir", tmp_path / "run", "--push_to_hub", "tester/etraj"]
        done = finished(*given, HF_HOME=str(tmp_path), HF_HUB_DISABLE_XET="1", **environment)
        files = hub.head("tester/etraj")
    assert f"pushed to {hub.endpoint}/tester/etraj" in done.stderr
    assert files["model.safetensors"] == (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    card = files["README.md"].decode()
    measured = json.loads(files["training.json"])["validation"]["reblur_psnr"]
    assert f"| `reblur_psnr` | {measured:.4g} |" in card
    (result, *_) = ModelCard(card, ignore_metadata_errors=False).data.eval_results
    assert (result.metric_name, result.metric_value) == ("reblur_psnr (dB)", measured)
    assert 'EtrajModel.from_pretrained("tester/etraj")' in card
    assert str(tmp_path) not in card


def test_push_to_hub_wants_the_right_to_write_at_the_start(hub: Hub, photos: Path, tmp_path: Path) -> None:
    given = ["--images", photos, *TINY, *ESTIMATOR, "--output_dir", tmp_path / "run", "--push_to_hub", "other/etraj"]
    done = train_here(*given)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "push_to_hub other/etraj: the Hub refused" in line
    assert not (tmp_path / "run").exists()

"""Benchmarks along the true motion: the figures, what goes with it, and what the shipped weights gain by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import assert_refused
from commands import run as command
from PIL import Image

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.motion_flow import motion_flow_pairs, score_sharp
from motion_offsets.evaluation.run import run
from motion_offsets.exposure.trajectories import TRAJECTORIES
from motion_offsets.pipelines.blur_to_video import BlurToVideoPipeline


@pytest.fixture
def folders(tmp_path: Path, astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A photo of 176x168 pixels, and a label map with an object in the middle of it."""
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    maps.mkdir()
    labels = np.zeros((168, 176), np.uint8)
    labels[60:110, 70:120] = 1
    pixels = (astronaut[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels[:168, 150:326]).save(photos / "a.png")
    Image.fromarray(labels).save(maps / "a.png")
    monkeypatch.setenv("MOTION_OFFSETS_CACHE", str(tmp_path / "cache"))
    return photos, maps


@pytest.fixture(scope="module")
def deblurrer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deblurrer with random weights that uses motion and carries an estimator of its own."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("deblurrer")
    config = MaDmphnConfig(base_channels=2, levels=(1,), estimator_config=EtrajConfig(base_channels=2))
    MaDmphnForImageDeblurring(config).save_pretrained(folder)
    return folder


def _estimator(folder: Path, trajectory: str) -> str:
    EtrajModel(EtrajConfig(base_channels=2, trajectory=trajectory)).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_straight_motions_are_taken_as_they_are(trajectory: str, folders: tuple[Path, Path], tmp_path: Path) -> None:
    model = _estimator(tmp_path / "estimator", trajectory)
    found, true = (
        run("bsd-motion-flow", folders[0], model, "none", device="cpu", true_motion=true) for true in (False, True)
    )
    assert true["true_motion"] is True
    assert "true_motion" not in found
    assert true["motion_mse"] == pytest.approx(0, abs=1e-8)
    assert true["flat_length"] == pytest.approx(true["flat_length_true"])
    assert true["reblur_psnr"] > 33 > found["reblur_psnr"] + 5
    assert true["estimator_seconds"] is None
    assert true["data_sha256"] == found["data_sha256"]


def test_the_deblurrer_is_given_the_true_motion(folders: tuple[Path, Path], deblurrer: Path, tmp_path: Path) -> None:
    model = _estimator(tmp_path / "estimator", "quadratic")
    result = run("bsd-motion-flow", folders[0], model, str(deblurrer), device="cpu", true_motion=True)
    estimator, network = EtrajModel.from_pretrained(model), MaDmphnForImageDeblurring.from_pretrained(deblurrer)
    pipe = BlurToVideoPipeline(estimator.eval(), network.eval())
    expected = []
    for pair in motion_flow_pairs(pipe.preprocess(folders[0] / "a.png"), "a.png"):
        points = torch.cat([-pair.flow / 2, pair.flow / 2], 1)
        expected.append(score_sharp(pair, pipe.deblur(pair.blurred, points))["deblur_psnr"])
    assert result["deblur_psnr"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_bent_paths_are_as_true_as_the_trajectory_can_be(folders: tuple[Path, Path], tmp_path: Path) -> None:
    photos, maps = folders
    errors = {}
    for trajectory in ("linear", "quadratic", "zero-constraint"):
        model = _estimator(tmp_path / trajectory, trajectory)
        result = run("bsd-dynamic", photos, model, "map", label_maps=maps, device="cpu", true_motion=True)
        errors[trajectory] = result["trajectory_error"]
    assert errors["zero-constraint"] == pytest.approx(0, abs=1e-4)
    assert 0 < errors["quadratic"] < errors["linear"] < result["trajectory_error_zero"] / 2
    assert result["deblur_psnr"] > result["blurred_psnr"]


def test_what_does_not_go_with_it_is_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    for benchmark, more, said in (
        ("unblurred", (), "unblurred takes no --true-motion; bsd-dynamic and bsd-motion-flow do"),
        ("pairs", (), "pairs takes no --true-motion"),
        (
            "bsd-motion-flow",
            ("--camera", "only"),
            "--camera only is for estimated motion; leave it or --true-motion out",
        ),
        (
            "bsd-dynamic",
            ("--label-maps", folders[1], "--refine-steps", 5),
            "--refine-steps 5 would change the motion; leave it or --true-motion out",
        ),
    ):
        asked = (benchmark, "--images", folders[0], "--true-motion", "-o", out)
        assert_refused(command("evaluate", *asked, *more), said)
        assert not out.exists()


def test_motion_of_another_shape_is_refused(tmp_path: Path) -> None:
    pipe = BlurToVideoPipeline(EtrajModel.from_pretrained(_estimator(tmp_path / "estimator", "quadratic")))
    for shape in ((1, 2, 32, 48), (1, 4, 32, 40), (2, 4, 32, 48)):
        with pytest.raises(BadInputError, match=r"control_points have shape .* it must be") as raised:
            pipe.answer(torch.rand(1, 3, 32, 48), control_points=torch.zeros(shape), method="none")
        assert "\n" not in str(raised.value)


def _gains(data_dir: Path, benchmark: str, limit: int, **more: object) -> tuple[float, float]:
    """What the shipped weights gain along the estimated and along the true motion, dB."""
    found = [
        run(benchmark, data_dir / "bsds500" / "val", limit=limit, device="cpu", true_motion=true, **more)
        for true in (False, True)
    ]
    estimated, true = (result["deblur_psnr"] - result["blurred_psnr"] for result in found)
    return estimated, true


def test_the_shipped_weights_use_better_motion(data_dir: Path) -> None:
    estimated, true = _gains(data_dir, "bsd-motion-flow", 1)
    assert true > estimated > 0


def test_the_shipped_weights_use_better_motion_on_dynamic_scenes(data_dir: Path) -> None:
    estimated, true = _gains(data_dir, "bsd-dynamic", 4, label_maps=data_dir / "bsds500" / "segments" / "val")
    assert true > estimated > 0

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import assert_refused
from commands import run as command
from PIL import Image

from motion_offsets.data.scenes.motion_flow import sample_flow
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.base import photo_generator
from motion_offsets.evaluation.benchmarks.motion_flow import (
    evaluate_motion_flow,
    make_pair,
    motion_flow_pairs,
    score_motion,
    score_sharp,
)
from motion_offsets.evaluation.metrics import psnr
from motion_offsets.evaluation.run import run, to_json, to_markdown
from motion_offsets.exposure.blur import expose
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.models.image_processing_motion_offsets import MotionOffsetsImageProcessor
from motion_offsets.models.modeling_etraj import EtrajModel
from motion_offsets.models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from motion_offsets.pipelines.blur_to_video import BlurToVideoPipeline

FIGURES = {
    "reblur_psnr",
    "reblur_ssim",
    "motion_mse",
    "motion_mse_published",
    "motion_mse_zero",
    "deblur_psnr",
    "deblur_ssim",
    "blurred_psnr",
    "blurred_ssim",
    "flat_length",
    "flat_length_true",
}
PARTS = ("estimator", "deblurrer")
COSTS = {f"{part}_{what}" for part in PARTS for what in ("seconds", "parameters", "float32_mb", "file_mb")}
COSTS |= {"extraction_seconds", "megapixels"}


@pytest.fixture
def photos(tmp_path: Path, astronaut: torch.Tensor) -> Path:
    """Two photos of 176x168 pixels and a file that is not a photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = (astronaut[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels[:168, 150:326]).save(folder / "b.png")
    Image.fromarray(pixels[60:228, 150:326]).save(folder / "a.png")
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An estimator and a deblurrer with few channels and random weights, saved as folders."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    estimator = EtrajModel(EtrajConfig(base_channels=2))
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=2, levels=(1, 2)))
    estimator.save_pretrained(folder / "estimator")
    deblurrer.save_pretrained(folder / "deblurrer")
    return {"model": str(folder / "estimator"), "deblurrer": str(folder / "deblurrer")}


@pytest.fixture
def motionless() -> BlurToVideoPipeline:
    """A pipeline that finds no motion anywhere, and has no deblurrer."""
    estimator = EtrajModel(EtrajConfig(base_channels=2)).eval()
    for parameter in estimator.parameters():
        torch.nn.init.zeros_(parameter)
    return BlurToVideoPipeline(estimator=estimator, processor=MotionOffsetsImageProcessor())


def test_arguments_are_refused_before_any_progress(photos: Path, models: dict[str, str], tmp_path: Path) -> None:
    given = ["unblurred", "--images", photos, "--model", models["model"], "--deblurrer", models["deblurrer"]]
    for wrong, said in (
        (("--refine-steps", -1), "-1"),
        (("--device", "tpu"), "tpu"),
        (("--dtype", "float8"), "float8"),
        (("--deblurrer", tmp_path / "none"), "none"),
        (("--limit", 0), "limit"),
        (("--output", tmp_path / "gone" / "result.json"), "result.json"),
    ):
        assert_refused(command("evaluate", *given, *wrong), said)


def without_seconds(result: dict) -> dict:
    return {name: value for name, value in result.items() if not name.endswith("seconds")}


def true_control_points(flow: torch.Tensor) -> torch.Tensor:
    return torch.cat([-flow / 2, flow / 2], dim=1)


def reblur(sharp: torch.Tensor, control_points: torch.Tensor) -> torch.Tensor:
    return expose(sharp, control_points, trajectory_basis("quadratic", sample_times(15)))


def test_a_pair_is_cut_by_half_the_largest_motion_an_axis_at_a_time(astronaut: torch.Tensor) -> None:
    photo = astronaut[..., :120, :140]
    flow = np.zeros((2, 120, 140), np.float32)
    flow[0, 60, 70], flow[1, 60, 70] = -15, 8
    pair = make_pair(photo, flow, "photo")
    assert pair.sharp.shape == pair.blurred.shape == (1, 3, 120 - 2 * 4, 140 - 2 * 7)
    assert torch.equal(pair.sharp, photo[..., 4:-4, 7:-7])
    assert pair.flow[0, :, 60 - 4, 70 - 7].tolist() == [-15, 8]
    # Only the pixel that moved has changed, and what a camera saves has 8 bits.
    changed = (pair.blurred - pair.sharp).abs().amax(dim=(0, 1)) > 1e-3
    assert changed.nonzero().tolist() == [[60 - 4, 70 - 7]]
    assert torch.equal((pair.blurred * 255).round() / 255, pair.blurred)


@pytest.mark.parametrize("motion", [(9.0, 0.0), (0.0, -8.0)])
def test_no_pixel_of_a_pair_saw_beyond_the_photo(astronaut: torch.Tensor, motion: tuple[float, float]) -> None:
    photo = astronaut[..., :100, :100]
    flow = np.broadcast_to(np.float32(motion).reshape(2, 1, 1), (2, 100, 100))
    wider = torch.nn.functional.pad(photo, (20, 20, 20, 20), value=1.0)
    around = np.broadcast_to(np.float32(motion).reshape(2, 1, 1), (2, 140, 140))
    assert torch.equal(
        make_pair(photo, flow.copy(), "photo").blurred,
        make_pair(wider, around.copy(), "photo").blurred[..., 20:-20, 20:-20],
    )


def test_the_name_alone_decides_about_the_motions(astronaut: torch.Tensor) -> None:
    photo = astronaut[..., :168, :176]
    first = [pair.flow for pair in motion_flow_pairs(photo, "folder/a.jpg")]
    again = [pair.flow for pair in motion_flow_pairs(1 - photo, "elsewhere/a.png")]
    other = [pair.flow for pair in motion_flow_pairs(photo, "b.jpg")]
    assert len(first) == 3
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_the_motions_do_not_change_with_the_version() -> None:
    """Pinned, so that figures measured at different times stay comparable."""
    flow = sample_flow(321, 481, photo_generator("101085"))
    assert hashlib.sha256(flow.astype(np.int16).tobytes()).hexdigest()[:16] == "da598c2ef9af2ba0"


def test_the_true_motion_scores_next_to_the_ceiling(astronaut: torch.Tensor) -> None:
    pair = next(motion_flow_pairs(astronaut[..., :321, :481], "a.png"))
    scores = score_motion(pair, pair.flow, reblur(pair.sharp, true_control_points(pair.flow)))
    assert scores["motion_mse"] == scores["motion_mse_published"] == 0
    assert scores["reblur_psnr"] > 36
    assert scores["reblur_psnr"] > scores["blurred_psnr"] + 8
    assert scores["reblur_ssim"] > 0.98 > scores["blurred_ssim"]
    inner = pair.flow[..., 30:-30, 30:-30].double()
    assert scores["motion_mse_zero"] == pytest.approx(inner.square().mean().item())
    reversed_motion = score_motion(pair, -pair.flow, reblur(pair.sharp, true_control_points(-pair.flow)))
    assert reversed_motion == pytest.approx(scores, abs=1e-3)


def test_sharp_frames_are_compared_with_the_true_one(astronaut: torch.Tensor) -> None:
    pair = next(motion_flow_pairs(astronaut[..., :168, :176], "a.png"))
    assert score_sharp(pair, pair.sharp - 0.1)["deblur_psnr"] == pytest.approx(20, abs=1e-3)
    assert score_sharp(pair, pair.sharp)["deblur_ssim"] == pytest.approx(1)


def test_finding_no_motion_scores_as_doing_nothing(photos: Path, motionless: BlurToVideoPipeline) -> None:
    steps: list[tuple[int, int]] = []
    result = evaluate_motion_flow(photos, motionless, on_pair=lambda *step: steps.append(step))
    assert (result["images"], result["pairs"]) == (2, 6)
    assert steps == [(number, 6) for number in range(1, 7)]
    assert result["motion_mse"] == result["motion_mse_published"] == result["motion_mse_zero"] > 0
    assert result["reblur_psnr"] == pytest.approx(result["blurred_psnr"], abs=1e-3)
    assert result["reblur_ssim"] == pytest.approx(result["blurred_ssim"], abs=1e-4)
    assert result["deblur_psnr"] is result["deblur_ssim"] is None


def test_figures_are_means_over_all_pairs(
    photos: Path, motionless: BlurToVideoPipeline, astronaut: torch.Tensor
) -> None:
    result = evaluate_motion_flow(photos, motionless)
    values = []
    for name, top in (("a", 60), ("b", 0)):
        pairs = motion_flow_pairs(astronaut[..., top : top + 168, 150:326], name)
        values += [psnr(pair.blurred, pair.sharp).item() for pair in pairs]
    assert result["blurred_psnr"] == pytest.approx(np.mean(values), abs=1e-4)


def test_a_limit_takes_the_first_photos_by_name(photos: Path, motionless: BlurToVideoPipeline) -> None:
    limited = evaluate_motion_flow(photos, motionless, limit=1)
    (photos / "b.png").unlink()
    alone = evaluate_motion_flow(photos, motionless)
    assert limited["images"] == 1
    assert without_seconds(limited) == without_seconds(alone)


def test_a_photo_without_contrast_gives_valid_json(tmp_path: Path, motionless: BlurToVideoPipeline) -> None:
    Image.new("RGB", (180, 180), "gray").save(tmp_path / "blank.png")
    result = evaluate_motion_flow(tmp_path, motionless)
    assert result["blurred_psnr"] is None
    assert json.loads(to_json(result))["blurred_psnr"] is None


def test_run_tells_what_was_run(photos: Path, models: dict[str, str], tmp_path: Path, capsys) -> None:
    output = tmp_path / "result.json"
    result = run("bsd-motion-flow", photos, limit=1, output=output, device="cpu", **models)
    assert result.keys() > FIGURES | {"images", "seconds", "device", "versions"}
    assert all(isinstance(result[name], float) for name in FIGURES - {"flat_length", "flat_length_true"})
    assert result.keys() > COSTS
    assert result["estimator_seconds"] > 0 < result["deblurrer_seconds"]
    assert result["estimator_file_mb"] == Path(models["model"], "model.safetensors").stat().st_size / 1e6
    assert result["benchmark"] == "bsd-motion-flow"
    assert (result["model"], result["deblurrer"]) == (models["model"], models["deblurrer"])
    assert (result["trajectory"], result["num_samples"], result["dtype"]) == ("quadratic", 15, "float32")
    for part, folder in (("estimator", models["model"]), ("deblurrer", models["deblurrer"])):
        digest = hashlib.sha256(Path(folder, "model.safetensors").read_bytes()).hexdigest()
        assert result["checkpoints"][part] == digest
    assert json.loads(output.read_text()) == json.loads(to_json(result))
    assert capsys.readouterr().out == "", "standard output belongs to the JSON that the command prints"


def test_run_scores_the_motion_alone_without_a_deblurrer(photos: Path, models: dict[str, str]) -> None:
    result = run("bsd-motion-flow", photos, models["model"], deblurrer="none", limit=1, device="cpu")
    assert result["deblurrer"] is result["deblur_psnr"] is None
    assert result["checkpoints"].keys() == {"estimator"}
    assert "deblurred" not in to_markdown(result)


def test_a_saved_pipeline_is_both_models(photos: Path, models: dict[str, str], tmp_path: Path) -> None:
    parts = {
        "estimator": EtrajModel.from_pretrained(models["model"]),
        "deblurrer": MaDmphnForImageDeblurring.from_pretrained(models["deblurrer"]),
    }
    pipeline = BlurToVideoPipeline(processor=MotionOffsetsImageProcessor(), **parts)
    pipeline.save_pretrained(tmp_path / "pipeline")
    whole = run("bsd-motion-flow", photos, str(tmp_path / "pipeline"), limit=1, device="cpu")
    joined = run("bsd-motion-flow", photos, limit=1, device="cpu", **models)
    assert {name: whole[name] for name in FIGURES} == {name: joined[name] for name in FIGURES}
    assert whole["checkpoints"] == joined["checkpoints"]


def test_a_saved_estimator_alone_wants_a_deblurrer(photos: Path, models: dict[str, str], tmp_path: Path) -> None:
    alone = BlurToVideoPipeline(EtrajModel.from_pretrained(models["model"]), processor=MotionOffsetsImageProcessor())
    alone.save_pretrained(tmp_path / "alone")
    with pytest.raises(BadInputError, match="alone: holds no deblurrer; name one, or give `deblurrer` none"):
        run("bsd-motion-flow", photos, str(tmp_path / "alone"), device="cpu")


def test_deconvolution_is_measured_in_place_of_a_network(photos: Path, models: dict[str, str]) -> None:
    result = run("bsd-motion-flow", photos, models["model"], deblurrer="map", limit=1, device="cpu", camera="off")
    assert result["camera"] == "off"
    assert result["deblurrer"] == "map"
    assert result["checkpoints"].keys() == {"estimator"}
    assert result["deblurrer_parameters"] is result["deblurrer_float32_mb"] is result["deblurrer_file_mb"] is None
    assert result["deblurrer_seconds"] > 0
    pipeline = BlurToVideoPipeline(EtrajModel.from_pretrained(models["model"]).eval())
    pairs = motion_flow_pairs(pipeline.preprocess(photos / "a.png"), "a.png")
    expected = []
    for pair in pairs:
        sharp = pipeline.deconvolve(pair.blurred, pipeline.estimate(pair.blurred))
        expected.append(score_sharp(pair, sharp)["deblur_psnr"])
    assert result["deblur_psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    text = to_markdown(result)
    assert f"| deblurred, map | {result['deblur_psnr']:.2f} |" in text
    assert "| our deblurrer, map | - | - | - |" in text


def test_markdown_stands_beside_the_paper() -> None:
    result = dict.fromkeys(FIGURES | COSTS, 1.25) | {"benchmark": "bsd-motion-flow", "images": 2, "pairs": 6}
    named = {"model": "etraj-quadratic", "deblurrer": "ma-dmphn", "trajectory": "quadratic", "device": "cpu (here)"}
    text = to_markdown(result | named | {"extraction_seconds": None, "estimator_parameters": 1129604})
    assert "| paper, quadratic | 38.90 | 0.9882 | 3.27 |" in text
    assert "| paper, zero-constraint | 37.62 | 0.9763 | - |" in text
    assert "| ours, etraj-quadratic | 1.25 | 1.2500 | 1.25 |" in text
    assert "| deblurred, ma-dmphn | 1.25 | 1.2500 |" in text
    assert "estimated displacements are 1.25 px long; the true ones there are 1.25 px long" in text
    assert "| paper, each trajectory | 0.011 | - | 0.220 |" in text
    assert "| ours, cpu (here) | 1.250 | 1.250 | - |" in text
    assert "| paper, MA-DMPHN quadratic | - | 26.30 | - |" in text
    assert "| our estimator, etraj-quadratic | 1,129,604 | 1.25 | 1.25 |" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "bsd-500"}, "'bsd-500'; it must be one of .*bsd-motion-flow"),
        ({"images": "missing"}, "missing: is not a folder"),
        ({"images": "photos/a.png"}, "a.png: is not a folder"),
        ({"images": "empty"}, "empty: the folder holds no photo"),
        ({"window": 7}, "bsd-motion-flow takes no `window`"),
        ({"limit": 0}, "`limit` is 0; .* at least 1"),
        ({"device": "abacus"}, "`device` 'abacus'"),
        ({"dtype": "int8"}, "`dtype` 'int8'"),
        ({"model": "no-such-model"}, "model 'no-such-model' not found"),
        ({"deblurrer": "no-such-model"}, "model 'no-such-model' not found"),
        ({"output": "missing/result.json"}, "folder .*missing does not exist"),
        ({"output": "result.txt"}, r"\.json"),
    ],
)
def test_bad_input_is_one_line(change, message, photos: Path, models, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    arguments = {"benchmark": "bsd-motion-flow", "images": photos, "limit": 1, "device": "cpu", **models}
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInputError, match=message) as caught:
        run(**arguments | change)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_broken_photo_is_named_and_leaves_no_output(photos: Path, models: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(photos / "notes.txt", photos / "broken.png")
    with pytest.raises(BadInputError, match="broken.png"):
        run("bsd-motion-flow", photos, output=tmp_path / "result.json", device="cpu", **models)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_photo_too_small_is_named(tmp_path: Path, motionless: BlurToVideoPipeline) -> None:
    Image.new("RGB", (64, 90)).save(tmp_path / "small.png")
    with pytest.raises(BadInputError, match="small.png: 64x90 pixels are too few"):
        evaluate_motion_flow(tmp_path, motionless)

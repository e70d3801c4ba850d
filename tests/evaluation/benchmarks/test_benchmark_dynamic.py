"""bsd-dynamic: what the name decides, the cache, scores of known answers, and the whole run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets.data.scenes.cutouts import Cutout
from motion_offsets.data.scenes.dynamic_scenes import GAMMA
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.dynamic_cases import DynamicCases, dynamic_case
from motion_offsets.evaluation.benchmarks.dynamic_scenes import evaluate_dynamic
from motion_offsets.evaluation.metrics import psnr, trajectory_error, video_psnr
from motion_offsets.evaluation.run import run, to_json, to_markdown
from motion_offsets.exposure.blur import create_blur
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.models.modeling_etraj import EtrajModel
from motion_offsets.models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from motion_offsets.pipelines.blur_to_video import BlurToVideoPipeline


@pytest.fixture
def folders(tmp_path: Path, astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Three photos of 176x168 pixels, and label maps with an object in the middle of each."""
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    maps.mkdir()
    pixels = (astronaut[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    labels = np.zeros((168, 176), np.uint8)
    labels[60:110, 70:120] = 1
    for number, name in enumerate("abc"):
        Image.fromarray(pixels[30 * number : 30 * number + 168, 150:326]).save(photos / f"{name}.png")
        Image.fromarray(labels).save(maps / f"{name}.png")
    monkeypatch.setenv("MOTION_OFFSETS_CACHE", str(tmp_path / "cache"))
    return photos, maps


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An estimator and a deblurrer with few channels and random weights, saved as folders."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    estimator = EtrajModel(EtrajConfig(base_channels=2))
    with torch.no_grad():
        estimator.network.head.weight.mul_(20)  # paths of some pixels: what stands still is not deblurred
    estimator.save_pretrained(folder / "estimator")
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=2, levels=(1,)))
    deblurrer.save_pretrained(folder / "deblurrer")
    return {"model": str(folder / "estimator"), "deblurrer": str(folder / "deblurrer")}


def test_cases_come_from_the_cache_as_they_were_made(folders: tuple[Path, Path], tmp_path: Path) -> None:
    photos, maps = folders
    cases = DynamicCases(photos, [photos], [maps])
    made = list(cases)
    kept = sorted((tmp_path / "cache" / "bsd-dynamic").iterdir())
    assert [path.name[0] for path in kept] == ["a", "b", "c"]
    for first, again in zip(made, DynamicCases(photos, [photos], [maps]), strict=True):
        for name in ("blurred", "sharp", "frames", "offsets", "valid"):
            assert torch.equal(getattr(first, name), getattr(again, name)), name
    for rubbish in (b"damaged", b""):
        kept[1].write_bytes(rubbish)
        assert torch.equal(cases.case(cases.photos[1]).blurred, made[1].blurred)
    assert not torch.equal(made[0].offsets, made[1].offsets)


def test_a_case_is_what_its_offsets_say(astronaut: torch.Tensor) -> None:
    photo = (astronaut[0].permute(1, 2, 0) * 255).byte().numpy()[:, :400]
    ball = Cutout(np.full((40, 40, 3), 90, np.uint8), np.ones((40, 40), np.float32))
    case = dynamic_case(photo, "a-photo.png", [ball])
    assert case.blurred.shape == case.sharp.shape == (1, 3, 512 - 48, 400 - 48)
    assert case.frames.shape == (1, 7, *case.sharp.shape[1:])
    assert (case.frames[:, 3] - case.sharp).abs().max() < 1.5 / 255
    reblurred = create_blur(case.sharp, case.offsets, gamma=GAMMA)
    valid = case.valid.expand_as(case.blurred)
    error = (reblurred - case.blurred)[valid].square().mean()
    assert error < 0.02**2
    assert error < 0.5 * (case.sharp - case.blurred)[valid].square().mean()
    assert case.bend > 0.3
    assert case.depth_effect > 0.1


def test_paths_are_compared_in_the_better_direction_of_time_pixel_by_pixel() -> None:
    true = torch.randn(1, 5, 2, 6, 7)
    valid = torch.ones(1, 1, 6, 7, dtype=torch.bool)
    mixed = true.clone()
    mixed[..., :3] = true.flip(1)[..., :3]
    assert trajectory_error(mixed, true, valid=valid) == 0
    shifted = true + torch.tensor([3.0, 4.0]).view(1, 1, 2, 1, 1)
    assert trajectory_error(shifted, true, valid=valid).item() == pytest.approx(5, abs=0.5)
    valid[...] = False
    valid[..., 0, 0] = True
    true[..., 0, 0] = 0
    assert trajectory_error(torch.full_like(true, 2), true, valid=valid).item() == pytest.approx(8**0.5)


def test_a_clip_run_backwards_scores_the_same() -> None:
    true = torch.rand(1, 7, 3, 8, 8)
    noisy = (true + 0.1 * torch.randn_like(true)).clamp(0, 1)
    assert video_psnr(noisy, true) == pytest.approx(float(psnr(noisy[0], true[0]).mean()))
    assert video_psnr(noisy.flip(1), true) == pytest.approx(video_psnr(noisy, true))


def test_the_whole_run(folders: tuple[Path, Path], models: dict[str, str]) -> None:
    photos, maps = folders
    result = run("bsd-dynamic", photos, **models, label_maps=maps, device="cpu")
    assert result["images"] == 3
    assert result["trajectory_error_zero"] > 0.5
    assert -1 <= result["consistency_rank_correlation"] <= 1
    assert result["valid_share"] > 0.5
    assert result["video_psnr"] > 5
    assert json.loads(to_json(result))["data_sha256"] == result["data_sha256"]
    assert result["tracks"] > 50
    assert result["track_distance_true"] < 0.3 < 1 < result["track_distance_zero"]
    assert result["extraction_seconds"] > result["estimator_seconds"] + result["deblurrer_seconds"]
    text = to_markdown(result)
    assert "trajectory error" in text
    assert f"| the exact truth: how good the tracks are | {result['track_distance_true']:.2f} |" in text
    for row, figure in (
        ("PSNR of the reblurred frame", "consistency"),
        ("share of the changes explained", "explained"),
    ):
        mean = result["consistency_psnr" if figure == "consistency" else "explained"]
        assert f"| {row} | {mean:.2f} | {result[f'{figure}_rank_correlation']:.2f} |" in text
    alone = run("bsd-dynamic", photos, models["model"], "none", label_maps=maps, limit=2, device="cpu")
    assert alone["deblur_psnr"] is alone["deblurrer_seconds"] is alone["extraction_seconds"] is None
    assert "our deblurrer" not in to_markdown(alone)
    assert "| share of the changes explained | - | - |" in to_markdown(alone)
    assert alone["consistency_rank_correlation"] is None
    assert alone["images"] == 2


def test_refinement_and_blending_show_in_the_figures(folders: tuple[Path, Path], models: dict[str, str]) -> None:
    photos, maps = folders
    asked = {**models, "label_maps": maps, "limit": 1, "device": "cpu"}
    plain, safe = (run("bsd-dynamic", photos, **asked, **more) for more in ({}, {"safe": True}))
    assert not {"refine_steps", "safe"} & plain.keys()
    assert safe["safe"] is True
    assert safe["deblur_psnr"] > plain["deblur_psnr"], "the photo is better than what random weights make of it"
    assert safe["trajectory_error"] == plain["trajectory_error"]


def test_refinement_finds_other_motion(folders: tuple[Path, Path]) -> None:
    """With the bundled models, which see enough for it; that it is better shows on many photos only."""
    photos, maps = folders
    plain, refined = (
        run("bsd-dynamic", photos, label_maps=maps, limit=1, device="cpu", refine_steps=steps) for steps in (0, 40)
    )
    assert "refine_steps" not in plain
    assert refined["refine_steps"] == 40
    assert refined["trajectory_error"] != plain["trajectory_error"]
    assert refined["data_sha256"] == plain["data_sha256"]


def test_clean_scenes_are_the_same_without_noise(folders: tuple[Path, Path], models: dict[str, str]) -> None:
    photos, maps = folders
    noisy, clean = (
        run("bsd-dynamic", photos, models["model"], "none", label_maps=maps, limit=1, device="cpu", clean=clean)
        for clean in (False, True)
    )
    assert clean["clean"] is True
    assert "clean" not in noisy
    assert clean["trajectory_error_zero"] == noisy["trajectory_error_zero"]
    assert clean["blurred_psnr"] > noisy["blurred_psnr"]
    with pytest.raises(BadInputError, match="bsd-motion-flow takes no `clean`; bsd-dynamic does"):
        run("bsd-motion-flow", photos, models["model"], "none", device="cpu", clean=True)


def test_uncertainty_is_compared_with_the_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    photos, maps = folders
    cases = DynamicCases(photos, [photos], [maps], 1)
    (case,) = cases
    config = EtrajConfig(predicts_uncertainty=True, base_channels=4, direction="doubled-angle")
    pipe = BlurToVideoPipeline(EtrajModel(config).eval())
    torch.nn.init.zeros_(pipe.estimator.network.head.weight)  # no motion, and one uncertainty
    figures = evaluate_dynamic(cases, pipe)
    ends = case.offsets[0, [0, -1]].norm(dim=1).mean(0)[case.valid[0, 0]]
    assert figures["end_error"] == pytest.approx(float(ends.mean()), rel=1e-3)
    expected = 16 * math.log(2)  # softplus(0), in units of 16 pixels
    assert figures["uncertainty_ratio"] == pytest.approx(expected / float(ends.mean()), rel=1e-3)
    assert figures["uncertainty_rank_correlation"] is None  # of what is the same everywhere


def test_deconvolution_makes_a_clip_without_a_network(folders: tuple[Path, Path], models: dict[str, str]) -> None:
    photos, maps = folders
    asked = {"label_maps": maps, "limit": 1, "device": "cpu", "refine_steps": 1, "safe": True}
    result = run("bsd-dynamic", photos, models["model"], "map", **asked)
    assert (result["deblurrer"], result["refine_steps"], result["safe"]) == ("map", 1, True)
    assert result["deblurrer_parameters"] is None
    assert result["extraction_seconds"] > result["deblurrer_seconds"] > 0
    assert result["video_psnr"] > 5 < result["consistency_psnr"]
    assert result["deblur_psnr"] != run("bsd-dynamic", photos, **{**models, **asked})["deblur_psnr"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"refine_steps": 20},
            "`refine_steps` is 20: the motion is fitted with a sharp frame, and the deblurrer is none",
        ),
        ({"safe": True}, "`safe` is True: it blends the photo with a sharp frame, and the deblurrer is none; give"),
    ],
)
def test_what_wants_a_sharp_frame_is_refused_without_one(
    change: dict[str, object], message: str, folders: tuple[Path, Path], models: dict[str, str], tmp_path: Path
) -> None:
    photos, maps = folders
    alone = {**models, "deblurrer": "none", "label_maps": maps, "device": "cpu", "output": tmp_path / "result.json"}
    with pytest.raises(BadInputError, match=message) as caught:
        run("bsd-dynamic", photos, **alone, **change)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "photos"], "no case was rendered"


def test_bad_input_is_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    photos, maps = folders
    with pytest.raises(BadInputError, match="bsd-dynamic needs `label_maps`"):
        run("bsd-dynamic", photos)
    with pytest.raises(BadInputError, match=r"a\.png: cannot be made.*MOTION_OFFSETS_CACHE"):
        DynamicCases(photos, [photos], [maps], cache=photos / "a.png")
    with pytest.raises(BadInputError, match="bsd-motion-flow takes no `label_maps`"):
        run("bsd-motion-flow", photos, label_maps=maps)
    Image.new("RGB", (100, 300)).save(photos / "d.png")
    with pytest.raises(BadInputError, match=r"d\.png: is 100x300 pixels.*160"):
        list(DynamicCases(photos, [photos], [maps]))

"""unblurred: its four pictures, the measures on known answers, and the whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.unblurred import (
    KINDS,
    MOST_COLOUR_SHIFT,
    _row,
    overshoot,
    unblurred_picture,
)
from motion_offsets.evaluation.run import run, to_json, to_markdown
from motion_offsets.exposure.consistency import MAX_PSNR
from motion_offsets.models.configuration_etraj import EtrajConfig
from motion_offsets.models.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.models.modeling_etraj import EtrajModel
from motion_offsets.models.modeling_ma_dmphn import MaDmphnForImageDeblurring


@pytest.fixture
def photos(tmp_path: Path, sample_photo: object) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        with Image.open(sample_photo(name)) as picture:  # type: ignore[operator]
            picture.convert("RGB").resize((96, 80)).save(folder / f"{name}.png")
    return folder


def test_the_name_alone_decides_about_the_pictures(astronaut: torch.Tensor) -> None:
    photo = astronaut[..., :160, :200]
    for kind in KINDS:
        picture = unblurred_picture(photo, kind, "a.png")
        assert picture.shape == photo.shape
        assert torch.equal(picture, unblurred_picture(photo, kind, "elsewhere/a.jpg"))
        assert ((picture * 255).round() / 255 - picture).abs().max() < 1e-6
        assert torch.equal(picture, unblurred_picture(photo, kind, "b.png")) == (kind == "photo")


def test_nights_are_dark_but_for_their_lights(astronaut: torch.Tensor) -> None:
    picture = unblurred_picture(astronaut, "night", "a.png")
    assert picture.median() < 0.12
    assert (picture > 0.65).any()


def test_what_leaves_the_range_of_its_surroundings_is_overshoot() -> None:
    given = torch.full((1, 3, 20, 20), 0.5)
    given[..., 10:] = 0.8
    answer = given.clone()
    answer[0, 0, 5, 5] = 0.54  # more than 8 levels
    answer[0, 1, 5, 15] = 0.78  # two pixels' reach of the darker half is not enough, and 5 levels are too few
    answer[0, 2, 8, 9] = 0.79  # next to brighter pixels
    assert overshoot(answer, given) == pytest.approx(1 / 400)
    assert overshoot(given, given) == 0


def test_the_whole_run(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    estimator = EtrajModel(EtrajConfig(base_channels=2))
    with torch.no_grad():
        estimator.network.head.weight.mul_(300)  # paths of some pixels: what stands still is not deblurred
    estimator.save_pretrained(tmp_path / "estimator")
    MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=2, levels=(1,))).save_pretrained(tmp_path / "deblurrer")
    result = run("unblurred", photos, str(tmp_path / "estimator"), str(tmp_path / "deblurrer"))
    assert result["images"] == 2
    for kind in KINDS:
        assert 0 < result[f"{kind}_unchanged_psnr_lowest"] <= result[f"{kind}_unchanged_psnr"] < MAX_PSNR
        assert 0 <= result[f"{kind}_left_alone"] <= 1
    assert result["deblurrer_seconds"] > 0
    assert '"photo_overshoot"' in to_json(result)
    tables = to_markdown(result)
    for kind in KINDS:
        assert f"| {kind} | {result[f'{kind}_unchanged_psnr']:.2f} |" in tables


def test_the_shipped_deblurrer_shifts_colours_by_less_than_the_bound(photos: Path) -> None:
    result = run("unblurred", photos, "etraj-quadratic", "ma-dmphn")
    shifts = {kind: result[f"{kind}_colour_shift"] for kind in KINDS}
    assert 0 < min(shifts.values())
    assert max(shifts.values()) <= MOST_COLOUR_SHIFT


def test_a_shift_of_one_channel_is_not_lost_in_the_others(astronaut: torch.Tensor) -> None:
    photo = astronaut[..., :64, :64].clamp(0.1, 0.9)
    darker = photo - torch.tensor([0.0, 3 / 255, 1 / 255]).view(1, 3, 1, 1)
    assert _row("a", "photo", photo, darker, 0.0, {})["colour_shift"] == pytest.approx(3, abs=1e-3)


def test_deconvolution_is_measured_too(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=2)).save_pretrained(tmp_path / "estimator")
    result = run("unblurred", photos, str(tmp_path / "estimator"), "map", limit=1)
    assert result["deblurrer"] == "map"
    assert 0 < result["photo_unchanged_psnr"] < MAX_PSNR
    assert "| our deblurrer, map | - | - | - |" in to_markdown(result)


def test_it_wants_a_deblurrer(photos: Path, tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=2)).save_pretrained(tmp_path / "estimator")
    with pytest.raises(BadInputError, match="give `deblurrer`"):
        run("unblurred", photos, str(tmp_path / "estimator"), "none")

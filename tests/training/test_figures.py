"""Pictures of chosen photos, judged by their pixels; what cannot be drawn is refused before anything is measured."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.benchmarks.base import Example
from motion_offsets.evaluation.distributed import main
from motion_offsets.evaluation.report.panels import GAP, draw_panels
from motion_offsets.evaluation.report.pictures import (
    BOXES,
    PATH,
    Answer,
    _telling_places,
    samples_picture,
    tracks_picture,
)
from motion_offsets.exposure.blur import create_blur, warp
from motion_offsets.exposure.trajectories import offsets_at, sample_times


@pytest.fixture(scope="module")
def pipeline() -> BlurToVideoPipeline:
    return BlurToVideoPipeline(estimator=EtrajModel(EtrajConfig(base_channels=2)).eval())


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    EtrajModel(EtrajConfig(base_channels=2)).save_pretrained(tmp_path / "models" / "estimator")
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(levels=(1,), base_channels=2, motion_aware=False))
    deblurrer.save_pretrained(tmp_path / "models" / "deblurrer")
    return ["--model", str(tmp_path / "models" / "estimator"), "--deblurrer", str(tmp_path / "models" / "deblurrer")]


@pytest.fixture
def curved(astronaut: torch.Tensor) -> tuple[Example, torch.Tensor]:
    """A photo on a known curve, and its control points."""
    sharp = astronaut[..., 100:260, 100:300]
    points = torch.tensor([-12.0, 4, 12, 4]).view(1, 4, 1, 1).expand(-1, -1, 160, 200).contiguous()
    offsets, of_frames = (offsets_at(points, sample_times(count), "quadratic") for count in (45, 7))
    return Example(create_blur(sharp, offsets), sharp, offsets=offsets, frames=warp(sharp, of_frames)), points


def pixels_of(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == colour).all(-1).sum())


def run_evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
    main()


def test_panels_stand_in_columns_under_their_labels() -> None:
    red, blue = Image.new("RGB", (50, 40), "red"), Image.new("RGB", (90, 20), "blue")
    sheet = draw_panels([[("", red), ("", blue)], [("", blue), ("", red)]])
    pixels = np.asarray(sheet)
    reds, blues = ((pixels == colour).all(-1) for colour in ((255, 0, 0), (0, 0, 255)))
    assert reds.sum() == 2 * 50 * 40
    assert blues.sum() == 2 * 90 * 20
    assert sheet.width == 90 + 90 + 3 * GAP
    assert np.argwhere(reds)[:, 1].min() == np.argwhere(blues)[:, 1].min() == GAP
    wide = draw_panels([[("a label that is much wider than its picture", red)]])
    assert wide.width > 250
    assert (np.asarray(wide)[:, 150:] < 128).any(), "a label that is longer than its picture is cut off"


def test_true_paths_lie_on_their_tracks(curved: tuple[Example, torch.Tensor], pipeline: BlurToVideoPipeline) -> None:
    example, points = curved
    true = tracks_picture(example, Answer(points, {}), pipeline)
    still = tracks_picture(example, Answer(torch.zeros_like(points), {}), pipeline)
    assert true is not None
    assert still is not None
    white = [pixels_of(picture.crop((0, 60, *picture.size)), (255, 255, 255)) for picture in (true, still)]
    assert pixels_of(true, PATH) > 1000 > 10 * pixels_of(still, PATH)
    assert white[1] > white[0] + 1000, "the true paths do not cover the tracks"
    assert tracks_picture(Example(example.blurred, example.sharp), Answer(points, {}), pipeline) is None


def test_more_samples_are_closer_to_the_photo(
    curved: tuple[Example, torch.Tensor], pipeline: BlurToVideoPipeline
) -> None:
    example, points = curved
    sheet = np.asarray(samples_picture(example, Answer(points, {}), pipeline)).astype(int)
    yellow = np.argwhere((sheet == BOXES[0]).all(-1))
    bottom, right, side = yellow[:, 0].max(), yellow[:, 1].max(), 306
    crops = [sheet[bottom - side : bottom, end - side : end] for end in right - (side + GAP) * np.arange(5)]
    most, fifteen, nine, five, photo = crops
    errors = [np.square(crop - photo).mean() for crop in (five, nine, fifteen, most)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 * errors[-1]


def test_crops_are_where_most_is_lost() -> None:
    sharp = torch.zeros(1, 3, 240, 320)
    blurred = sharp.clone()
    blurred[..., 150:170, 200:220] = 1
    blurred[..., 20:30, 20:30] = 0.5
    (x, y, side), (other_x, other_y, _) = _telling_places(Example(blurred, sharp))
    assert x <= 200 < 220 <= x + side
    assert y <= 150 < 170 <= y + side
    assert other_x <= 20 < 30 <= other_x + side
    assert other_y <= 20 < 30 <= other_y + side


def test_evaluate_draws_the_photos_that_are_named(
    sideways: Path, photos: Path, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*models, "-o", tmp_path / "result.json", "--pictures", tmp_path / "pictures"]
    name = "GOPR0384_11_00/000010"
    copy = shutil.copytree(models[3], tmp_path / "models" / "copy")
    window = ["--images", sideways, "--window", 7, "--picture_photos", name, "--compare", "map", copy]
    run_evaluate(monkeypatch, "gopro", *common, *window)
    kinds = ["deblurred", "motion", "samples", "tracks"]
    made = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in made] == [f"GOPR0384_11_00-000010-{kind}.png" for kind in kinds]
    sizes = []
    for path in made:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    # A crop each of the photo, of three deblurrers and of the truth, beside the whole photo.
    assert sizes[0][0] == 6 * 306 + 7 * GAP
    (tmp_path / "result.rows.jsonl").unlink()
    run_evaluate(monkeypatch, "bsd-motion-flow", *common, "--images", photos, "--limit", 1)
    flow = [path.name for path in (tmp_path / "pictures").iterdir() if path not in made]
    assert sorted(flow) == [f"astronaut-{kind}.png" for kind in kinds[:3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--picture_photos", "a.png"], "`picture_photos` and `compare` are for pictures; give `pictures` FOLDER"),
        (["--compare", "map"], "`picture_photos` and `compare` are for pictures"),
        (
            ["--pictures", "new", "--picture_photos", "a.png"],
            "a.png: is none of the 3 photos .* such as astronaut.png",
        ),
        (["--pictures", "new", "--compare", "no-such-model"], "'no-such-model' not found"),
        (["--pictures", "file"], "file: is a file, so file cannot be a folder"),
    ],
)
def test_what_cannot_be_drawn_is_refused_first(
    options: list[str],
    message: str,
    photos: Path,
    models: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(BadInputError, match=message):
        run_evaluate(monkeypatch, "bsd-motion-flow", "--images", photos, *models, "-o", "result.json", *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "models"]

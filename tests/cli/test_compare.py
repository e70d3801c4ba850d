"""``motion-offsets compare``: what is on the sheet and where, its size, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from commands import assert_refused, run
from PIL import Image, ImageFont

from motion_offsets.evaluation.report.contact_sheet import compare_photo, most_blurred
from motion_offsets.pipelines.from_names import load_pipeline


@pytest.fixture
def photos(tmp_path: Path, generator: np.random.Generator) -> list[Path]:
    """A photo that is larger than its place on the sheet, and one that is smaller; both are flat but for one part."""
    (tmp_path / "photos").mkdir()
    found = []
    for name, (width, height), (left, top) in (("wide", (1200, 160), (800, 96)), ("tall", (96, 176), (8, 8))):
        pixels = np.full((height, width, 3), 100, np.uint8)
        pixels[top : top + 64, left : left + 32] = generator.integers(0, 180, (64, 32, 3), np.uint8)
        found.append(tmp_path / "photos" / f"{name}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


def compare(models: Path, sheet: Path, *arguments: object, names: tuple[str, ...] = ("sharp", "even")) -> Result:
    deblurrers = [part for name in names for part in ("--deblurrer", models / name)]
    return run("compare", "-o", sheet, "--model", models / "motion", *deblurrers, "--device", "cpu", *arguments)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def positions_of(sheet: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """``(top, left)`` wherever a picture stands in the sheet, to the bit."""
    height, width = part.shape[:2]
    first = (sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1] == part[0, 0]).all(-1)
    return [
        (top, left)
        for top, left in zip(*np.nonzero(first), strict=True)
        if np.array_equal(sheet[top : top + height, left : left + width], part)
    ]


def test_the_sheet_holds_photo_and_answers_whole_and_the_blurred_part_at_full_size(
    models: Path, photos: list[Path], tmp_path: Path
) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    result = compare(models, sheet, *photos)
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()
    assert lines[0].startswith(f"{photos[0]}: sharp ")
    assert ", even " in lines[0]
    assert lines[-1] == f"2 of 2 photos -> {sheet}"
    assert [path.name for path in sheet.parent.iterdir()] == ["sheet.png"]
    drawn = pixels_of(sheet)

    # Large photos are shown 480 pixels wide; each crop is half of the photo, at most 480x360.
    columns = [480, 480, 480]
    font = ImageFont.load_default(16)
    assert max(font.getlength("the framed part at full size"), font.getlength("even, 0.00000 s")) < 480
    assert drawn.shape[1] == sum(columns) + 4 * 12
    heights = [64, 80, 176, 88]  # 160 * 480 / 1200, and half of it; a photo that fits, and half of it
    labels = len(drawn) - sum(heights) - 5 * 12 - 28
    assert 4 * 16 <= labels <= 4 * 32

    for photo, textured, size in ((photos[0], (800, 96), (480, 80)), (photos[1], (8, 8), (48, 88))):
        pixels = pixels_of(photo)
        patch = pixels[textured[1] : textured[1] + 64, textured[0] : textured[0] + 32]
        # At full size for the photo and the unchanged answer; the paper of the sheet ends the picture.
        for (y, x), start in zip(positions_of(drawn, patch)[-2:], (12, 504), strict=True):
            column = (drawn[:, x] == 255).all(-1)
            above = y - int(np.nonzero(column[:y])[0].max()) - 1
            below = int(np.nonzero(column[y:])[0].min()) - 1
            assert above + 1 + below == size[1]
            left, top = textured[0] - (x - start), textured[1] - above
            assert 0 <= left <= textured[0] <= textured[0] + 32 <= left + size[0] <= pixels.shape[1]
            part = pixels[top : top + size[1], left : left + size[0]]
            rows = slice(y - above, y + below + 1)
            np.testing.assert_array_equal(drawn[rows, start : start + size[0]], part)
            even = drawn[rows, 996 : 996 + size[0]].astype(int)
            np.testing.assert_allclose(even, np.broadcast_to(pixels.mean((0, 1)), even.shape), atol=1)
    # The small photo's answers stand whole beside it; on the photo itself the part is framed.
    small = pixels_of(photos[1])
    (whole,) = positions_of(drawn, small)
    assert whole[1] == 504
    beside = drawn[whole[0] : whole[0] + 176, 12 : 12 + 96]
    changed = (beside != small).any(-1)
    ys, xs = np.nonzero(changed)
    assert (xs.max() - xs.min() + 1, ys.max() - ys.min() + 1) == (48, 88)


def test_no_picture_of_a_photos_own_size_waits_for_the_sheet(models: Path, tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    Image.new("RGB", (1300, 800)).save(photo)
    pipe = load_pipeline(str(models / "motion"), str(models / "sharp"))
    compared = compare_photo({"sharp": pipe}, photo)
    assert [name.split(",")[0] for name, _ in compared.whole] == ["large.png", "sharp"]
    assert {picture.size for _, picture in compared.whole} == {(480, 295)}
    assert {picture.size for _, picture in compared.part} == {(480, 360)}
    assert compared.seconds["sharp"] > 0


def test_jpeg_and_photos_that_fail(models: Path, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:200])
    sheet = tmp_path / "sheet.jpg"
    result = compare(models, sheet, broken, photos[1], names=("sharp",))
    assert_refused(result, broken)
    assert result.stdout.strip().endswith(f"1 of 2 photos -> {sheet}")
    with Image.open(sheet) as picture:
        assert picture.format == "JPEG"
    sheet.unlink()
    assert_refused(compare(models, sheet, broken), broken)
    assert not sheet.exists()


def test_deblurrers_of_one_name_are_told_apart(models: Path, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "sharp").symlink_to(models / "even")
    both = ("--deblurrer", tmp_path / "sharp", "--deblurrer", models / "sharp")
    result = compare(models, tmp_path / "sheet.png", photos[1], *both, names=())
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'sharp'} " in result.stdout
    assert f"{models / 'sharp'} " in result.stdout


def test_bad_input_is_one_line_and_nothing_is_written(models: Path, photos: list[Path], tmp_path: Path) -> None:
    photo, sheet = photos[1], tmp_path / "sheet.png"
    model, used = ("--model", models / "motion"), ("--deblurrer", models / "sharp")
    for arguments, said in (
        (
            (photo, *model, "--deblurrer", models / "motion", "-o", sheet),
            f"model '{models / 'motion'}' is an estimator (EtrajModel); give a deblurrer such as ma-dmphn",
        ),
        (
            (photo, "--model", models / "sharp", *used, "-o", sheet),
            f"model '{models / 'sharp'}' is a deblurrer (MaDmphnForImageDeblurring); give an estimator such as",
        ),
        ((photo, *model, "--deblurrer", "blur-to-video", "-o", sheet), "is a whole pipeline; give a model"),
        ((photo, *model, "--deblurrer", tmp_path / "none", "-o", sheet), "not found"),
        ((photo, *model, "--deblurrer", tmp_path, "-o", sheet), "holds no config.json"),
        ((photo, *model, *used, *used, "-o", sheet), "is given twice"),
        ((photo, *model, "-o", sheet), "Missing option '--deblurrer'"),
        (
            (photo, *model, *used, "-o", tmp_path / "sheet.gif"),
            "sheet.gif: cannot be written as a contact sheet; use a name that ends in .png or",
        ),
        ((photo, *model, *used, "-o", tmp_path), "cannot be written as a contact sheet"),
        ((photo, *model, *used, "-o", photo), "would be overwritten"),
        ((photo, *model, *used, "-o", photo / "sheet.png"), "is a file"),
        ((tmp_path / "none.png", *model, *used, "-o", sheet), "none.png: no such file"),
        ((photo, *model, *used, "-o", sheet, "--max-memory", "much"), "--max-memory 'much' is not an amount"),
    ):
        before = sorted(tmp_path.rglob("*"))
        assert_refused(run("compare", *arguments), said)
        assert sorted(tmp_path.rglob("*")) == before
    many = tmp_path / "many"
    many.mkdir()
    for number in range(41):
        (many / f"{number}.png").write_bytes(photo.read_bytes())
    assert_refused(run("compare", many, *model, *used, "-o", sheet), "41 photos do not fit on one sheet")
    assert not sheet.exists()


@pytest.mark.parametrize("command", ["extract", "deblur"])
def test_models_of_the_other_kind_are_refused_by_every_command(
    command: str, models: Path, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for option, name, said in (
        ("--deblurrer", "motion", "is an estimator (EtrajModel)"),
        ("--model", "even", "is a deblurrer (MaDmphnForImageDeblurring)"),
    ):
        assert_refused(run(command, photos[1], "-o", out, option, models / name), models / name, said)
        assert not out.exists()


def test_the_most_blurred_part_has_long_motion_and_texture() -> None:
    """Texture lies in two places and motion in two; only one place has both, and shorter motion with it."""
    height, width = 800, 1280
    pixel_values = torch.full((1, 3, height, width), 0.5)
    noise = torch.rand(1, 3, 160, 160)
    pixel_values[:, :, 600:760, 1000:1160] = noise  # moves by 10
    pixel_values[:, :, 40:200, 40:200] = noise  # moves by 1
    offsets = torch.zeros(1, 3, 2, height // 8, width // 8)
    offsets[:, 0, 0], offsets[:, 2, 0] = -0.5, 0.5
    offsets[:, 0, 0, 70:, 120:], offsets[:, 2, 0, 70:, 120:] = -5, 5
    offsets[:, 0, 1, :25, 100:], offsets[:, 2, 1, :25, 100:] = -20, 20  # where the photo is flat
    left, top, right, bottom = most_blurred(pixel_values, offsets)
    assert (right - left, bottom - top) == (480, 360)
    assert left <= 1000 < 1160 <= right <= width
    assert top <= 600 < 760 <= bottom <= height


@pytest.mark.parametrize("size", [(16, 16), (17, 100), (721, 1283)])
def test_a_flat_photo_shows_its_middle(size: tuple[int, int]) -> None:
    height, width = size
    offsets = torch.ones(1, 3, 2, -(-height // 8), -(-width // 8))
    left, top, right, bottom = most_blurred(torch.full((1, 3, height, width), 0.3), offsets)
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    assert (right - left, bottom - top) == (min(480, -(-width // 2)), min(360, -(-height // 2)))

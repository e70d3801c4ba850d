"""Sharp frames that another program made: ``extract --sharp`` and ``--sharp-folder``."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
from click.testing import Result
from commands import assert_refused, run
from PIL import Image

from motion_offsets import BlurToVideoPipeline, EtrajModel
from motion_offsets.extraction.manifest import read_manifests
from motion_offsets.io.images import load_image

SIZE = (48, 40)


def save_noise(path: Path, generator: np.random.Generator, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


@pytest.fixture
def photo(tmp_path: Path, generator: np.random.Generator) -> Path:
    return save_noise(tmp_path / "photo.png", generator)


@pytest.fixture
def sharp(tmp_path: Path, generator: np.random.Generator) -> Path:
    return save_noise(tmp_path / "elsewhere.png", generator)


def extract(models: Path, out: Path, *arguments: object) -> Result:
    return run("extract", "-o", out, "--model", models / "motion", "--device", "cpu", "--frames", 3, *arguments)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_it_is_the_sharp_frame_of_the_clip_and_of_the_comparison(
    models: Path, photo: Path, sharp: Path, tmp_path: Path
) -> None:
    result = extract(models, tmp_path / "out", photo, "--sharp", sharp, "--refine", 0)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "photo"
    given = pixels(sharp)
    np.testing.assert_array_equal(pixels(folder / "sharp.png"), given)
    np.testing.assert_array_equal(pixels(folder / "frames" / "0002.png"), given)
    # The motion is known: the first frame is the sharp one, 3 pixels further to the right.
    np.testing.assert_array_equal(pixels(folder / "frames" / "0001.png")[:, 3:], given[:, :-3])
    told = report(folder)
    assert told["sharp"] == str(sharp)
    assert told["models"] == {"model": str(models / "motion")}
    assert "sharp_frame" not in told["seconds"]
    # The exposure of the given frame along that motion: its 15 positions, weighed alike.
    steps = np.linspace(-3, 3, 15)
    columns = np.clip(np.arange(SIZE[0])[:, None] + steps, 0, SIZE[0] - 1)
    low = np.floor(columns).astype(int)
    share = (columns - low)[None, :, :, None]
    values = given / 255
    high = np.minimum(low + 1, SIZE[0] - 1)
    reblurred = (values[:, low] * (1 - share) + values[:, high] * share).mean(2)
    expected = -10 * np.log10(np.mean((reblurred - pixels(photo) / 255) ** 2))
    assert told["consistency"]["reblur_psnr"] == pytest.approx(expected, abs=0.01)


def test_refinement_fits_the_motion_to_it(models: Path, photo: Path, sharp: Path, tmp_path: Path) -> None:
    assert extract(models, tmp_path / "out", photo, "--sharp", sharp, "--refine", 2).exit_code == 0
    pipe = BlurToVideoPipeline(estimator=EtrajModel.from_pretrained(models / "motion"))
    found = pipe(str(photo), num_frames=3, sharp_image=str(sharp), refine_steps=2)
    with np.load(tmp_path / "out" / "photo" / "motion_offsets.npz") as saved:
        np.testing.assert_allclose(saved["control_points"], found.control_points[0].numpy(), atol=0.01)
    unrefined = pipe(str(photo), num_frames=3, sharp_image=str(sharp), refine_steps=0)
    assert not np.allclose(found.control_points[0], unrefined.control_points[0], atol=0.01)


def test_pipelines_refuse_one_of_another_shape(models: Path, photo: Path) -> None:
    pipe = BlurToVideoPipeline(estimator=EtrajModel.from_pretrained(models / "motion"))
    pixel_values = pipe.preprocess(str(photo))
    with pytest.raises(ValueError, match=r"sharp has shape \(1, 3, 20, 48\) and pixel_values \(1, 3, 40, 48\)"):
        pipe.answer(pixel_values, pixel_values[:, :, :20])


def test_orientation_and_colours_are_those_of_a_photo(models: Path, photo: Path, sharp: Path, tmp_path: Path) -> None:
    upright = pixels(sharp)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right when it is shown
    turned = tmp_path / "turned.png"
    Image.fromarray(np.rot90(upright).copy()).save(turned, exif=exif)
    assert extract(models, tmp_path / "turned", photo, "--sharp", turned).exit_code == 0
    np.testing.assert_array_equal(pixels(tmp_path / "turned" / "photo" / "sharp.png"), upright)

    linear_png = tmp_path / "linear.png"
    Image.fromarray(upright).save(linear_png)
    content = linear_png.read_bytes()
    body = b"gAMA" + struct.pack(">I", 100_000)  # linear light
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    linear_png.write_bytes(content[:33] + chunk + content[33:])
    assert extract(models, tmp_path / "linear", photo, "--sharp", linear_png).exit_code == 0
    shown = pixels(tmp_path / "linear" / "photo" / "sharp.png")
    np.testing.assert_array_equal(shown, np.asarray(load_image(linear_png)))
    linear = upright / 255
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(shown / 255 - encoded).max() < 0.02
    assert np.abs(shown / 255 - linear).max() > 0.2


def test_a_folder_is_matched_by_stem_and_a_photo_without_one_fails_alone(
    models: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    for name in "abcd":
        save_noise(tmp_path / "photos" / f"{name}.png", generator)
    sharp = {
        "a": save_noise(tmp_path / "sharp" / "a.tif", generator),
        "c": save_noise(tmp_path / "sharp" / "c.png", generator, (40, 40)),
        "d": save_noise(tmp_path / "sharp" / "d.png", generator),
    }
    out = tmp_path / "out"
    result = extract(models, out, tmp_path / "photos", "--sharp-folder", tmp_path / "sharp")
    assert result.exit_code == 2
    lines = sorted(result.stderr.strip().splitlines())
    assert len(lines) == 2
    assert f"{tmp_path / 'photos' / 'b.png'}: {tmp_path / 'sharp'} holds no sharp frame for it" in lines[0]
    assert f"{sharp['c']}: is 40x40, and {tmp_path / 'photos' / 'c.png'} is 48x40" in lines[1]
    assert sorted(path.name for path in out.iterdir()) == ["a", "d", "manifest.jsonl"]
    for name in "ad":
        np.testing.assert_array_equal(pixels(out / name / "sharp.png"), pixels(sharp[name]))

    # What is missing is added and one frame is replaced: these are done, the others are left alone.
    save_noise(tmp_path / "sharp" / "b.png", generator)
    save_noise(sharp["c"], generator)
    save_noise(sharp["d"], generator)
    before = (out / "a" / "report.json").stat().st_mtime_ns
    again = extract(models, out, tmp_path / "photos", "--sharp-folder", tmp_path / "sharp")
    assert again.exit_code == 0, again.output
    assert again.stdout.count("already done") == 1
    assert (out / "a" / "report.json").stat().st_mtime_ns == before
    np.testing.assert_array_equal(pixels(out / "d" / "sharp.png"), pixels(sharp["d"]))
    last = {line["result"]: line for line in read_manifests(out)}
    assert {line["status"] for line in last.values()} == {"done"}
    assert last["d"]["sharp_sha256"] == report(out / "d")["sharp_sha256"]

    # Without given frames, the results are not these.
    without = extract(models, out, tmp_path / "photos", "--deblurrer", models / "sharp")
    assert without.exit_code == 0, without.output
    assert "already done" not in without.stdout
    np.testing.assert_array_equal(pixels(out / "d" / "sharp.png"), pixels(tmp_path / "photos" / "d.png"))
    assert "sharp" not in report(out / "d")


def test_two_pictures_for_one_photo_are_refused(
    models: Path, photo: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    for suffix in (".png", ".tif"):
        save_noise(tmp_path / "sharp" / f"photo{suffix}", generator)
    result = extract(models, tmp_path / "out", photo, "--sharp-folder", tmp_path / "sharp")
    assert_refused(result, photo, "holds photo.png and photo.tif for it; keep one of them")


def test_bad_sharp_files_are_one_line_and_nothing_is_written(
    models: Path, photo: Path, sharp: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(sharp.read_bytes()[:300])
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for given, said in (
        (save_noise(tmp_path / "other.png", generator, (40, 48)), "is 40x48, and"),
        (save_noise(tmp_path / "small.png", generator, (32, 40)), "is 32x40, and"),
        (broken, "damaged or cut short"),
        (text, "not a picture"),
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "is a folder"),
    ):
        result = extract(models, tmp_path / "out", photo, "--sharp", given)
        assert_refused(result, photo, given, said)
        assert not (tmp_path / "out").exists()


def test_options_that_do_not_go_together_are_one_line(
    models: Path, photo: Path, sharp: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    second = save_noise(tmp_path / "second.png", generator)
    (tmp_path / "more").mkdir()
    shutil.copy(photo, tmp_path / "more")
    (tmp_path / "empty").mkdir()
    folder = ("--sharp-folder", tmp_path / "more")
    for arguments, said in (
        ([photo, second, "--sharp", sharp], "--sharp is for one photo and there are 2; give --sharp-folder"),
        ([photo, "--sharp", sharp, "--deblurrer", models / "sharp"], "--sharp replaces the sharp frame"),
        ([photo, *folder, "--deblurrer", models / "sharp"], "--sharp-folder replaces the sharp frame"),
        ([photo, *folder, "--sharp", sharp], "--sharp and --sharp-folder are both given"),
        ([photo, "--sharp-folder", tmp_path / "none"], "no such folder"),
        ([photo, "--sharp-folder", sharp], "no such folder"),
        ([photo, "--sharp-folder", tmp_path / "empty"], "holds no photo"),
        ([photo, tmp_path / "more", *folder], "several photos are named photo"),
        ([photo, "--sharp", ""], "is an empty name"),
    ):
        result = extract(models, tmp_path / "out", *arguments)
        assert_refused(result, said)
        assert not (tmp_path / "out").exists()


def test_rows_of_a_data_set_have_none(models: Path, tmp_path: Path, photo: Path, sharp: Path) -> None:
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": photo.read_bytes(), "path": "photo.png"}]},
        features=datasets.Features(image=datasets.Image()),
    )
    rows.to_parquet(tmp_path / "data.parquet")
    for option, given in (("--sharp", sharp), ("--sharp-folder", tmp_path)):
        result = extract(models, tmp_path / "out", tmp_path / "data.parquet", option, given)
        assert_refused(result, f"{option} is for photo files; {tmp_path / 'data.parquet'} is a data set")
        assert not (tmp_path / "out").exists()

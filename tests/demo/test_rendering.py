import os
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motion_offsets import BadInputError
from motion_offsets.demo import rendering
from motion_offsets.demo.answers import Answer
from motion_offsets.demo.limits import Limits
from motion_offsets.demo.photos import metadata_of
from motion_offsets.demo.rendering import ClipSettings, Workplace
from motion_offsets.io.motion_files import load_motion


def _answer(width: int, height: int) -> Answer:
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (height, width, 3), np.uint8)
    points = np.zeros((4, height, width), np.float16)
    points[0], points[2] = -4, 4
    return Answer(photo, photo, points, "etraj-quadratic", "quadratic", 15, {})


@pytest.mark.parametrize(
    ("settings", "frames", "repeats"),
    [
        (ClipSettings(5, 10, False), 5, 1),
        (ClipSettings(5, 10, True), 8, 1),
        (ClipSettings(5, 10, False, seconds=1.2), 5, 3),
        (ClipSettings(2, 10, True, seconds=1), 2, 5),
    ],
)
def test_the_length_of_a_clip(settings: ClipSettings, frames: int, repeats: int) -> None:
    settings.check(Limits())
    assert (len(settings.times), settings.repeats) == (frames, repeats)


@pytest.mark.parametrize("bad", [{"frames": 1}, {"frames": 2.5}, {"frames": None}, {"fps": float("nan")}, {"fps": 61}])
def test_settings_that_are_not_offered(bad: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match=": give a"):
        ClipSettings(**bad).check(Limits())  # type: ignore[arg-type]


def test_frames_move_the_sharp_picture_along_the_paths() -> None:
    answer = _answer(48, 32)
    start, middle, end = rendering.frames(answer, [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(middle, answer.sharp)
    np.testing.assert_array_equal(start[:, 4:], answer.sharp[:, :-4])  # read four pixels to the left
    np.testing.assert_array_equal(end[:, :-4], answer.sharp[:, 4:])


def test_files_keep_date_and_camera_and_the_place_if_wanted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[0x0132] = "Model 1", "2024:05:06 07:08:09"
    exif[0x8825] = {1: "N", 2: (59.0, 30.0, 0.0)}
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (48, 32)).save(photo, exif=exif, dpi=(300, 300))
    answer = replace(_answer(48, 32), metadata=metadata_of(str(photo)))
    for location in (False, True):
        with zipfile.ZipFile(rendering.frames_zip(answer, ClipSettings(2), tmp_path, location)) as archive:
            frame = BytesIO(archive.read("frame-0001.png"))
        for file in (rendering.sharp_png(answer, tmp_path, location), frame):
            with Image.open(file) as picture:
                told = picture.getexif()
                assert (told[0x0110], told[0x0132]) == ("Model 1", "2024:05:06 07:08:09")
                assert bool(told.get_ifd(0x8825)) == location
                assert "dpi" not in picture.info, "the file may be smaller than the photo"


def test_an_uncertain_answer_is_drawn_fainter_and_saved_with_its_uncertainty(tmp_path: Path) -> None:
    sure = replace(_answer(64, 48), photo=np.full((48, 64, 3), 128, np.uint8))
    unsure = replace(sure, uncertainty=np.full((1, 48, 64), 30, np.float16))
    assert unsure.nbytes == sure.nbytes + 2 * 48 * 64
    drawn = []
    for answer in (sure, unsure):
        found = answer.photo, answer.control_points, answer.model
        path = rendering.trajectories(*found, 1, tmp_path, False, answer.uncertainty)
        drawn.append(np.asarray(Image.open(path).convert("HSV"))[..., 1].mean())
        saved = load_motion(rendering.offsets_npz(answer, ClipSettings(), tmp_path))
        assert (saved.uncertainty is None) == (answer.uncertainty is None)
    assert drawn[1] < 0.6 * drawn[0], "colours are fainter"
    assert saved.uncertainty is not None
    assert saved.uncertainty.unique().tolist() == [30]


@pytest.mark.parametrize(
    ("click", "pixel"), [((0, 0), (0, 0)), ([639, 300], (319, 150)), ((1e9, -5), (639, 0)), ((1279, 639), (639, 319))]
)
def test_a_click_finds_its_pixel(click: tuple[float, float], pixel: tuple[int, int]) -> None:
    assert rendering.clicked_pixel(_answer(640, 320), click) == pixel


@pytest.mark.parametrize("click", [None, "ab", (1,), (float("nan"), 1), (float("inf"), 1), ("x", "y"), {"x": 1}])
def test_a_click_that_is_none(click: object) -> None:
    with pytest.raises(BadInputError, match="Click on a point of the picture"):
        rendering.clicked_pixel(_answer(64, 32), click)


@pytest.mark.parametrize("corner", [(0, 0), (63, 31)])
def test_a_point_in_a_corner_can_be_enlarged(corner: tuple[int, int]) -> None:
    picture, path = rendering.point_picture(_answer(64, 32), *corner)
    assert picture.size == (rendering.POINT_SIDE, rendering.POINT_SIDE)
    assert np.ptp(path, axis=0).tolist() == [8, 0]


def test_old_files_are_deleted_and_new_ones_stay(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, keep_seconds=3600)
    old, new = workplace.new_folder(), workplace.new_folder()
    (old / "clip.mp4").write_bytes(b"old")
    (new / "clip.mp4").write_bytes(b"new")
    os.utime(old, (0, 0))
    workplace.sweep()
    assert [folder.name for folder in workplace.root.iterdir()] == [new.name]
    workplace.close()
    assert list(tmp_path.iterdir()) == []

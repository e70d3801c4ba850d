from dataclasses import replace

import numpy as np
import pytest

from motion_offsets.demo import words
from motion_offsets.demo.answers import Answer
from motion_offsets.exposure.trajectories import reverse_time

SURE = {"reblur_psnr": 36.0, "sharpness_gain": 1.8, "unchanged": False, "mean_offset_length": 5.0, "blur": 0.6}
SURE |= {"explained": 0.8, "doubtful": False}
SHARP = {"blur": 0.25, "sharpness_gain": 1.02, "explained": -0.6}


def _answer(end_x: np.ndarray | float, end_y: np.ndarray | float) -> Answer:
    """Straight motion at one speed from minus to plus the given half ways."""
    ends = np.stack([np.broadcast_to(value, (48, 64)) for value in (end_x, end_y)]).astype(np.float16)
    photo = np.zeros((48, 64, 3), np.uint8)
    return Answer(photo, photo, np.concatenate([-ends, ends]), "etraj-quadratic", "quadratic", 15, SURE)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ((7, 0), "Motion of up to 14 pixels, roughly horizontal; nearly the same everywhere."),
        ((-7, 1), "Motion of up to 14 pixels, roughly horizontal; nearly the same everywhere."),
        ((0, 5), "Motion of up to 10 pixels, roughly vertical; nearly the same everywhere."),
        ((6, 6), "Motion of up to 17 pixels, diagonal like “\\”; nearly the same everywhere."),
        ((6, -6), "Motion of up to 17 pixels, diagonal like “/”; nearly the same everywhere."),
        ((0.1, 0), "Hardly anything moved: no path is longer than about a pixel."),
    ],
)
def test_uniform_motion(way: tuple[float, float], expected: str) -> None:
    assert words.summary(_answer(*way)) == expected


def test_a_still_background_is_named() -> None:
    moved = np.zeros((48, 64))
    moved[:, 40:] = 10
    assert words.summary(_answer(moved, 0)) == (
        "Motion of up to 20 pixels, roughly horizontal; about 60 % of the picture is nearly still."
    )


def test_a_turn_has_no_one_axis() -> None:
    y, x = np.mgrid[-24:24, -32:32] / 4
    assert "pixels, along different lines in different places" in words.summary(_answer(-y, x))


def test_the_words_do_not_depend_on_the_direction_of_time() -> None:
    forward = _answer(9, 3)
    backward = Answer(
        forward.photo,
        forward.sharp,
        reverse_time(forward.points(), "quadratic")[0].half().numpy(),
        *(forward.model, forward.trajectory, forward.num_samples, SURE),
    )
    assert words.summary(forward) == words.summary(backward)
    times = [-1.0, 0.0, 1.0]
    assert words.point_words(3, 4, forward.path_at(3, 4, times)) == words.point_words(
        3, 4, backward.path_at(3, 4, times)
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([[-5, 0], [0, 0], [5, 0]], "moved along 10 pixels (10 across, 0 down): nearly straight, roughly horizontal."),
        ([[-5, 5], [0, 0], [5, 5]], "moved along 14 pixels (10 across, 5 down): bent, roughly horizontal."),
        ([[0, 8], [0, 0], [0, 7]], "moved along 15 pixels (0 across, 8 down): turning back, roughly vertical."),
        ([[0, 0.2], [0, 0], [0, 0.1]], "hardly moved: less than a pixel."),
    ],
)
def test_one_point(path: list[list[float]], expected: str) -> None:
    assert words.point_words(12, 34, np.array(path, np.float32)) == f"The point at 12, 34 {expected}"


@pytest.mark.parametrize(
    ("change", "beginning", "verdict"),
    [
        ({}, "Good match: blurring the sharp picture along these paths gives your photo back.", "good"),
        ({"explained": 0.45}, "Fair match", "fair"),
        ({"sharpness_gain": 1.02}, "Fair match", "fair"),
        ({"reblur_psnr": 21.0}, "Poor match: blurring the sharp picture along these paths gives something", "poor"),
        ({"doubtful": True, "explained": 0.12}, "Poor match: the motion found explains only 12% of the", "poor"),
        ({"doubtful": True, "explained": -0.4}, "Poor match: the motion found explains only 0% of the", "poor"),
        ({"doubtful": False, "explained": -0.4}, "Poor match: the motion found explains only 0% of the", "poor"),
        ({"sharpness_gain": 224550.8, "reblur_psnr": 60.0}, "This photo is almost flat", "poor"),
        ({"blur": 0.0, "sharpness_gain": 0.0}, "This photo is almost flat", "poor"),
        ({"unchanged": True, "reblur_psnr": 60.0}, "Poor match: your photo looks blurred, but", "poor"),
        (SHARP, "The networks find motion in every photo", "nothing"),
        (SHARP | {"explained": 6e-5}, "The networks find motion in every photo", "nothing"),
        # As of a photo of which only a part moved.
        (SHARP | {"explained": 0.25}, "Poor match: the motion found explains only 25%", "poor"),
    ],
)
def test_verdict(change: dict[str, float], beginning: str, verdict: str) -> None:
    sentence, found = words.verdict(SURE | change)
    assert sentence.startswith(beginning)
    assert found == verdict


def test_a_sharp_photo_is_told_so_whatever_motion_was_found() -> None:
    answer = replace(_answer(9, 3), consistency=SURE | SHARP)
    assert words.summary(answer) == "This photo looks sharp: nothing to undo."

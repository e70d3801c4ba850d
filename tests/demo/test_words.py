import numpy as np
import pytest

from motion_offsets.demo import words
from motion_offsets.demo.answers import Answer
from motion_offsets.exposure.trajectories import reverse_time

SURE = {"reblur_psnr": 36.0, "sharpness_gain": 1.8, "unchanged": False, "mean_offset_length": 5.0, "blur": 0.6}
SURE |= {"explained": 0.8, "doubtful": False}


def _answer(end_x: np.ndarray | float, end_y: np.ndarray | float) -> Answer:
    """Straight motion at one speed from minus to plus the given half ways."""
    ends = np.stack([np.broadcast_to(value, (48, 64)) for value in (end_x, end_y)]).astype(np.float16)
    photo = np.zeros((48, 64, 3), np.uint8)
    return Answer(photo, photo, np.concatenate([-ends, ends]), "etraj-quadratic", "quadratic", 15, SURE)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ((7, 0), "Most motion: 14 px, roughly horizontal; nearly the same everywhere."),
        ((-7, 1), "Most motion: 14 px, roughly horizontal; nearly the same everywhere."),
        ((0, 5), "Most motion: 10 px, roughly vertical; nearly the same everywhere."),
        ((6, 6), "Most motion: 17 px, diagonal like “\\”; nearly the same everywhere."),
        ((6, -6), "Most motion: 17 px, diagonal like “/”; nearly the same everywhere."),
        ((0.1, 0), "Hardly anything moved: no path is longer than about a pixel."),
    ],
)
def test_uniform_motion(way: tuple[float, float], expected: str) -> None:
    assert words.summary(_answer(*way)) == expected


def test_a_still_background_is_named() -> None:
    moved = np.zeros((48, 64))
    moved[:, 40:] = 10
    assert words.summary(_answer(moved, 0)) == (
        "Most motion: 20 px, roughly horizontal; about 60 % of the picture is nearly still."
    )


def test_a_turn_has_no_one_axis() -> None:
    y, x = np.mgrid[-24:24, -32:32] / 4
    assert "px, along different lines from place to place" in words.summary(_answer(-y, x))


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
        ([[-5, 0], [0, 0], [5, 0]], "moved along 10 px (10 across, 0 down): nearly straight, roughly horizontal."),
        ([[-5, 5], [0, 0], [5, 5]], "moved along 14 px (10 across, 5 down): bent, roughly horizontal."),
        ([[0, 8], [0, 0], [0, 7]], "moved along 15 px (0 across, 8 down): turning back, roughly vertical."),
        ([[0, 0.2], [0, 0], [0, 0.1]], "hardly moved: less than a pixel."),
    ],
)
def test_one_point(path: list[list[float]], expected: str) -> None:
    assert words.point_words(12, 34, np.array(path, np.float32)) == f"The point at 12, 34 {expected}"


@pytest.mark.parametrize(
    ("change", "beginning", "warns"),
    [
        ({}, "The sharp frame, blurred again along these paths, closely matches your photo (36.0 dB)", False),
        ({"reblur_psnr": 30.0}, "The sharp frame, blurred again along these paths, roughly matches", False),
        ({"reblur_psnr": 21.0}, "The sharp frame, blurred again along these paths, differs visibly", True),
        (
            {"doubtful": True, "explained": 0.12},
            "Doubtful: blurring the sharp frame again along these paths takes back only 12% of what it changes",
            True,
        ),
        (
            {"doubtful": True, "explained": -0.4},
            "Doubtful: blurring the sharp frame again along these paths takes back only 0% of what it changes",
            True,
        ),
        ({"sharpness_gain": 224550.8, "reblur_psnr": 60.0}, "The photo is almost flat", True),
        ({"blur": 0.0, "sharpness_gain": 0.0}, "The photo is almost flat", True),
        ({"unchanged": True, "reblur_psnr": 60.0}, "The photo looks blurred, yet the sharp frame is hardly", True),
    ],
)
def test_trust(change: dict[str, float], beginning: str, warns: bool) -> None:
    sentence, warning = words.consistency_words(SURE | change)
    assert sentence.startswith(beginning)
    assert warning == warns

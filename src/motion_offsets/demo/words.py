"""What an answer says, in plain words. One photo cannot tell a direction in time: only axes are ever named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..exposure.trajectories import sample_times
from ..visualization.paths import STILL_PIXELS
from .answers import Answer

# Below this the sharp frame, blurred again, visibly differs from the photo. The paper's networks reach 35 to 39 dB.
LOW_CONSISTENCY = 28.0
GOOD_CONSISTENCY = 34.0
# Above this the photo held next to nothing to begin with: the sharp frames of real photos are a few times as sharp.
MAX_GAIN = 20.0
# Mean cosine of twice the angle between the paths and their common axis, from which on they count as sharing it.
ONE_AXIS = 0.8
NO_ONE_AXIS = "along different lines from place to place"
STRIDE = 4


def summary(answer: Answer) -> str:
    """One line on how far, along which axis and where the picture moved."""
    times = sample_times(answer.num_samples).tolist()
    offsets = answer.offsets(times, STRIDE).numpy()
    lengths = path_lengths(offsets)
    typical_high = float(np.percentile(lengths, 95))
    if typical_high < STILL_PIXELS:
        return "Hardly anything moved: no path is longer than about a pixel."
    axis = axis_words(offsets[-1] - offsets[0])
    parts = [f"Most motion: {_pixels(typical_high)}, {axis}"]
    still = float((lengths < max(STILL_PIXELS, 0.15 * typical_high)).mean())
    median = float(np.median(lengths))
    if still > 0.9:
        parts.append("almost all of the picture is still")
    elif still > 0.15:
        parts.append(f"about {_tens(still)} % of the picture is nearly still")
    elif median > 0.75 * typical_high:
        parts += ["nearly the same everywhere"] if axis != NO_ONE_AXIS else []
    else:
        parts.append(f"half of the picture moved less than {_pixels(median)}")
    return "; ".join(parts) + "."


def path_lengths(offsets: np.ndarray) -> np.ndarray:
    """Length in pixels along each path of ``(N, 2, h, w)`` offsets, ``(h, w)``."""
    return np.linalg.norm(np.diff(offsets, axis=0), axis=1).sum(axis=0)


def axis_words(span: np.ndarray) -> str:
    """The axis of ``(2, ...)`` end-to-end vectors in words, whichever way along it."""
    dx, dy = span[0].astype(np.float64), span[1].astype(np.float64)
    # Twice the angle: a motion and its reversal have the same. Long paths count for more.
    doubled = np.array([(dx * dx - dy * dy).sum(), (2 * dx * dy).sum()])
    weight = float((dx * dx + dy * dy).sum())
    if weight == 0:
        return "back to where it began"
    if np.linalg.norm(doubled) < ONE_AXIS * weight:
        return NO_ONE_AXIS
    angle = math.degrees(math.atan2(doubled[1], doubled[0])) / 2  # -90 to 90, y down
    if abs(angle) < 22.5:
        return "roughly horizontal"
    if abs(angle) > 67.5:
        return "roughly vertical"
    return "diagonal like \u201c\\\u201d" if angle > 0 else "diagonal like \u201c/\u201d"


def point_words(x: int, y: int, path: np.ndarray) -> str:
    """One line on one pixel's own ``(T, 2)`` path."""
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    where = f"The point at {x}, {y} "
    if length < STILL_PIXELS:
        return where + "hardly moved: less than a pixel."
    across, down = np.ptp(path, axis=0)
    straight = float(np.linalg.norm(path[-1] - path[0]))
    shape = "nearly straight" if straight > 0.97 * length else "bent" if straight > 0.6 * length else "turning back"
    axis = axis_words((path[-1] - path[0])[:, None])
    return where + f"moved along {_pixels(length)} ({across:.0f} across, {down:.0f} down): {shape}, {axis}."


def consistency_words(consistency: dict[str, Any]) -> tuple[str, bool]:
    """How far to trust the answer, in a sentence, and whether that is a warning."""
    psnr = f"{consistency['reblur_psnr']:.1f} dB"
    # Where the photo holds no differences at all, its blur is zero.
    if consistency["blur"] == 0 or consistency["sharpness_gain"] > MAX_GAIN:
        return "The photo is almost flat: without edges or texture there is nothing to see motion by.", True
    if consistency["unchanged"]:
        return (
            "The photo looks blurred, yet the sharp frame is hardly sharper: the networks did not understand this "
            "photo, or it is out of focus rather than moved."
        ), True
    if consistency["doubtful"]:
        return (
            "Doubtful: blurring the sharp frame again along these paths takes back only "
            f"{max(consistency['explained'], 0):.0%} of what it changes in your photo; details of it may be invented."
        ), True
    if consistency["reblur_psnr"] < LOW_CONSISTENCY:
        return (
            f"The sharp frame, blurred again along these paths, differs visibly from your photo ({psnr}; most answers "
            f"reach {GOOD_CONSISTENCY:.0f}), though the motion explains most of what it changes."
        ), True
    match = "closely matches" if consistency["reblur_psnr"] >= GOOD_CONSISTENCY else "roughly matches"
    sentence = f"The sharp frame, blurred again along these paths, {match} your photo ({psnr}"
    return f"{sentence}); it is {consistency['sharpness_gain']:.1f} times as sharp.", False


def _pixels(length: float) -> str:
    return f"{length:.0f} px" if length >= 1.5 else "1 px"


def _tens(share: float) -> int:
    return max(10, round(share * 10) * 10)

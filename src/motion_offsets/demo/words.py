"""What an answer says, in plain words. One photo cannot tell a direction in time: only axes are ever named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..exposure.consistency import BLURRED, EXPLAINED, NO_GAIN
from ..exposure.trajectories import sample_times
from ..visualization.paths import STILL_PIXELS
from .answers import Answer

# Below this the sharp frame, blurred again, visibly differs from the photo. The paper's networks reach 35 to 39 dB.
LOW_CONSISTENCY = 28.0
# From this explained part of its change on, an answer counts as good; below Consistency's own threshold it is poor.
WELL_EXPLAINED = 0.5
# All 24 sharp photos of Kodak's set, 480 pixels wide, gain less, and the motion explains none of the change in 23.
SHARP_GAIN = 1.1
NONE_EXPLAINED = 0.005  # where nothing moves, rounding errors decide about the sign
GOOD, FAIR, POOR, NOTHING = "good", "fair", "poor", "nothing"
# Above this the photo held next to nothing to begin with: the sharp frames of real photos are a few times as sharp.
MAX_GAIN = 20.0
# Mean cosine of twice the angle between the paths and their common axis, from which on they count as sharing it.
ONE_AXIS = 0.8
LOOKS_SHARP = "This photo looks sharp: nothing to undo."
NO_ONE_AXIS = "along different lines in different places"
STRIDE = 4


def summary(answer: Answer) -> str:
    """One line on how far, along which axis and where the picture moved."""
    if looks_sharp(answer.consistency):
        return LOOKS_SHARP
    times = sample_times(answer.num_samples).tolist()
    offsets = answer.offsets(times, STRIDE).numpy()
    lengths = path_lengths(offsets)
    typical_high = float(np.percentile(lengths, 95))
    if typical_high < STILL_PIXELS:
        return "Hardly anything moved: no path is longer than about a pixel."
    axis = axis_words(offsets[-1] - offsets[0])
    parts = [f"Motion of up to {_pixels(typical_high)}, {axis}"]
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


def is_flat(consistency: dict[str, Any]) -> bool:
    """Whether the photo holds no edges or texture by which motion could be seen."""
    # Where the photo holds no differences at all, its blur is zero.
    return consistency["blur"] == 0 or consistency["sharpness_gain"] > MAX_GAIN


def looks_sharp(consistency: dict[str, Any]) -> bool:
    """Whether the photo was sharp already: it does not look blurred, and the networks found nothing to improve."""
    sharp = consistency["blur"] <= BLURRED and consistency["sharpness_gain"] < SHARP_GAIN
    return sharp and consistency["explained"] < NONE_EXPLAINED and not is_flat(consistency)


def verdict(consistency: dict[str, Any]) -> tuple[str, str]:
    """How far to trust the answer: a sentence, and one of ``GOOD``, ``FAIR``, ``POOR`` and ``NOTHING`` (to undo)."""
    explained = consistency["explained"]
    if is_flat(consistency):
        return "This photo is almost flat: without edges or texture, no motion can be seen in it.", POOR
    if looks_sharp(consistency):
        return "The networks find motion in every photo; for a sharp one, ignore the clip and the paths.", NOTHING
    if consistency["unchanged"]:
        return (
            "Poor match: your photo looks blurred, but the sharp picture is hardly sharper. It may be out of focus, "
            "which cannot be undone here."
        ), POOR
    if consistency["doubtful"] or explained < EXPLAINED:
        return (
            f"Poor match: the motion found explains only {max(explained, 0):.0%} of the difference between the sharp "
            "picture and your photo, so details may be invented."
        ), POOR
    if consistency["reblur_psnr"] < LOW_CONSISTENCY:
        return (
            "Poor match: blurring the sharp picture along these paths gives something visibly different from your "
            "photo."
        ), POOR
    if explained < WELL_EXPLAINED or consistency["sharpness_gain"] < NO_GAIN:
        return (
            "Fair match: blurring the sharp picture along these paths roughly gives your photo back. Do not rely on "
            "small details."
        ), FAIR
    return "Good match: blurring the sharp picture along these paths gives your photo back.", GOOD


def _pixels(length: float) -> str:
    return f"{length:.0f} pixels" if length >= 1.5 else "1 pixel"


def _tens(share: float) -> int:
    return max(10, round(share * 10) * 10)

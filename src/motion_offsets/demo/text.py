"""Every word on the page."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np

from ..version import __version__
from ..visualization.colors import time_colors
from .limits import Limits

TITLE = "What happened while the shutter was open?"
INTRO = (
    "Upload a photo that is blurred because something moved: this page shows what moved, makes the picture sharp, and "
    "plays the moment back in slow motion."
)
PREVIEW_ALT = "Left, a blurred photo; right, the sharp picture that was recovered from it"
PHOTO = "Your blurred photo"
EXAMPLES = "No photo at hand? Try one of these: two taken with a shaken camera, and two of something that moved."
RUN = "Show me the motion"
STOP = "Stop"
SHARE = "Share"
COPIED = "The address of this page is copied."
MODEL = "How things may move"
MODELS = {
    "quadratic": "Along curves, at varying speed",
    "linear": "Straight, at constant speed",
    "bidirectional-linear": "Straight, with one bend",
    "cubic": "Along curves that may bend twice",
    "zero-constraint": "Freely (without an order in time)",
}
DEBLURRER = "Sharpen with"
# What the page says of a deblurrer beside its name, by model_type.
SLOW_DEBLURRERS = {"maxim": "Best, slower"}
DETAIL = "Detail"
MORE = "Advanced"
REFINE = "Fit motion and sharp frame to this photo (better, slower)"
SAFE = "Keep only changes that the motion explains"
CLIP = "The exposure in slow motion"
FRAMES = "Frames"
FPS = "Frames per second"
BACK_AND_FORTH = "Back and forth"
SECONDS = "Length of the MP4 (seconds)"
SECONDS_INFO = "The clip repeats up to this length; 0 plays it once."
LINE = "Line between your photo and the sharp picture"
PHOTO_ALT = "Your photo"
SHARP_ALT = "The sharp picture"
BEFORE_AFTER_HINT = (
    "Drag the line, or move it with the arrow keys: your photo is on its left, the sharp picture on its right."
)
PATHS = "The path of each point, coloured by time"
DENSITY = "How many paths"
READY = "Press the button to see what moved."
NO_PHOTO = "Choose a photo to begin."
POINT = "That point's own path, enlarged"
POINT_HINT = "**Click anywhere on the picture to see that point's own path, enlarged.**"
FLOW = "Motion as colour: the hue shows the axis, the strength the length"
FLOW_HINT = (
    "The wheel in the corner shows which motion each colour stands for; white means none. Opposite colours may mean "
    "the same motion: one photo cannot tell which end came first."
)
TABS = ("Clip", "Sharp", "Paths", "Colour")
DOWNLOADS = ("Clip (MP4)", "Clip (GIF)", "Frames (ZIP)", "Sharp picture (PNG)", "Motion (NPZ)")
DOWNLOADS_TITLE = "Downloads"
LOCATION = "Keep the place where the photo was taken (GPS)"

WAITING = "Waiting in the queue"
STOPPING = "Stopping"
STEP_READ = "Reading the photo"
STEP_MOTION = "Finding the motion"
STEP_SHARP = "Finding the sharp picture"
STEP_REFINE = "Fitting the motion to the photo"
STEP_COMPARE = "Comparing with your photo"
STEP_DRAW = "Drawing the clip"
STOPPED = "The page is as it was before."
FAILED = "That did not work"
OUR_FAULT = "Something went wrong on our side; please try again, or try another photo."


# Signs of the verdicts of words.py.
_MARKS = {"good": "✓", "fair": "≈", "poor": "⚠", "nothing": "ℹ"}


def summary_html(sentence: str, trust: str, verdict: str) -> str:
    """The line on the motion, and the one on how far to trust it."""
    return (
        f'<p class="mo-summary">{html.escape(sentence)}</p>'
        f'<p class="mo-trust mo-{verdict}" role="note"><span aria-hidden="true">{_MARKS[verdict]}</span> '
        f"{html.escape(trust)}</p>"
    )


def ready_html() -> str:
    """The headline of a photo that has not been answered yet."""
    return f'<p class="mo-summary">{READY}</p>'


def empty_html() -> str:
    """The headline without a photo."""
    return f'<p class="mo-summary">{NO_PHOTO}</p>'


def refused_html(sentence: str) -> str:
    """The headline after an upload that is not a photo; ``sentence`` is HTML."""
    return f'<p class="mo-summary">{NO_PHOTO}</p><p class="mo-trust mo-poor" role="alert">⚠ {sentence}</p>'


def working_html(step: str) -> str:
    """The headline while the networks work."""
    return f'<p class="mo-summary" role="status">{html.escape(step)} …</p>'


def links_html(links: list[tuple[str, str]]) -> str:
    """The links below the title."""
    return " · ".join(
        f'<a href="{html.escape(address)}" target="_blank" rel="noopener">{html.escape(label)}</a>'
        for label, address in links
    )


def legend_html() -> str:
    """Which colour is which end of a path."""
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in time_colors(np.linspace(-1, 1, 9)).tolist())
    ramp = f'<span style="background: linear-gradient(90deg, {stops})"></span>'
    return f'<div class="mo-legend"><span>one end of the exposure</span>{ramp}<span>the other</span></div>'


def deblurrer_choices(deblurrers: dict[str, str]) -> list[tuple[str, str]]:
    """Label and name of each deblurrer, given as name to ``model_type``; of a folder's path the last part is shown."""
    last = [Path(name).name or name for name in deblurrers]
    choices = []
    for (name, kind), short in zip(deblurrers.items(), last, strict=True):
        shown = name if last.count(short) > 1 else short
        remark = SLOW_DEBLURRERS.get(kind)
        choices.append((shown if remark is None else f"{remark} ({shown})", name))
    return choices


def detail_choices(limits: Limits) -> list[tuple[str, int]]:
    names = ("Quick", "Fine, slower", "Finest, slowest")
    return [
        (f"{name} (up to {pixels / 1e6:g} megapixels)".replace("1 megapixels", "1 megapixel"), index)
        for index, (name, pixels) in enumerate(zip(names, limits.working_pixels, strict=False))
    ]


def about(limits: Limits) -> str:
    """The fold at the foot of the page."""
    hours, megabytes = limits.keep_seconds / 3600, limits.upload_bytes / 1e6
    kept = "one hour" if hours == 1 else f"{hours:g} hours"
    return f"""
**How it works.** While the shutter is open, every point of the scene moves along a path in the picture. One network
estimates these paths from the blur, and a second one uses them to make the picture sharp. Moving the sharp picture
along the paths gives the clip. The method is *Exposure Trajectory Recovery from Motion Blur* (Zhang, Wang, Maybank,
Tao); the code and the networks are this project's own, motion-offsets {__version__}.

**What it cannot do.** One photo cannot tell a motion from its reversal, so the clip may run backwards. A photo that
is out of focus cannot be made sharp this way. Long blur, faces and small print often come out wrong: the sharp picture
is a good guess, not evidence. The sentence below the headline says how well the answer explains your photo.

**Privacy.** Your photo is used for your answer only. It stays in the memory and temporary files of this computer, is
deleted {kept} after its last use, and is not sent elsewhere. Downloaded pictures keep its date and camera, and its
place only if you tick the box.

**Limits.** Photos may have up to {megabytes:.0f} MB and {limits.upload_pixels / 1e6:.0f} megapixels; photos larger
than the chosen detail are scaled down. A photo may take up to {limits.seconds:.0f} seconds, and up to {limits.queue}
people can wait in the queue.

**For programs.** `/extract`, `/deblur` and `/trajectories` can be called with `gradio_client` or curl; the
documentation of motion-offsets shows how.
"""

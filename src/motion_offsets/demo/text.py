"""Every word on the page."""

from __future__ import annotations

import html

import numpy as np

from ..visualization.colors import time_colors
from .limits import Limits

TITLE = "What happened while the shutter was open?"
INTRO = (
    "A blurred photo is a short film squeezed into one picture. Give one, and watch it: the path that every point "
    "took, the sharp picture underneath, and a slow-motion clip."
)
PHOTO = "Your blurred photo"
EXAMPLES = "No photo at hand? Try one of these: two shaken cameras and a moving cup, all rendered."
RUN = "Show me the motion"
STOP = "Stop"
MODEL = "How things may move"
MODELS = {
    "quadratic": "Along curves, speeding up or slowing down",
    "linear": "Straight on, at one speed",
    "bidirectional-linear": "Straight, with one bend in the middle",
    "cubic": "Along curves that may bend twice",
    "zero-constraint": "Freely (the order in time then has no meaning)",
}
DETAIL = "Detail"
MORE = "More choices"
CLIP = "The exposure in slow motion"
FRAMES = "Frames"
FPS = "Frames a second"
BACK_AND_FORTH = "Back and forth"
SECONDS = "Length of the MP4 (seconds)"
SECONDS_INFO = "The clip repeats up to this length; 0 is once."
BEFORE_AFTER = "Your photo, and the sharp picture"
BEFORE_AFTER_HINT = "Drag the line: your photo is on its left, the sharp picture on its right."
PATHS = "The path of each point, coloured by time"
DENSITY = "How many paths"
READY = "With a photo in place, press the button to see what moved."
POINT = "That point's own path, enlarged"
POINT_HINT = "**Click anywhere on the picture to see that point's own path, enlarged.**"
FLOW = "Motion as colour: hue is the axis, strength the length"
FLOW_HINT = (
    "The wheel in the corner tells which colour is which motion; white stood still. A colour and the one opposite may "
    "stand for the same blur: one photo does not tell which end came first."
)
TABS = ("Clip", "Sharp", "Paths", "Colour")
DOWNLOADS = ("Clip (MP4)", "Clip (GIF)", "Frames (ZIP)", "Sharp picture (PNG)", "Motion (NPZ)")
DOWNLOADS_TITLE = "Downloads"

STEP_READ = "Reading the photo"
STEP_MOTION = "Finding the motion"
STEP_SHARP = "Finding the sharp picture"
STEP_COMPARE = "Blurring it again, to compare"
STEP_DRAW = "Drawing"
STOPPED = "The page shows what it showed before."
OUR_FAULT = "Something went wrong on our side; please try again, or try another photo."


def summary_html(sentence: str, trust: str, warning: bool) -> str:
    """The line on the motion, and the one on how far to trust it."""
    kind, mark = ("warning", "⚠") if warning else ("fine", "✓")
    return (
        f'<p class="mo-summary">{html.escape(sentence)}</p>'
        f'<p class="mo-trust mo-{kind}" role="note"><span aria-hidden="true">{mark}</span> {html.escape(trust)}</p>'
    )


def ready_html() -> str:
    """What stands in place of an answer while there is none."""
    return f'<p class="mo-summary">{READY}</p>'


def legend_html() -> str:
    """Which colour is which end of a path."""
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in time_colors(np.linspace(-1, 1, 9)).tolist())
    ramp = f'<span style="background: linear-gradient(90deg, {stops})"></span>'
    return f'<div class="mo-legend"><span>one end of the exposure</span>{ramp}<span>the other</span></div>'


def detail_choices(limits: Limits) -> list[tuple[str, int]]:
    names = ("Quick", "Fine, slower", "Finest, slowest")
    return [
        (f"{name} (up to {pixels / 1e6:g} megapixels)".replace("1 megapixels", "1 megapixel"), index)
        for index, (name, pixels) in enumerate(zip(names, limits.working_pixels, strict=False))
    ]


def about(limits: Limits) -> str:
    """The fold at the foot of the page."""
    hours, megabytes = limits.keep_seconds / 3600, limits.upload_bytes / 1e6
    kept = "an hour" if hours == 1 else f"{hours:g} hours"
    return f"""
**How it works.** While the shutter is open, every point of the scene draws a path across the picture. A network
estimates those paths from the blur; a second one, told about them, makes the picture sharp; moving the sharp picture
along the paths gives the clip. The method is *Exposure Trajectory Recovery from Motion Blur* (Zhang, Wang, Maybank,
Tao); the code and the networks are this project's own.

**What it cannot do.** One photo does not tell a motion from its reversal, so the clip may run backwards. What is out
of focus is not moved, and cannot be brought back this way. Long blur, faces and small print often come out wrong: the
sharp picture is a good guess, no evidence. The sentence with the tick or the warning sign says how well the answer
explains your photo.

**Privacy.** Your photo is used for your answer and for nothing else. It stays in this computer's memory and temporary
files, and is deleted once it has not been used for {kept}. It is not sent elsewhere.

**Limits.** Photos of up to {megabytes:.0f} MB and {limits.upload_pixels / 1e6:.0f} megapixels; larger ones than the
chosen detail are scaled down. Up to {limits.seconds:.0f} seconds of work a photo, and up to {limits.queue} people in
line.

**For programs.** `/extract`, `/deblur` and `/trajectories` can be called with `gradio_client` or curl; the
project's README shows how.
"""

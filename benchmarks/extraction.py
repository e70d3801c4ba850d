"""What ``pipeline.py`` and ``optimize.py`` time: one photo's answer, step by step as the pipeline names them, and its
frames."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from motion_offsets import BlurToVideoPipeline
from motion_offsets.evaluation.benchmarks.costs import Stopwatch
from motion_offsets.pipelines.answer import Answer
from motion_offsets.pipelines.output import frame_times

# Steps of every extraction; checking the answer's consistency and encoding the clip are timed apart.
STEPS = ("motion", "sharp frame", "frames")


def extract(pipe: BlurToVideoPipeline, pixel_values: Tensor, frames: int, watch: Stopwatch, **options: Any) -> Answer:
    """One answer and each of its frames; ``watch`` has the seconds of :data:`STEPS` and of ``consistency``.

    Args:
        pipe: has a deblurrer.
        pixel_values: ``(1, 3, H, W)`` in [0, 1], on the pipeline's device.
        frames: how many.
        watch: of the pipeline's device.
        options: see :meth:`BlurToVideoPipeline.answer`.
    """
    answer = pipe.answer(pixel_values, part=watch.part, **options)
    assert answer.sharp is not None
    with watch.part("frames"):
        for _ in pipe.frames(answer.sharp, answer.control_points, frame_times(frames)):
            pass
    return answer

"""Seconds and peak memory of a whole extraction, next to a plain float32 DMPHN forward on the same photo size.

    python benchmarks/pipeline.py [--width 1280 --height 720 --frames 15 --repeats 3 --threads 2]

Both run in this process, in turns, after a warm-up of each; medians are compared. An extraction is: decode the photo,
estimate the motion, the camera's with it, deblur, and warp every frame, all with the bundled models, in the steps that
``pipe.answer`` reports. What it takes to turn the motion one way in time, to check the answer's consistency and to
encode the clip is timed apart. The pipeline runs as the command line
runs it, with freed memory kept (``motion_offsets.runtime.allocation``); the plain network both in a process
as it is, and so (``alike``). It is DMPHN 1-2-4 as published, without motion-aware convolutions, in our code and so in
the channels-last layout, on a CPU the faster one; the levels of the bundled deblurrer are printed beside
it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extraction import STEPS, extract
from PIL import Image
from timing import peak_mb, seconds_of

from motion_offsets import BlurToVideoPipeline, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.evaluation.benchmarks.costs import Stopwatch
from motion_offsets.io.video import write_video
from motion_offsets.pipelines.output import frame_times
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.devices import pick_dtype

Laps = dict[str, float]


def extraction(pipe: BlurToVideoPipeline, photo: Path, frames: int, dtype: torch.dtype | None, folder: Path) -> Laps:
    """Seconds of each step of one extraction."""
    watch = Stopwatch(pipe.device)
    with watch.part("decode"):
        pixel_values = pipe.preprocess(str(photo))
    answer = extract(pipe, pixel_values, frames, watch, dtype=dtype)
    sharp, points = answer.sharp, answer.control_points
    assert sharp is not None
    with watch.part("frames and video"):
        pictures = (pipe.post_process(frame)[0] for frame in pipe.frames(sharp, points, frame_times(frames)))
        write_video(pictures, folder / "video.mp4")
    return watch.seconds


def plain_dmphn() -> Callable[[torch.Tensor], Any]:
    """DMPHN 1-2-4 as published: no motion-aware convolution, float32."""
    return MaDmphnForImageDeblurring(MaDmphnConfig(motion_aware=False, residual_output=False)).eval()


def forward_seconds(network: Callable[[torch.Tensor], Any], pixel_values: torch.Tensor) -> float:
    """Seconds of the second of two calls: the first takes hold of its memory."""
    network(pixel_values)
    return seconds_of(lambda: network(pixel_values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="default: as many as torch takes")
    parser.add_argument("--dtype", default="auto")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    dtype = pick_dtype(arguments.dtype, torch.device("cpu"))
    dmphn = plain_dmphn()
    extracted: list[Laps] = []
    forwards: list[float] = []
    forwards_alike: list[float] = []
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 256, (arguments.height // 8, arguments.width // 8, 3), np.uint8)
        photo = folder / "photo.png"
        Image.fromarray(noise).resize((arguments.width, arguments.height), Image.Resampling.BICUBIC).save(photo)
        pixel_values = pipe.preprocess(str(photo))
        for round_number in range(arguments.repeats + 1):
            keep_freed_memory()
            extraction(pipe, photo, arguments.frames, dtype, folder)  # takes hold of its memory
            laps = extraction(pipe, photo, arguments.frames, dtype, folder)
            if round_number == 0:
                ours_peak = peak_mb()  # before the plain network could raise it
            alike = forward_seconds(dmphn, pixel_values)
            keep_freed_memory(False)
            seconds = forward_seconds(dmphn, pixel_values)
            if round_number > 0:  # the first round warms up: memory, kernels, caches
                extracted.append(laps)
                forwards.append(seconds)
                forwards_alike.append(alike)
            steps = ", ".join(f"{name} {value:.3f}" for name, value in laps.items())
            print(f"round {round_number}: {steps}; DMPHN {seconds:.3f} s", flush=True)
    medians = {name: round(statistics.median(laps[name] for laps in extracted), 3) for name in extracted[0]}
    ours = statistics.median(sum(laps[name] for name in ("decode", *STEPS)) for laps in extracted)
    plain, alike = statistics.median(forwards), statistics.median(forwards_alike)
    result = {
        "size": f"{arguments.width}x{arguments.height}",
        "frames": arguments.frames,
        "threads": torch.get_num_threads(),
        "deblurrer_levels": list(pipe.deblurrer.config.levels),
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "steps_s": medians,
        "ours_s": round(ours, 3),
        "dmphn_float32_s": round(plain, 3),
        "ratio": round(ours / plain, 3),
        "dmphn_alike_s": round(alike, 3),
        "ratio_alike": round(ours / alike, 3),
        "peak_mb": round(ours_peak),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

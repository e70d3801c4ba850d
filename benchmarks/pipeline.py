"""Seconds and peak memory of a whole extraction, next to a plain float32 DMPHN forward on the same photo size.

    python benchmarks/pipeline.py [--width 1280 --height 720 --frames 15 --repeats 3 --threads 2]

Both run in this process, in turns, after a warm-up of each; medians are compared. An extraction is: decode the photo,
estimate the motion, deblur, turn the motion one way in time, and warp every frame, all with the bundled models. What
it takes to check the answer's consistency and to encode the clip is timed apart. The pipeline runs as the command line
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import peak_mb

from motion_offsets import BlurToVideoPipeline, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.exposure.trajectories import align_time
from motion_offsets.io.video import write_video
from motion_offsets.pipelines.blur_to_video import frame_times
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.devices import pick_dtype

Laps = dict[str, float]


def extraction(pipe: BlurToVideoPipeline, photo: Path, frames: int, dtype: torch.dtype | None, folder: Path) -> Laps:
    """Seconds of each step of one extraction."""
    laps: Laps = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        laps[name] = time.perf_counter() - start
        start = time.perf_counter()

    pixel_values = pipe.preprocess(str(photo))
    lap("decode")
    control_points = pipe.estimate(pixel_values, dtype=dtype)
    lap("offsets")
    sharp = pipe.deblur(pixel_values, control_points if pipe.estimators_agree else None, dtype=dtype)
    lap("deblurring")
    control_points = align_time(control_points, pipe.trajectory)
    lap("align_time")
    for _ in pipe.frames(sharp, control_points, frame_times(frames)):
        pass
    lap("frames")
    pipe.assess(pixel_values, sharp, pipe.reblur(sharp, control_points), control_points)
    lap("consistency")
    pictures = (pipe.post_process(frame)[0] for frame in pipe.frames(sharp, control_points, frame_times(frames)))
    write_video(pictures, folder / "video.mp4")
    lap("frames_and_video")
    return laps


def plain_dmphn() -> Callable[[torch.Tensor], Any]:
    """DMPHN 1-2-4 as published: no motion-aware convolution, float32."""
    return MaDmphnForImageDeblurring(MaDmphnConfig(motion_aware=False, residual_output=False)).eval()


def forward_seconds(network: Callable[[torch.Tensor], Any], pixel_values: torch.Tensor) -> float:
    """Seconds of the second of two calls: the first takes hold of its memory."""
    network(pixel_values)
    start = time.perf_counter()
    network(pixel_values)
    return time.perf_counter() - start


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
    apart = ("consistency", "frames_and_video")
    ours = statistics.median(sum(laps[name] for name in laps if name not in apart) for laps in extracted)
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

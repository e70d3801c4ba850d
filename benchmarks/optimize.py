"""The pipeline as it is beside ``pipe.optimize()``, in turns, in one run; on CUDA also against the aims for an H100.

    python benchmarks/optimize.py [--width 1280 --height 720 --frames 15 --rounds 5 --threads 2 --compile]

Estimator, deblurrer (given the motion) and a whole extraction: motion, sharp frame, one direction of time, and every
frame. On CUDA times are those of CUDA events. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from motion_offsets import BlurToVideoPipeline
from motion_offsets.exposure.trajectories import align_time
from motion_offsets.pipelines.blur_to_video import frame_times
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.devices import pick_device

AIMS_MS = {"estimator": 1.5, "deblurrer": 8.0, "extraction": 12.0}  # issue: an H100-class GPU, 1280x720
WARM_UP = 5  # calls that compile, record CUDA graphs and allocate


def steps(pipe: BlurToVideoPipeline, image: Tensor, frames: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    given = pipe.estimate(image)
    times = frame_times(frames)

    def extraction() -> None:
        points = pipe.estimate(image)
        sharp = pipe.deblur(image, points if pipe.estimators_agree else None)
        for _ in pipe.frames(sharp, align_time(points, pipe.trajectory), times):
            pass

    return {
        "estimator": lambda: pipe.estimate(image),
        "deblurrer": lambda: pipe.deblur(image, given),
        "extraction": extraction,
    }


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Time of one call: between CUDA events, or on the clock."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - start)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    call()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None, help="default: as many as torch takes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="compile on a CPU, too")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = pick_device(arguments.device)
    plain, fast = (BlurToVideoPipeline.from_pretrained("blur-to-video").to(device) for _ in range(2))
    fast.optimize(compile=True if arguments.compile else None)
    image = torch.rand(1, 3, arguments.height, arguments.width).to(device)
    warm_up = WARM_UP if device.type == "cuda" else 1
    calls = {"plain": steps(plain, image, arguments.frames), "optimized": steps(fast, image, arguments.frames)}
    rows = {}
    for step in calls["plain"]:
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(arguments.rounds + warm_up):
            for name, each in calls.items():
                if device.type == "cpu":  # what the process does with freed memory is part of it
                    keep_freed_memory(name == "optimized")
                    each[step]()
                spent = milliseconds(each[step], device)
                if number >= warm_up:
                    taken[name].append(spent)
        row = {name: round(statistics.median(values), 2) for name, values in taken.items()}
        rows[step] = {**row, "ratio": round(row["plain"] / row["optimized"], 2)}
        if device.type == "cuda":
            rows[step]["aim"] = AIMS_MS[step]
        print(f"{step}: {rows[step]}", flush=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    size = f"{arguments.width}x{arguments.height}"
    assert fast.optimization is not None
    result = {"size": size, "frames": arguments.frames, "device": name, "optimization": vars(fast.optimization)}
    print(json.dumps({**result, "ms": rows}))


if __name__ == "__main__":
    main()

"""The pipeline as it is beside ``pipe.optimize()``, in turns, in one run; on CUDA also against the aims for an H100.

    python benchmarks/optimize.py [--width 1280 --height 720 --frames 15 --rounds 5 --threads 2 --compile]

Estimator, deblurrer (given the motion) and a whole extraction, which are both and every frame, by the steps that
``pipe.answer`` reports. On CUDA the device is waited for after each step. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics

import torch
from extraction import STEPS, extract
from torch import Tensor

from motion_offsets import BlurToVideoPipeline
from motion_offsets.evaluation.benchmarks.costs import Stopwatch
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.devices import pick_device

AIMS_MS = {"estimator": 1.5, "deblurrer": 8.0, "extraction": 12.0}  # issue: an H100-class GPU, 1280x720
WARM_UP = 5  # calls that compile, record CUDA graphs and allocate


def milliseconds(pipe: BlurToVideoPipeline, image: Tensor, frames: int) -> dict[str, float]:
    """Of the estimator, the deblurrer and a whole extraction, in one answer."""
    watch = Stopwatch(pipe.device)
    extract(pipe, image, frames, watch, share_offsets=True, camera="off")
    spent = {name: 1e3 * watch.seconds[step] for name, step in (("estimator", "motion"), ("deblurrer", "sharp frame"))}
    return {**spent, "extraction": 1e3 * sum(watch.seconds[step] for step in STEPS)}


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
    taken: dict[str, list[dict[str, float]]] = {"plain": [], "optimized": []}
    for number in range(arguments.rounds + warm_up):
        for name, pipe in (("plain", plain), ("optimized", fast)):
            if device.type == "cpu":  # what the process does with freed memory is part of it
                keep_freed_memory(name == "optimized")
                milliseconds(pipe, image, arguments.frames)
            spent = milliseconds(pipe, image, arguments.frames)
            if number >= warm_up:
                taken[name].append(spent)
    rows = {}
    for step, aim in AIMS_MS.items():
        row = {name: round(statistics.median(each[step] for each in spent), 2) for name, spent in taken.items()}
        rows[step] = {**row, "ratio": round(row["plain"] / row["optimized"], 2)}
        if device.type == "cuda":
            rows[step]["aim"] = aim
        print(f"{step}: {rows[step]}", flush=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    size = f"{arguments.width}x{arguments.height}"
    assert fast.optimization is not None
    result = {"size": size, "frames": arguments.frames, "device": name, "optimization": vars(fast.optimization)}
    print(json.dumps({**result, "ms": rows}))


if __name__ == "__main__":
    main()

"""Crops a second of both stages of training, and where the time goes, beside the same loop on plain PyTorch.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/training.py --images PHOTOS [--rounds 10 --threads 2]

One process takes turns between our loop and the same loop with ``MOTION_OFFSETS_KERNELS=plain``, in which every motion
offset is a ``grid_sample`` of its own; the blur of the crops is made without kernels, too. The loop is train.py's:
crops made from photos, loss with all its terms, gradients, fused Adam. Medians. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import default_collate

from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.training.building import build_stage
from motion_offsets.training.config_files import read_options
from motion_offsets.training.stages import Stage

CONFIGS = Path(__file__).resolve().parents[1] / "train" / "configs"
STAGES = {
    "estimator": ["--config", f"{CONFIGS}/etraj-quadratic.yaml", "--reblur_from", "0", "--ssim_from", "0"],
    "deblurrer": ["--config", f"{CONFIGS}/ma-dmphn.yaml", "--estimator", "etraj-quadratic"],
}
PARTS = ("data", "forward", "backward", "optimizer")


class Loop:
    """One stage's loop, a step at a time."""

    def __init__(self, stage: Stage, batch_size: int, length: int):
        self.stage, self.batch_size = stage, batch_size
        self.crops = stage.dataset(length)
        self.model = stage.model.to(memory_format=torch.channels_last)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=1e-9, fused=True)
        self.accelerator = Accelerator(cpu=True)
        self.taken = 0

    def step(self) -> dict[str, float]:
        """Seconds of each part of one step."""
        marks = [time.perf_counter()]
        numbers = range(self.taken * self.batch_size, (self.taken + 1) * self.batch_size)
        batch = default_collate([self.crops[number] for number in numbers])
        marks.append(time.perf_counter())
        loss, _ = self.stage.loss(self.model, batch, 0.5, self.accelerator)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        self.optimizer.step()
        self.optimizer.zero_grad()
        marks.append(time.perf_counter())
        self.taken += 1
        return {part: after - before for part, before, after in zip(PARTS, marks, marks[1:], strict=False)}


def _figures(steps: list[dict[str, float]], batch: int) -> dict[str, float]:
    parts = {f"{part}_ms": 1000 * statistics.median(step[part] for step in steps) for part in PARTS}
    return {"crops_a_second": batch / statistics.median(sum(step.values()) for step in steps), **parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True, help="folders of sharp photos")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(arguments.threads)
    report: dict[str, object] = {"threads": arguments.threads, "batch": arguments.batch}
    for name, given in STAGES.items():
        torch.manual_seed(0)
        options = read_options([*given, "--images", *arguments.images])
        loops = {way: Loop(build_stage(options), arguments.batch, 10**6) for way in ("ours", "plain")}
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in loops}
        for number in range(arguments.rounds + 1):
            for way, loop in loops.items():
                os.environ["MOTION_OFFSETS_KERNELS"] = "plain" if way == "plain" else ""
                parts = loop.step()
                if number:  # the first round compiles and allocates
                    taken[way].append(parts)
        figures = {way: _figures(steps, arguments.batch) for way, steps in taken.items()}
        rates = {way: figure["crops_a_second"] for way, figure in figures.items()}
        report[name] = {**figures, "speedup": rates["ours"] / rates["plain"]}
        for way, figure in figures.items():
            split = ", ".join(f"{part} {figure[f'{part}_ms']:.0f} ms" for part in PARTS)
            print(f"{name}, {way}: {figure['crops_a_second']:.1f} crops per second; {split} a step")
    print(json.dumps(report))


if __name__ == "__main__":
    main()

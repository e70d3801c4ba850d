"""Claim: the fused exposure is several times as fast as batched ``grid_sample``, forward and with its gradients.

Times, in the same run and taking turns, the blur of eight 128x128 crops from two control points a pixel: the fused
operator, its plain twin, and the usual formulation that samples all N frames in one ``grid_sample`` call. Prints JSON
last.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/exposure.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from timing import medians
from torch import Tensor
from torch.nn import functional

from motion_offsets.exposure import expose, expose_plain
from motion_offsets.trajectories import sample_times, trajectory_basis


def batched_grid_sample(sharp: Tensor, control_points: Tensor, basis: Tensor) -> Tensor:
    """The N frames as one batch of N times the size, averaged."""
    batch, channels, height, width = sharp.shape
    count = basis.shape[0]
    offsets = torch.einsum("nk,bkchw->bnhwc", basis, control_points.unflatten(1, (-1, 2))).flatten(0, 1)
    pixels = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1)
    grid = (2 * (pixels + offsets) + 1) / torch.tensor([width, height]) - 1
    images = sharp[:, None].expand(-1, count, -1, -1, -1).reshape(-1, channels, height, width)
    frames = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return frames.unflatten(0, (batch, count)).mean(1)


def smooth_points(batch: int, size: int, reach: float) -> Tensor:
    """Control points as a moving scene has them, ``(B, 4, S, S)``, up to about ``reach`` pixels."""
    coarse = (torch.rand(batch, 4, 8, 8) * 2 - 1) * reach
    return functional.interpolate(coarse, size=(size, size), mode="bilinear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--reach", type=float, default=18.0, help="longest offset, pixels")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    sharp = torch.rand(arguments.batch, 3, arguments.size, arguments.size)
    points = smooth_points(arguments.batch, arguments.size, arguments.reach)
    basis = trajectory_basis("quadratic", sample_times(arguments.samples, dtype=torch.float32), arguments.samples)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "fused": lambda p: expose(sharp, p, basis),
        "plain_twin": lambda p: expose_plain(sharp, p, basis, "border"),
        "batched_grid_sample": lambda p: batched_grid_sample(sharp, p, basis),
    }
    expected = ways["batched_grid_sample"](points)
    apart = max(float((way(points) - expected).abs().max()) for way in ways.values())

    def both_ways(way: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        learned = points.clone().requires_grad_()
        return lambda: way(learned).sum().backward()

    with torch.no_grad():
        forward = medians({name: lambda way=way: way(points) for name, way in ways.items()}, arguments.rounds)
    training = medians({name: both_ways(way) for name, way in ways.items()}, arguments.rounds)
    report = {
        "size": f"{arguments.batch}x3x{arguments.size}x{arguments.size}, N {arguments.samples}",
        "threads": arguments.threads,
        "largest_difference": apart,
        "forward_s": forward,
        "forward_backward_s": training,
        "speedup_forward": forward["batched_grid_sample"] / forward["fused"],
        "speedup_forward_backward": training["batched_grid_sample"] / training["fused"],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

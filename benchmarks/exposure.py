"""Claim: the fused exposure is several times as fast as ``grid_sample``, forward and with its gradients.

Times, in the same run and taking turns, the blur of eight 128x128 crops from two control points a pixel: the fused
operator, its plain twin, and the usual formulation that samples all N frames in one ``grid_sample`` call. Where there
is a CUDA GPU, also eight 256x256 crops on it, against one ``grid_sample`` an offset, and which share of the GPU's copy
bandwidth the fused operator reaches on the bytes that must move. Prints JSON last.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/exposure.py [--keep-memory]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial

import torch
from timing import copy_bandwidth, gpu_medians, medians
from torch import Tensor
from torch.nn import functional

from motion_offsets.exposure.blur import expose, expose_plain
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis
from motion_offsets.runtime.allocation import keep_freed_memory


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


def offset_by_offset(sharp: Tensor, offsets: Tensor) -> Tensor:
    """One ``grid_sample`` for each of the ``(B, N, 2, H, W)`` offsets, averaged."""
    height, width = sharp.shape[2:]
    ys, xs = (torch.arange(size, device=sharp.device, dtype=torch.float32) for size in (height, width))
    pixels = torch.stack(torch.meshgrid(xs, ys, indexing="xy"))
    size = torch.tensor([width, height], device=sharp.device).view(2, 1, 1)
    total = torch.zeros_like(sharp)
    for offset in offsets.unbind(1):
        grid = ((2 * (pixels + offset) + 1) / size - 1).permute(0, 2, 3, 1)
        total = total + functional.grid_sample(sharp, grid, padding_mode="border", align_corners=False)
    return total / offsets.shape[1]


def bytes_to_move(sharp: Tensor, points: Tensor) -> dict[str, int]:
    """The least a GPU must read and write: each input and each result once."""
    forward = 2 * sharp.nbytes + points.nbytes
    # Backward: the image, its gradient and that of the blur, the points and theirs.
    return {"forward": forward, "forward_backward": forward + 3 * sharp.nbytes + 2 * points.nbytes}


def on_gpu(size: int, samples: int, reach: float, rounds: int) -> dict[str, object]:
    """Forward, and forward and backward to the image and the offsets, of a batch of eight on the GPU."""
    sharp = torch.rand(8, 3, size, size, device="cuda", requires_grad=True)
    points = smooth_points(8, size, reach).cuda().requires_grad_()
    basis = trajectory_basis("quadratic", sample_times(samples, dtype=torch.float32), samples).cuda()
    gradient = torch.rand_like(sharp)

    def loop() -> Tensor:
        return offset_by_offset(sharp, torch.einsum("nk,bkchw->bnchw", basis, points.unflatten(1, (-1, 2))))

    ways = {"fused": lambda: expose(sharp, points, basis), "offset_by_offset": loop}
    with torch.no_grad():
        apart = float((ways["fused"]() - ways["offset_by_offset"]()).abs().max())
        forward = gpu_medians(ways, rounds)

    def both_ways(way: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(way(), (sharp, points), gradient)

    training = gpu_medians({name: both_ways(way) for name, way in ways.items()}, rounds)
    moved, bandwidth = bytes_to_move(sharp, points), copy_bandwidth()
    return {
        "size": f"8x3x{size}x{size}, N {samples}",
        "largest_difference": apart,
        "forward_s": forward,
        "forward_backward_s": training,
        "speedup_forward": forward["offset_by_offset"] / forward["fused"],
        "speedup_forward_backward": training["offset_by_offset"] / training["fused"],
        "copy_bandwidth_gb_s": bandwidth / 1e9,
        "share_of_bandwidth_forward": moved["forward"] / forward["fused"] / bandwidth,
        "share_of_bandwidth_forward_backward": moved["forward_backward"] / training["fused"] / bandwidth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--reach", type=float, default=18.0, help="longest offset, pixels")
    parser.add_argument("--keep-memory", action="store_true", help="keep freed memory, as the command line does")
    arguments = parser.parse_args()
    if arguments.keep_memory:
        keep_freed_memory()
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
        forward = medians({name: partial(way, points) for name, way in ways.items()}, arguments.rounds)
    training = medians({name: both_ways(way) for name, way in ways.items()}, arguments.rounds)
    report: dict[str, object] = {
        "size": f"{arguments.batch}x3x{arguments.size}x{arguments.size}, N {arguments.samples}",
        "threads": arguments.threads,
        "largest_difference": apart,
        "forward_s": forward,
        "forward_backward_s": training,
        "speedup_forward": forward["batched_grid_sample"] / forward["fused"],
        "speedup_forward_backward": training["batched_grid_sample"] / training["fused"],
    }
    if torch.cuda.is_available():
        report["device"] = torch.cuda.get_device_name()
        report["gpu"] = [on_gpu(size, arguments.samples, arguments.reach, arguments.rounds) for size in (256, 1024)]
    else:
        print("no CUDA GPU: the rows on a GPU are left out")
    print(json.dumps(report))


if __name__ == "__main__":
    main()

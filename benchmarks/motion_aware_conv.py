"""Claim: the motion-aware convolution costs no more than twice an ordinary one, in time, and under 1.5 GB.

Times the operator beside ``conv2d`` on the same features, in the same run, taking turns; prints JSON last. Run it with
``OMP_WAIT_POLICY=PASSIVE``: idle threads of PyTorch otherwise keep the cores busy that the kernels' threads need.

Claim on a CUDA GPU, where there is one: at least twice as fast as torchvision's ``deform_conv2d``, where that is
installed, and no memory but the result's.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/motion_aware_conv.py [--keep-memory]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import gpu_medians, gpu_peak_mb, medians, peak_mb
from torch import Tensor, nn
from torch.nn import functional

from motion_offsets.models.motion_aware_conv import motion_aware_conv2d, motion_aware_conv2d_plain
from motion_offsets.runtime.allocation import keep_freed_memory


def smooth_offsets(batch: int, height: int, width: int, reach: float) -> Tensor:
    """Offsets as a moving scene has them, up to about ``reach`` pixels, ``(B, 9, 2, H, W)``."""
    coarse = (torch.rand(batch, 18, 8, 8) * 2 - 1) * reach
    fine = functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return fine.contiguous(memory_format=torch.channels_last).unflatten(1, (9, 2))


def on_gpu(channels: int, reach: float, rounds: int) -> dict[str, object]:
    """1280x720 on the GPU: forward, and forward and backward to all tensors; times, and memory beyond the inputs."""
    x = torch.randn(1, channels, 720, 1280, device="cuda")
    weight, bias = torch.randn(channels, channels, 3, 3, device="cuda"), torch.randn(channels, device="cuda")
    offsets, held = smooth_offsets(1, 720, 1280, reach).cuda(), x.contiguous(memory_format=torch.channels_last)
    problems: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "motion_aware": (motion_aware_conv2d, [held, weight, bias, offsets]),
        "conv_channels_last": (partial(functional.conv2d, padding=1), [held, weight, bias]),
    }
    if importlib.util.find_spec("torchvision"):
        from torchvision.ops import deform_conv2d

        # The same problem in torchvision's terms: planes of features, (dy, dx) from the square grid of the filter.
        square = [(row - 1.0, column - 1.0) for row in range(3) for column in range(3)]
        taps = torch.tensor(square, device="cuda").view(1, 9, 2, 1, 1)
        moved = (0.1 * offsets.flip(2) - taps).flatten(1, 2).contiguous()
        problems["deform_conv2d"] = (partial(deform_conv2d, padding=1), [x, moved, weight, bias])
    else:
        print("torchvision is not installed: deform_conv2d is left out")
    for _, tensors in problems.values():
        for tensor in tensors:
            tensor.requires_grad_()

    def both_ways(way: Callable[..., Tensor], tensors: list[Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(way(*tensors).sum(), tensors)

    ways = {name: partial(way, *tensors) for name, (way, tensors) in problems.items()}
    with torch.no_grad():
        results = {name: way() for name, way in ways.items()}
        memory = {name: gpu_peak_mb(way) for name, way in ways.items()}
        forward = gpu_medians(ways, rounds)
    training = gpu_medians({name: both_ways(*problem) for name, problem in problems.items()}, rounds)
    report: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "forward_1280x720_s": forward,
        "forward_added_mb": memory,
        "result_mb": results["motion_aware"].nbytes / 1e6,
        "forward_backward_1280x720_s": training,
    }
    if "deform_conv2d" in problems:
        apart = results["deform_conv2d"] - results["motion_aware"]
        report["largest_difference_to_deform_conv2d"] = float(apart.abs().max())
        report["speedup_forward"] = forward["deform_conv2d"] / forward["motion_aware"]
        report["speedup_forward_backward"] = training["deform_conv2d"] / training["motion_aware"]
    return report


def _channels_last(layer: Any) -> nn.Conv2d:
    return layer.to(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--reach", type=float, default=27.0, help="longest offset, pixels")
    parser.add_argument("--plain", action="store_true", help="time the nine grid_samples too")
    parser.add_argument("--keep-memory", action="store_true", help="keep freed memory, as the command line does")
    arguments = parser.parse_args()
    if arguments.keep_memory:
        keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    channels: int = arguments.channels
    report: dict[str, Any] = {}
    layers = {"conv": nn.Conv2d(channels, channels, 3, padding=1)}
    layers["conv_channels_last"] = _channels_last(nn.Conv2d(channels, channels, 3, padding=1))
    weight, bias = layers["conv"].weight, layers["conv"].bias

    x = torch.randn(1, channels, 720, 1280)
    held = x.contiguous(memory_format=torch.channels_last)
    offsets = smooth_offsets(1, 720, 1280, arguments.reach)
    calls: dict[str, Callable[[], object]] = {
        "motion_aware": lambda: motion_aware_conv2d(held, weight, bias, offsets),
        "conv": lambda: layers["conv"](x),
        "conv_channels_last": lambda: layers["conv_channels_last"](held),
    }
    if arguments.plain:
        calls["plain_twin"] = lambda: motion_aware_conv2d_plain(x, weight, bias, offsets)
    with torch.no_grad():
        before = peak_mb()
        calls["motion_aware"]()
        report["forward_peak_mb"] = round(peak_mb(), 1)
        report["forward_added_mb"] = round(peak_mb() - before, 1)
        report["forward_1280x720_s"] = medians(calls, arguments.rounds)

    crops = torch.randn(8, channels, 128, 128).contiguous(memory_format=torch.channels_last).requires_grad_()
    moved = smooth_offsets(8, 128, 128, arguments.reach)
    learned = moved.clone().requires_grad_()
    report["training_8x128x128_s"] = medians(
        {
            "motion_aware": lambda: motion_aware_conv2d(crops, weight, bias, moved).sum().backward(),
            "motion_aware_offset_gradient": lambda: motion_aware_conv2d(crops, weight, bias, learned).sum().backward(),
            "conv_channels_last": lambda: layers["conv_channels_last"](crops).sum().backward(),
        },
        arguments.rounds,
    )
    forward, training = report["forward_1280x720_s"], report["training_8x128x128_s"]
    if torch.cuda.is_available():
        report["gpu"] = on_gpu(channels, arguments.reach, arguments.rounds)
    else:
        print("no CUDA GPU: the rows on a GPU are left out")
    report["ratio_forward"] = forward["motion_aware"] / forward["conv"]
    report["ratio_forward_channels_last"] = forward["motion_aware"] / forward["conv_channels_last"]
    report["ratio_training_channels_last"] = training["motion_aware"] / training["conv_channels_last"]
    print(json.dumps(report, default=float))


if __name__ == "__main__":
    main()

"""Compile the Triton kernels for a GPU of compute capability 9.0, without one: a program for a process of its own.

The kernels' own launching code is called with tensors on the CPU; in place of each launch, what it would have run is
compiled as Triton would compile it then. Prints a line for each: the kernel and the size of its machine code.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from motion_offsets.kernels import exposure_triton, motion_aware_triton

TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}


class Build:
    """Takes a kernel's place: compiles what it is launched with."""

    def __init__(self, kernel: Any) -> None:
        self.config, self.function = kernel.configs[0], kernel.fn

    def __getitem__(self, grid: Any) -> Build:
        return self

    def __call__(self, *positional: Any, **constants: Any) -> None:
        constants |= self.config.kwargs
        signature, aligned = {}, {}
        for index, (name, value) in enumerate(zip(self.function.arg_names, positional, strict=False)):
            if isinstance(value, Tensor):
                signature[name] = TYPES[value.dtype]
            elif isinstance(value, float):
                signature[name] = "fp32"
            elif value == 1:  # Triton makes a constant of it
                constants[name] = value
            else:
                signature[name] = "i32" if value < 1 << 31 else "i64"
            if isinstance(value, Tensor) or (isinstance(value, int) and value != 1 and value % 16 == 0):
                aligned[(index,)] = [["tt.divisibility", 16]]
        signature |= dict.fromkeys(constants, "constexpr")
        signature = {name: signature[name] for name in self.function.arg_names}
        source = ASTSource(fn=self.function, signature=signature, constexprs=constants, attrs=aligned)
        options = {"num_warps": self.config.num_warps, "num_stages": self.config.num_stages}
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        print(self.function.__name__, len(built.asm["cubin"]))


def build_exposure(dtype: torch.dtype, count: int, shape: tuple[int, ...], repeat: int) -> None:
    batch, _, height, width = shape
    sharp, points = torch.rand(shape, dtype=dtype), torch.zeros(batch * repeat, 2 * count, height, width)
    basis, zeros = torch.ones(max(count, 5), count), count == 3
    blurred = exposure_triton.forward(sharp, points, basis, zeros)
    exposure_triton.backward(blurred, sharp, points, basis, zeros, True, True)


def build_motion_aware(dtype: torch.dtype, shape: tuple[int, ...], out_channels: int) -> None:
    batch, channels, height, width = shape
    x, weight = torch.rand(shape, dtype=dtype), torch.rand(out_channels, channels, 3, 3, dtype=dtype)
    offsets = torch.zeros(batch, 9, 2, height, width)
    out = motion_aware_triton.forward(x, weight, weight[:, 0, 0, 0].clone(), offsets, 0.1)
    motion_aware_triton.backward(out, x, weight, offsets, 0.1, True, True, True)


if __name__ == "__main__":
    for module in (exposure_triton, motion_aware_triton):
        for name in ("_forward", "_backward", "_backward_filter"):
            if hasattr(module, name):
                setattr(module, name, Build(getattr(module, name)))
    build_exposure(torch.float32, 2, (2, 3, 16, 32), 1)
    build_exposure(torch.bfloat16, 3, (1, 5, 7, 9), 2)
    build_exposure(torch.float16, 15, (1, 1, 1, 1), 1)
    build_motion_aware(torch.float32, (2, 32, 16, 32), 32)
    build_motion_aware(torch.bfloat16, (1, 1, 1, 1), 1)

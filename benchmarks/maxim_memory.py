"""Peak memory of MAXIM on one tile, which sets ``TILE_BYTES`` of ``models/modeling_maxim.py``.

``python benchmarks/maxim_memory.py 512`` prints bytes per pixel of a tile of 512x512, above what was held before.
Memory and time do not depend on the weights, so these are random. Run each size in a process of its own: the peak of a
process never falls.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from motion_offsets import MaximConfig, MaximForImageDeblurring
from motion_offsets.runtime.allocation import keep_freed_memory


def peak() -> int:
    """Bytes of the largest resident set so far (Linux counts it in kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", type=int, help="of the tile, pixels; a multiple of 64")
    parser.add_argument("--bfloat16", action="store_true", help="under autocast")
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does
    model = MaximForImageDeblurring(MaximConfig()).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
        model(torch.rand(1, 3, 64, 64))
        before, tile = peak(), torch.rand(1, 3, options.side, options.side)
        start = time.process_time()
        model(tile)
        seconds = time.process_time() - start
    bytes_per_pixel = (peak() - before) / options.side**2
    print(f"{options.side}x{options.side}: {bytes_per_pixel:.0f} bytes per pixel, {seconds:.1f} processor-seconds")


if __name__ == "__main__":
    main()

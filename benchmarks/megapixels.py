"""Seconds per megapixel and peak memory of a whole extraction, from small photos to large ones.

    python benchmarks/megapixels.py [--all | --sizes 0.1 1 4] [--max-memory 12GB] [--threads 2]

Each size runs in a process of its own: it loads the bundled models, extracts a small photo to warm up, and then,
timed, a photo of 1, 4, 12 or 24 megapixels (with ``--all`` of 100, too) into a folder, as ``motion-offsets extract``
does. Seconds are those of the extraction, once, without start and warm-up; peak memory is the process's, so with what
PyTorch and the models take. The overlaps of tiles are computed twice: ``computed`` says how many pixels each network
ran over for one of the photo, and the less memory, the more. The last line is JSON with the ratio of the largest time
per megapixel to the smallest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motion_offsets import BlurToVideoPipeline

SIZES: dict[float, tuple[int, int]] = {
    0.1: (384, 256),
    0.4: (800, 500),
    1: (1168, 856),
    4: (2312, 1730),
    12: (4000, 3000),
    24: (6000, 4000),
    50: (8660, 5774),
    100: (12248, 8165),
}
USUAL = (1, 4, 12, 24)
WARM_UP = (256, 192)


def make_photo(path: Path, size: tuple[int, int]) -> None:
    """A smooth random picture: what is in it decides about the time of its PNGs alone."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, compress_level=1)


def measure(folder: Path, megapixels: float, arguments: argparse.Namespace) -> dict[str, object]:
    """One size, in this process."""
    import torch
    from timing import peak_mb

    from motion_offsets import BlurToVideoPipeline
    from motion_offsets.extraction.result import extract_photo
    from motion_offsets.extraction.settings import ExtractionSettings
    from motion_offsets.pipelines.blur_to_video import frame_times
    from motion_offsets.runtime.allocation import keep_freed_memory
    from motion_offsets.runtime.memory import parse_memory

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as the command line does
    memory = parse_memory(arguments.max_memory)
    settings = ExtractionSettings(
        times=frame_times(arguments.frames), refine_steps=arguments.refine, max_memory=memory
    )
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
    extract_photo(pipe, folder / "warm-up.png", folder / "warm-up", settings, lambda *step: None)
    before = peak_mb()
    start = time.perf_counter()
    report = extract_photo(pipe, folder / "photo.png", folder / "result", settings, lambda *step: None)
    seconds = time.perf_counter() - start
    pixels = report["width"] * report["height"] / 1e6
    return {
        "megapixels": megapixels,
        "size": f"{report['width']}x{report['height']}",
        "seconds": round(seconds, 2),
        "seconds_per_megapixel": round(seconds / pixels, 3),
        "peak_mb": round(peak_mb()),
        "before_mb": round(before),
        "computed": computed(report["height"], report["width"], memory, pipe),
        "steps_s": report["seconds"],
    }


def computed(height: int, width: int, memory: float, pipe: BlurToVideoPipeline) -> dict[str, float]:
    """Pixels that each network ran over for one of the photo."""
    from motion_offsets.runtime.memory import DEBLURRER_BYTES, ESTIMATOR_BYTES, tile_pixels
    from motion_offsets.runtime.tiling import DEBLURRER_MARGIN, ESTIMATOR_MARGIN, tile_layout

    assert pipe.estimators_agree  # the bundled ones do, so that the deblurrer's tiles need its own margin alone
    networks = {"estimator": (ESTIMATOR_BYTES, ESTIMATOR_MARGIN), "deblurrer": (DEBLURRER_BYTES, DEBLURRER_MARGIN)}
    parts = {}
    for name, (needed, margin) in networks.items():
        layout = tile_layout(height, width, tile_pixels(memory, height * width, needed), margin)
        rows, columns = (sum(stop - start for start, stop in spans) for spans in layout)
        parts[name] = round(rows * columns / (height * width), 3)
    return parts


def run_child(folder: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *(str(argument) for argument in arguments), "--folder", str(folder)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="100 megapixels, too")
    parser.add_argument("--sizes", type=float, nargs="*", choices=SIZES, help="these instead")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--refine", type=int, default=0, help="steps of each fit of the motion; 40 in the commands")
    parser.add_argument("--max-memory", default="12GB")
    parser.add_argument("--threads", type=int, default=None, help="default: as many as torch takes")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make_photo(arguments.folder / "warm-up.png", WARM_UP)
        make_photo(arguments.folder / "photo.png", SIZES[arguments.make])
        print(json.dumps({}))
        return
    if arguments.measure:
        print(json.dumps(measure(arguments.folder, arguments.measure, arguments)))
        return
    passed = ["--frames", arguments.frames, "--max-memory", arguments.max_memory, "--refine", arguments.refine]
    passed += ["--threads", arguments.threads] if arguments.threads else []
    rows = []
    for size in arguments.sizes or (*USUAL, *([100] if arguments.all else [])):
        with tempfile.TemporaryDirectory() as name:
            run_child(Path(name), "--make", size)  # apart, as a process's peak counts what it once held
            rows.append(run_child(Path(name), "--measure", size, *passed))
        print(json.dumps(rows[-1]), flush=True)
    each = [row["seconds_per_megapixel"] for row in rows]
    print(json.dumps({"max_memory": arguments.max_memory, "rows": rows, "ratio": round(max(each) / min(each), 3)}))


if __name__ == "__main__":
    main()

"""Photos a second of a whole folder: stages overlapped, beside the same work one photo after the other.

    python benchmarks/folder.py [--count 12 --width 640 --height 480 --repeats 3] [--images FOLDER] [--device auto]

Both extract the same photos into new folders, with the same models in the same process, and take turns; medians of the
rounds after the first are compared. The plain loop is ``extract_photo`` for one photo after the other; the other is
``BatchExtraction`` with its manifest, as ``motion-offsets extract`` runs it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import medians

from motion_offsets import BlurToVideoPipeline
from motion_offsets.extraction.batch import BatchExtraction, Outcome
from motion_offsets.extraction.manifest import Manifest
from motion_offsets.extraction.result import extract_photo
from motion_offsets.extraction.settings import ExtractionSettings
from motion_offsets.extraction.sources import Item, Share, find_sources
from motion_offsets.pipelines.blur_to_video import frame_times
from motion_offsets.runtime.allocation import keep_freed_memory
from motion_offsets.runtime.devices import pick_device, pick_dtype


def make_photos(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Smooth random pictures."""
    generator = np.random.default_rng(0)
    for index in range(number):
        noise = generator.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / f"{index:04d}.png")


def one_after_the_other(pipe: BlurToVideoPipeline, items: list[Item], out: Path, settings: ExtractionSettings) -> None:
    """The plain loop."""
    for item in items:
        assert isinstance(item.photo, Path)  # of a folder, not of a data set
        extract_photo(pipe, item.photo, out / item.result, settings, lambda *step: None)


def overlapped(
    pipe: BlurToVideoPipeline, items: list[Item], out: Path, settings: ExtractionSettings, batch_size: int | None
) -> None:
    """The run of the command line."""

    def check(outcome: Outcome) -> None:
        if outcome.error is not None:
            raise outcome.error

    with Manifest(out, Share()) as manifest:
        run = BatchExtraction(pipe, out, settings, manifest=manifest, batch_size=batch_size, on_outcome=check)
        run.run([("photos", iter(items))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder of photos; by default some are made")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--refine", type=int, default=0, help="steps of each fit of the motion; 40 in the commands")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=None, help="default: as many as torch takes")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the command line does
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    dtype = pick_dtype(arguments.dtype, device)
    pipe = BlurToVideoPipeline.from_pretrained("blur-to-video").to(device)
    settings = ExtractionSettings(times=frame_times(arguments.frames), refine_steps=arguments.refine, dtype=dtype)
    with tempfile.TemporaryDirectory() as name:
        folder, numbers = Path(name), count()
        photos = Path(arguments.images or folder / "photos")
        if not arguments.images:
            photos.mkdir()
            make_photos(photos, arguments.count, (arguments.width, arguments.height))
        streams = find_sources([str(photos)]).streams(Share())
        items = [item for _, stream in streams for item in stream][: arguments.count]
        seconds = medians(
            {
                "plain": lambda: one_after_the_other(pipe, items, folder / f"out-{next(numbers)}", settings),
                "overlapped": lambda: overlapped(
                    pipe, items, folder / f"out-{next(numbers)}", settings, arguments.batch_size
                ),
            },
            arguments.repeats,
        )
    rates = {name: len(items) / value for name, value in seconds.items()}
    result = {
        "photos": len(items),
        "frames": arguments.frames,
        "device": str(device),
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "plain_photos_per_s": round(rates["plain"], 4),
        "overlapped_photos_per_s": round(rates["overlapped"], 4),
        "ratio": round(rates["overlapped"] / rates["plain"], 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Pairs a second from each source of training data, and crops per second beside what a training step takes.

    python benchmarks/data.py [--width 1280 --height 720 --pairs 8 --repeats 3]

Each row is a source that is written to a temporary folder in its own layout and then loaded. ``first call`` includes
the checks and the cache; ``cached`` and ``streaming`` are what training sees. A new row is a function in ``ROWS`` that
makes its source and returns what to time. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from timing import medians

from motion_offsets import EtrajConfig, EtrajModel
from motion_offsets.data import load_pairs, load_sequences
from motion_offsets.data.crops.flow_crops import MotionFlowCrops
from motion_offsets.data.crops.scene_crops import SceneCrops
from motion_offsets.data.synthesis.high_fps import video_windows
from motion_offsets.data.synthesis.recipes import RECIPES
from motion_offsets.io.video import write_video


@dataclass(frozen=True)
class Workshop:
    """Where sources are made, and what of.

    Args:
        folder: an empty folder.
        pictures: sharp pictures ``(H, W, 3)`` uint8, one per pair.
    """

    folder: Path
    pictures: list[np.ndarray]

    @property
    def cache(self) -> Path:
        return self.folder / "cache"


Calls = dict[str, Callable[[], object]]
"""What to time, by name; each call goes through as many pairs as there are pictures."""


def loading(source: Path, shop: Workshop, load: Callable[..., Any] = load_pairs, **more: Any) -> Calls:
    """The two ways to load a source."""
    cached = load(source, cache_dir=shop.cache, **more)
    return {
        "cached": lambda: decode(cached),
        "streaming": lambda: decode(load(source, streaming=True, **more)),
        "first call": lambda: decode(load(source, cache_dir=tempfile.mkdtemp(dir=shop.folder), **more)),
    }


def decode(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        np.asarray(row["blurred"]), np.asarray(row["sharp"])


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def gopro(shop: Workshop) -> Calls:
    for number, pixels in enumerate(shop.pictures):
        for role in ("blur", "sharp"):
            save(shop.folder / "train" / "GOPR0372_07_00" / role / f"{number:06d}.png", pixels)
    return loading(shop.folder, shop)


def zipped_gopro(shop: Workshop) -> Calls:
    gopro(shop)
    target = shop.folder / "pairs.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted((shop.folder / "train").rglob("*.png")):
            archive.write(path, path.relative_to(shop.folder))
    return loading(target, shop)


def side_by_side(shop: Workshop) -> Calls:
    for number, pixels in enumerate(shop.pictures):
        save(shop.folder / "train" / f"{number}.png", np.concatenate([pixels, pixels], axis=1))
    return loading(shop.folder / "train", shop)


def parquet(shop: Workshop) -> Calls:
    gopro(shop)
    target = shop.folder / "pairs.parquet"
    load_pairs(shop.folder, cache_dir=shop.cache).to_parquet(str(target))
    return loading(target, shop)


def sequences(shop: Workshop) -> Calls:
    """Seven frames per pair, averaged."""
    for number, pixels in enumerate(pixels for pixels in shop.pictures for _ in range(7)):
        save(shop.folder / "walk" / f"{number:06d}.png", pixels)
    return loading(shop.folder / "walk", shop, load_sequences, window=7)


def video(shop: Workshop) -> Calls:
    """Seven frames per pair: decoding and the search for cuts, without the average."""
    frames = [np.roll(shop.pictures[0], 3 * number, 1) for number in range(7 * len(shop.pictures))]
    path = write_video(frames, shop.folder / "clip.mp4", 240)
    return {"windows": lambda: list(video_windows(path, 7, 7))}


def recipe(name: str) -> Callable[[Workshop], Calls]:
    def row(shop: Workshop) -> Calls:
        def blur_all() -> None:
            for number, pixels in enumerate(shop.pictures):
                RECIPES[name](pixels, np.random.default_rng(number), "srgb", ())

        return {"photos": blur_all}

    return row


def crops(shop: Workshop, make: Callable[[Path, int], Any]) -> Calls:
    """Training crops of 128 pixels, made online; scenes have an object each on average."""
    for number, pixels in enumerate(shop.pictures):
        save(shop.folder / "photos" / f"{number}.png", pixels)
    source = make(shop.folder / "photos", len(shop.pictures))
    return {"crops": lambda: [source[index] for index in range(len(source))]}


def flow_crops(shop: Workshop) -> Calls:
    return crops(shop, lambda photos, count: MotionFlowCrops(photos, count))


def scene_crops(shop: Workshop) -> Calls:
    disc = np.hypot(*np.mgrid[-60:60, -60:60]) < 55
    cutout = np.dstack([shop.pictures[0][:120, :120], np.uint8(disc * 255)])
    save(shop.folder / "objects" / "disc.png", cutout)
    return crops(shop, lambda photos, count: SceneCrops(photos, [shop.folder / "objects"], [], count))


def training_step(shop: Workshop) -> Calls:
    """What the estimator's own training takes of as many crops of 128: the generators must keep up with this."""
    model = EtrajModel(EtrajConfig(ssim_window_size=7)).to(memory_format=torch.channels_last).train()
    blurred, sharp = torch.rand(4, 3, 128, 128).to(memory_format=torch.channels_last), torch.rand(4, 3, 192, 192)

    def step() -> None:
        for _ in range(len(shop.pictures) // 4):
            model(blurred, sharp, output_motion_offsets=False).loss.backward()

    return {"crops": step}


ROWS: dict[str, Callable[[Workshop], Calls]] = {
    "gopro folder": gopro,
    "gopro zip": zipped_gopro,
    "side by side": side_by_side,
    "parquet": parquet,
    "sequences": sequences,
    "video": video,
    "recipe motion-flow": recipe("motion-flow"),
    "recipe dynamic": recipe("dynamic"),
    "motion-flow crops of 128": flow_crops,
    "dynamic crops of 128": scene_crops,
    "estimator's training step, crops of 128": training_step,
}


def textured(width: int, height: int, seed: int) -> np.ndarray:
    """A picture that compresses like a photo: coarse noise, and a little fine noise."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(smooth + generator.normal(0, 2, smooth.shape), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=ROWS, help="one row")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", message=".*pairs of GoPro's")
    pictures = [textured(arguments.width, arguments.height, number) for number in range(arguments.pairs)]
    result: dict[str, Any] = {"size": f"{arguments.width}x{arguments.height}", "pairs_per_s": {}}
    for name in [arguments.only] if arguments.only else ROWS:
        with tempfile.TemporaryDirectory() as folder:
            seconds = medians(ROWS[name](Workshop(Path(folder), pictures)), arguments.repeats)
        rates = {way: round(len(pictures) / value, 1) for way, value in seconds.items()}
        print(f"{name}: " + ", ".join(f"{way} {rate}" for way, rate in rates.items()) + " pairs/s", flush=True)
        result["pairs_per_s"][name] = rates
    print(json.dumps(result))


if __name__ == "__main__":
    main()

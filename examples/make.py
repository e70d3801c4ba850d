"""Make the blurred examples from public-domain photos that scikit-image ships: ``python examples/make.py``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import data_dir

from motion_offsets.data.scenes.motion_flow import FlowParameters, blur_with_flow

# Name, photo, and one camera motion each; every picture keeps its size.
CAMERA = {
    "coffee.png": ("coffee.png", {"translation": (4.0, 2.0), "zoom": 0.0, "rotation": math.pi / 36}),
    "cat.png": ("chelsea.png", {"translation": (13.0, -9.0), "zoom": 0.0, "rotation": 0.0}),
}


def make(name: str) -> Image.Image:
    """One example."""
    source, motion = CAMERA[name]
    with Image.open(Path(data_dir) / source) as picture:
        sharp = np.array(picture.convert("RGB"))
    height, width = sharp.shape[:2]
    camera = FlowParameters(height, width, change=(0.0, 0.0), centre=(width / 2, height / 2), **motion)
    blurred = blur_with_flow(torch.from_numpy(sharp).permute(2, 0, 1) / 255, camera.flow())
    return Image.fromarray((blurred * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    output = parser.parse_args().output
    for name in CAMERA:
        make(name).save(output / name, optimize=True)
        print(output / name)


if __name__ == "__main__":
    main()

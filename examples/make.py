"""Render the blurred examples from free photos that scikit-image ships: ``python examples/make.py``.

Each example is a photo seen by a camera that moves, or a scene in which something moves, rendered frame by frame and
averaged in linear light (``motion_offsets.data``, dynamic scenes). The true sharp frame, in the middle of the
exposure, is stored beside it as ``NAME-sharp.png``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import data_dir
from skimage.restoration import inpaint_biharmonic

from motion_offsets.data.scenes.dynamic_scenes import Scene, Window, render
from motion_offsets.data.scenes.scene_geometry import CameraMotion, LayerMotion

MARGIN = 24


@dataclass(frozen=True)
class Shot:
    """A photo, and what moved while it was exposed.

    Args:
        photo: file of scikit-image's data.
        shake: x and y of the camera's motion, each ``(steady, quadratic, cubic)`` pixels in half the exposure.
        roll: the camera's turn about the line of sight, likewise, radians.
        thing: ``(y, x, radius_y, radius_x)`` of an ellipse of the photo that moves by itself.
        slide: x and y of the thing's motion, as ``shake``.
    """

    photo: str
    shake: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0, 0, 0), (0, 0, 0))
    roll: tuple[float, float, float] = (0, 0, 0)
    thing: tuple[int, int, int, int] | None = None
    slide: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0, 0, 0), (0, 0, 0))


SHOTS = {
    "cat.png": Shot("chelsea.png", shake=((9.0, 0.0, 1.0), (-3.0, 2.0, 0.0))),
    "astronaut.png": Shot("astronaut.png", shake=((6.0, -1.0, 0.0), (5.0, 1.5, 0.0)), roll=(0.008, 0, 0)),
    "person.png": Shot("astronaut.png", thing=(330, 225, 320, 190), slide=((7.0, 1.0, 0.0), (1.5, 0.0, 0.0))),
    "coffee.png": Shot("coffee.png", thing=(205, 322, 165, 195), slide=((7.0, 1.5, 0.0), (2.0, 0.0, 0.0))),
}


def _layers(shot: Shot) -> np.ndarray:
    """``(L, h, w, 4)`` float32, from back to front."""
    with Image.open(Path(data_dir) / shot.photo) as picture:
        photo = np.asarray(picture.convert("RGB"), np.float32) / 255
    opaque = np.ones(photo.shape[:2], np.float32)
    if shot.thing is None:
        return np.dstack([photo, opaque])[None]
    y, x, radius_y, radius_x = shot.thing
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    reach = np.hypot((rows - y) / radius_y, (columns - x) / radius_x)
    alpha = np.clip((1 - reach) * min(radius_y, radius_x) / 2, 0, 1).astype(np.float32)
    # Only a rim of the background is ever uncovered, so only a rim is filled in.
    rim = (reach < 1.03) & (reach > 0.8)
    background = inpaint_biharmonic(photo, rim, channel_axis=-1).astype(np.float32)
    return np.stack([np.dstack([background, opaque]), np.dstack([photo, alpha])])


def make(name: str) -> tuple[Image.Image, Image.Image]:
    """One example: the blurred photo and its true sharp frame, 24 pixels smaller than the photo on every side."""
    shot = SHOTS[name]
    layers = _layers(shot)
    count, height, width = layers.shape[:3]
    focal = 1.2 * max(height, width)
    right, down = shot.shake
    rotation = np.stack([np.array(down) / focal, np.array(right) / focal, np.array(shot.roll)])
    own = np.zeros((count, 4, 3))
    own[1:, :2] = shot.slide
    middle = [[(width - 1) / 2, (height - 1) / 2]]
    scene = Scene(
        layers=torch.from_numpy(layers).permute(0, 3, 1, 2)[None],
        camera=CameraMotion(
            focal=torch.tensor([focal], dtype=torch.float64),
            centre=torch.tensor(middle, dtype=torch.float64),
            rotation=torch.from_numpy(rotation)[None],
            translation=torch.zeros(1, 3, 3, dtype=torch.float64),
        ),
        motion=LayerMotion(
            plane=torch.tensor([[[0.0, 0.0, 1.0]] * count], dtype=torch.float64),
            own=torch.from_numpy(own)[None],
            pivot=torch.tensor([middle * count], dtype=torch.float64),
        ),
        gain=torch.ones(1),
    )
    shown = render(scene, Window(MARGIN, MARGIN, height - 2 * MARGIN, width - 2 * MARGIN))
    return _picture(shown.blurred), _picture(shown.sharp)


def _picture(pixel_values: torch.Tensor) -> Image.Image:
    levels = (pixel_values[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    output = parser.parse_args().output
    for name in SHOTS:
        blurred, sharp = make(name)
        for target, picture in ((name, blurred), (name.replace(".png", "-sharp.png"), sharp)):
            picture.save(output / target, optimize=True)
            print(output / target)


if __name__ == "__main__":
    main()

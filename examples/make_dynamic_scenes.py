"""Draw ``dynamic_scenes.jpg``: scenes whose exposure trajectories are known, from scikit-image's free photos.

    python examples/make_dynamic_scenes.py

A row a scene: the blurred photo, the sharp frame, the true trajectories of the pixels that have one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import data_dir

from motion_offsets.data.scenes.cutouts import Cutout, soft_edges
from motion_offsets.data.scenes.dynamic_scenes import Window, render, true_offsets
from motion_offsets.data.scenes.scene_sampling import SceneRecipe, sample_scene
from motion_offsets.exposure.trajectories import sample_times
from motion_offsets.visualization.paths import draw_trajectories

# Photo, and the objects before it: photo, then the centre and the radii of an ellipse, pixels.
SCENES = (
    ("astronaut.png", [("coffee.png", 220, 330, 170, 140)], 3),
    ("coffee.png", [("astronaut.png", 125, 225, 110, 80)], 5),
    ("chelsea.png", [("coffee.png", 220, 330, 170, 140)], 22),
)
HEIGHT, MARGIN = 300, 24


def photo(name: str) -> np.ndarray:
    """A photo of scikit-image's wheel, ``(300 + 48, W, 3)`` uint8."""
    with Image.open(Path(data_dir) / name) as image:
        height = HEIGHT + 2 * MARGIN
        return np.asarray(image.convert("RGB").resize((round(image.width * height / image.height), height)))


def ellipse(name: str, y: int, x: int, radius_y: int, radius_x: int) -> Cutout:
    """An elliptic piece of a photo."""
    with Image.open(Path(data_dir) / name) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    inside = np.hypot((rows - y) / radius_y, (columns - x) / radius_x) < 1
    box = (slice(max(y - radius_y, 0), y + radius_y), slice(max(x - radius_x, 0), x + radius_x))
    return Cutout(pixels[box], soft_edges(inside)[box])


def row(name: str, objects: list[tuple[str, int, int, int, int]], seed: int) -> np.ndarray:
    """Blurred, sharp and trajectories side by side."""
    background = photo(name)
    window = Window(MARGIN, MARGIN, HEIGHT, background.shape[1] - 2 * MARGIN)
    recipe = SceneRecipe(most_objects=2, object_motion=16)
    scene = sample_scene(background, [ellipse(*of) for of in objects], window, np.random.default_rng(seed), recipe)
    shot = render(scene, window)
    offsets = true_offsets(scene, window, sample_times(15), shot.layer) * shot.valid[:, None]
    blurred, sharp = (
        (picture[0].permute(1, 2, 0) * 255).round().byte().numpy() for picture in (shot.blurred, shot.sharp)
    )
    drawn = draw_trajectories(Image.fromarray(sharp), offsets[0], mirror=True)
    return np.concatenate([blurred, sharp, np.asarray(drawn)], axis=1)


def main() -> None:
    torch.set_num_threads(2)
    rows = [row(*scene) for scene in SCENES]
    width = max(picture.shape[1] for picture in rows)
    padded = [
        np.pad(picture, ((0, 6), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in rows
    ]
    target = Path(__file__).parent / "dynamic_scenes.jpg"
    Image.fromarray(np.concatenate(padded)).save(target, quality=88)
    print(target)


if __name__ == "__main__":
    main()

"""Drawing dynamic scenes at random: photos, objects, camera shake, and how the objects move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .cutouts import Cutout
from .dynamic_scenes import Scene, Window, longest_path
from .scene_geometry import CameraMotion, LayerMotion

# Range of the longest path of a gentle scene over the whole exposure, pixels: about half of real blur lies below 10.
GENTLE = (1.0, 9.5)


@dataclass(frozen=True)
class SceneRecipe:
    """What random scenes are like. Shares are probabilities; motions are what a pixel travels in half the exposure."""

    most_objects: int = 4
    """Largest number of objects in a scene."""
    object_size: float = 0.6
    """Longest side of an object at most, of the picture's shorter side."""
    shake: float = 13.0
    """Largest steady part of the camera's turn about x and y, pixels."""
    bend: tuple[float, float] = (0.5, 2.5)
    """Range of its quadratic part, pixels, in a direction of its own."""
    jerk: float = 1.5
    """Largest cubic part, pixels."""
    roll: float = 0.02
    """Largest turn about the line of sight, radians."""
    shift: float = 12.0
    """Largest motion that the camera's shift gives to a plane of inverse depth 1, pixels."""
    approach: float = 0.012
    """Largest shift along the line of sight, of the depth of a plane of inverse depth 1."""
    slant: float = 0.5
    """How much the inverse depth of the background changes from its middle to its rim at most, of 1."""
    object_motion: float = 10.0
    """Largest steady motion of an object's own, pixels."""
    still_camera_share: float = 0.0
    """Scenes in which only the objects move."""
    still_share: float = 0.0
    """Scenes in which nothing moves."""
    lights_share: float = 0.0
    """Scenes whose brightest parts outshine what the sensor holds."""
    gentle_share: float = 0.0
    """Scenes whose motions are scaled down together until the longest path is 1 to 9.5 pixels long."""
    tone_share: float = 0.0
    """Training crops that go through a camera's tone curve: a power and an S-curve of the encoded values."""


def sample_scene(
    background: np.ndarray,
    objects: Sequence[Cutout],
    window: Window,
    generator: np.random.Generator,
    recipe: SceneRecipe = SceneRecipe(),
    centre: tuple[float, float] | None = None,
    extent: float | None = None,
) -> Scene:
    """Draw one scene.

    Args:
        background: ``(h, w, 3)`` uint8, the layers' grid.
        objects: what may stand before it.
        window: the picture's place on that grid.
        generator: what decides.
        recipe: ranges.
        centre: x and y of the principal point on the grid; by default its middle.
        extent: longer side of the whole photo, if the grid is only a crop of it, pixels.

    Returns:
        A scene with B = 1.
    """
    still = generator.random() < recipe.still_share
    camera_still = still or generator.random() < recipe.still_camera_share
    count = int(generator.integers(0 if not camera_still else 1, recipe.most_objects + 1)) if objects else 0
    layers, planes, own, pivots = [_opaque(background)], [_slanted(background, generator, recipe)], [_nothing()], []
    pivots.append((0.0, 0.0))
    side = min(window.height, window.width)
    for index in generator.integers(len(objects), size=count) if count else ():
        cutout = _fitting(objects[int(index)], generator, generator.uniform(0.2, recipe.object_size) * side)
        layer, pivot = _placed(cutout, background.shape[:2], window, generator)
        layers.append(layer)
        planes.append(np.array([0.0, 0.0, generator.uniform(1.2, 2.5)]))
        own.append(_own_motion(generator, recipe) * (not still))
        pivots.append(pivot)
    gain = generator.uniform(2, 8) if generator.random() < recipe.lights_share else 1.0
    scene = Scene(
        layers=torch.from_numpy(np.stack(layers)).permute(0, 3, 1, 2)[None],
        camera=_camera(
            centre or ((background.shape[1] - 1) / 2, (background.shape[0] - 1) / 2),
            extent or max(background.shape),
            generator,
            recipe,
            not camera_still,
        ),
        motion=LayerMotion(*(torch.from_numpy(np.stack(part))[None].double() for part in (planes, own, pivots))),
        gain=torch.tensor([gain], dtype=torch.float32),
    )
    # A share of 0 draws nothing, so that recipes without it give the scenes they always gave.
    if recipe.gentle_share and generator.random() < recipe.gentle_share:
        return _slowed(scene, window, generator.uniform(*GENTLE))
    return scene


def _slowed(scene: Scene, window: Window, longest: float) -> Scene:
    """All motions scaled by one factor, so that the longest path has this length in pixels, if it was longer."""
    for _ in range(3):  # paths are all but linear in the factor
        now = longest_path(scene, window)
        if now <= longest:
            break
        camera, motion, factor = scene.camera, scene.motion, longest / now
        camera = replace(camera, rotation=camera.rotation * factor, translation=camera.translation * factor)
        scene = replace(scene, camera=camera, motion=replace(motion, own=motion.own * factor))
    return scene


def _opaque(picture: np.ndarray) -> np.ndarray:
    return np.dstack([picture.astype(np.float32) / 255, np.ones(picture.shape[:2], np.float32)])


def _nothing() -> np.ndarray:
    return np.zeros((4, 3))


def _slanted(background: np.ndarray, generator: np.random.Generator, recipe: SceneRecipe) -> np.ndarray:
    # A direction of 0.5 is about the rim of a picture whose focal length is its width.
    return np.array([*(generator.uniform(-2 * recipe.slant, 2 * recipe.slant, 2) * 0.7), 1.0])


def _fitting(cutout: Cutout, generator: np.random.Generator, longest: float) -> Cutout:
    """Mirrored at random, and shrunk where it is too large."""
    colour, alpha = cutout.colour, cutout.alpha
    if generator.random() < 0.5:
        colour, alpha = colour[:, ::-1], alpha[:, ::-1]
    factor = max(1, math.ceil(max(alpha.shape) / longest))
    if factor > 1:
        height, width = (size // factor * factor for size in alpha.shape)
        if min(height, width) == 0:
            colour, alpha = colour[::factor, ::factor], alpha[::factor, ::factor]
        else:
            blocks = (height // factor, factor, width // factor, factor)
            colour = colour[:height, :width].reshape(*blocks, 3).mean((1, 3)).astype(np.uint8)
            alpha = alpha[:height, :width].reshape(blocks).mean((1, 3))
    return Cutout(colour, alpha)


def _placed(
    cutout: Cutout, size: tuple[int, int], window: Window, generator: np.random.Generator
) -> tuple[np.ndarray, tuple[float, float]]:
    """The object somewhere in the window, on the layers' grid, and its middle."""
    layer = np.zeros((*size, 4), np.float32)
    height, width = cutout.alpha.shape
    middle_y = window.top + generator.uniform(0.1, 0.9) * window.height
    middle_x = window.left + generator.uniform(0.1, 0.9) * window.width
    top, left = round(middle_y - height / 2), round(middle_x - width / 2)
    rows = slice(max(top, 0), min(top + height, size[0]))
    columns = slice(max(left, 0), min(left + width, size[1]))
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    layer[rows, columns, :3] = cutout.colour[inner].astype(np.float32) / 255
    layer[rows, columns, 3] = cutout.alpha[inner]
    return layer, (middle_x, middle_y)


def _vector(generator: np.random.Generator, length: float) -> np.ndarray:
    angle = generator.uniform(0, 2 * math.pi)
    return length * np.array([math.cos(angle), math.sin(angle)])


def _own_motion(generator: np.random.Generator, recipe: SceneRecipe) -> np.ndarray:
    motion = np.zeros((4, 3))
    motion[:2, 0] = _vector(generator, generator.uniform(0, recipe.object_motion))
    motion[:2, 1] = _vector(generator, generator.uniform(0, recipe.object_motion / 3))
    motion[:2, 2] = _vector(generator, generator.uniform(0, recipe.object_motion / 4))
    motion[2] = generator.uniform(-1, 1, 3) * (0.06, 0.03, 0.03)
    motion[3] = generator.uniform(-1, 1, 3) * (0.04, 0.02, 0.02)
    return motion


def _camera(
    centre: tuple[float, float], extent: float, generator: np.random.Generator, recipe: SceneRecipe, moves: bool
) -> CameraMotion:
    focal = generator.uniform(0.7, 2.0) * extent
    turn = np.zeros((3, 3))
    steady = _vector(generator, generator.uniform(0, recipe.shake))
    bent = _vector(generator, generator.uniform(*recipe.bend))
    jerky = _vector(generator, generator.uniform(0, recipe.jerk))
    turn[:2] = np.stack([steady, bent, jerky], 1) / focal
    turn[2] = generator.uniform(-1, 1, 3) * recipe.roll * np.array([1, 0.4, 0.3])
    shift = generator.uniform(-1, 1, (3, 3)) * np.array([1, 0.4, 0.3])
    shift *= np.array([recipe.shift / focal, recipe.shift / focal, recipe.approach])[:, None]
    return CameraMotion(
        focal=torch.tensor([focal], dtype=torch.float64),
        centre=torch.tensor([centre], dtype=torch.float64),
        rotation=torch.from_numpy(turn * moves)[None],
        translation=torch.from_numpy(shift * moves)[None],
    )

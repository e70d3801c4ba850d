"""Scenes whose exposure trajectories are known: a moving camera, depth, and objects with motions of their own.

A scene is a stack of textured planes (see ``scene_geometry.py``): a photo at the back, cut-out objects before it. It
is rendered as T sharp frames, averaged in linear light, which is what a sensor does. Everything is batched and runs on
any device; a batch is as many scenes, each padded to the same number of layers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...kernels import cpu_kernels, cpu_serves
from .scene_geometry import CameraMotion, LayerMotion, apply, homographies

GAMMA = 2.2
# From these shares on a layer counts as covering a pixel wholly, and below, as not there at all.
WHOLE, NONE = 0.99, 0.01
# A sample of the sharp frame is good if all that it takes in belongs to the same layer.
SAME = 0.999
FEWEST_FRAMES, MOST_FRAMES = 9, 49
# How far the fastest pixel moves from one frame to the next at most, pixels: finer steps change nothing to be seen.
STEP = 1.5


@dataclass
class Scene:
    """B scenes of L layers, from back to front.

    Args:
        layers: ``(B, L, 4, h, w)``, encoded colours and alpha in [0, 1]; all layers share one pixel grid, on which the
            scene is at t = 0. The first is opaque.
        camera: its motion.
        motion: the layers' planes and their own motions.
        gain: ``(B,)``, how much brighter than white the lights are that the sensor cuts off; 1 for none.
    """

    layers: Tensor
    camera: CameraMotion
    motion: LayerMotion
    gain: Tensor

    def to(self, device: torch.device | str) -> Scene:
        """The same on another device."""
        camera = CameraMotion(**{name: value.to(device) for name, value in vars(self.camera).items()})
        motion = LayerMotion(**{name: value.to(device) for name, value in vars(self.motion).items()})
        return Scene(self.layers.to(device), camera, motion, self.gain.to(device))


@dataclass
class Window:
    """A rectangle of the layers' grid, pixels: the blurred picture; the sharp one reaches ``margin`` further."""

    top: int
    left: int
    height: int
    width: int
    margin: int = 0


@dataclass
class Rendering:
    """What a camera makes of B scenes.

    Args:
        blurred: ``(B, 3, H, W)``, encoded, in [0, 1].
        sharp: ``(B, 3, H + 2m, W + 2m)``, the frame at t = 0.
        valid: ``(B, 1, H, W)`` bool: the same surface is seen all the time, and seen in the sharp frame where its
            offsets point. Elsewhere, near occlusions, no offset explains the pixel.
        layer: ``(B, 1, H, W)`` int64, the layer seen at t = 0.
        frames: ``(B, T, 3, H, W)``, or ``None`` if not asked for.
        timestamps: ``(T,)``, evenly from -1 to 1.
    """

    blurred: Tensor
    sharp: Tensor
    valid: Tensor
    layer: Tensor
    frames: Tensor | None
    timestamps: Tensor


class _View:
    """A scene seen through a window: the layers and their places at any time."""

    def __init__(self, scene: Scene, window: Window):
        self.scene, self.window = scene, window

    @functools.cached_property
    def layers(self) -> Tensor:
        """Linear colours and alpha, ``(B, L, 4, h, w)``."""
        colours, alpha = self.scene.layers[:, :, :3], self.scene.layers[:, :, 3:]
        linear = colours.clamp(0, 1) ** GAMMA
        # Lights are the brightest tenth of the range; with a gain they outshine white and are cut off at the end.
        lights = ((linear - 0.9) / 0.1).clamp(0, 1)
        linear = linear * (1 + (self.scene.gain.view(-1, 1, 1, 1, 1) - 1) * lights)
        return torch.cat([linear, alpha], 2)

    def pixels(self, margin: int = 0) -> Tensor:
        """``(2, H, W)``, x and y of the window's pixels on the layers' grid."""
        window, device = self.window, self.scene.layers.device
        ys = torch.arange(window.height + 2 * margin, device=device) + (window.top - margin)
        xs = torch.arange(window.width + 2 * margin, device=device) + (window.left - margin)
        return torch.stack(torch.meshgrid(xs, ys, indexing="xy")).double()

    def places(self, times: Tensor) -> Iterator[Tensor]:
        """For one time after the other, where each layer's pixels were at t = 0: ``(B, L, 2, H, W)``, float64."""
        back = torch.linalg.inv(homographies(self.scene.camera, self.scene.motion, times))
        pixels = self.pixels()
        for number in range(len(times)):
            yield apply(back[:, :, number], pixels)

    def sample(self, pictures: Tensor, places: Tensor) -> Tensor:
        """``(B, L, C, h, w)`` at ``(B, L, 2, H, W)``, bilinearly; beyond the grid its border is repeated."""
        height, width = pictures.shape[3:]
        size = torch.tensor([width, height], dtype=places.dtype, device=places.device).view(2, 1, 1)
        grid = ((2 * places + 1) / size - 1).flatten(0, 1).permute(0, 2, 3, 1).to(pictures.dtype)
        sampled = functional.grid_sample(pictures.flatten(0, 1), grid, padding_mode="border", align_corners=False)
        return sampled.unflatten(0, pictures.shape[:2])


def composite(layers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lay ``(B, L, 4, H, W)`` over each other.

    Returns:
        The colours ``(B, 3, H, W)``; the number of the layer seen, ``(B, 1, H, W)``; whether it alone is seen.
    """
    colour = layers[:, 0, :3]
    seen = torch.zeros_like(layers[:, 0, :1], dtype=torch.long)
    alone = torch.ones_like(seen, dtype=torch.bool)
    for number in range(1, layers.shape[1]):
        alpha = layers[:, number, 3:]
        colour = colour + alpha * (layers[:, number, :3] - colour)
        whole = alpha >= WHOLE
        alone = whole | (alone & (alpha <= NONE))
        seen = torch.where(alpha >= 0.5, number, seen)
    return colour, seen, alone


def encode(linear: Tensor) -> Tensor:
    """Linear light as a camera stores it: cut off at white, gamma 2.2."""
    return linear.clamp(0, 1) ** (1 / GAMMA)


def longest_path(scene: Scene, window: Window) -> float:
    """Pixels that a corner of the window travels at most while the shutter is open, whatever its layer."""
    ends = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=torch.float64, device=scene.layers.device)
    view = _View(Scene(scene.layers[:, :, :, :1, :1], scene.camera, scene.motion, scene.gain), window)
    corners = view.pixels()[:, [0, -1]][:, :, [0, -1]]
    back = torch.linalg.inv(homographies(scene.camera, scene.motion, ends))
    moves = apply(back, corners).diff(dim=2)
    return float(moves.square().sum(3).sqrt().sum(2).max())


def num_frames(scene: Scene, window: Window) -> int:
    """Odd number of frames between which the fastest pixel moves by about ``STEP``."""
    longest = longest_path(scene, window)
    return min(max(2 * math.ceil(longest / STEP / 2) + 1, FEWEST_FRAMES), MOST_FRAMES)


@torch.no_grad()
def render(scene: Scene, window: Window, frames: int | None = None, keep_frames: bool = False) -> Rendering:
    """Expose B scenes.

    Args:
        scene: what there is to see.
        window: the picture's place on the layers' grid.
        frames: T, odd; by default from :func:`num_frames`.
        keep_frames: whether to return the frames as well.
    """
    count = frames or num_frames(scene, window)
    times = torch.linspace(-1, 1, count, dtype=torch.float64, device=scene.layers.device)
    view = _View(scene, window)
    sharp, seen_at_0, alone_at_0 = _at_rest(view)
    seen = _crop(seen_at_0, window.margin)
    # Numbers of the layers that alone are seen in the sharp frame, on the layers' grid.
    labels = _onto_grid(torch.where(alone_at_0, seen_at_0, -1), view)
    frames_kept: list[Tensor] | None = [] if keep_frames else None
    if view.layers.device.type == "cpu" and frames_kept is None and cpu_serves("scene_cpu"):
        total, valid = _expose_fast(view, times, labels, seen)
    else:
        total, valid = _expose_plain(view, times, labels, seen, frames_kept)
    return Rendering(
        blurred=encode(total / count),
        sharp=encode(sharp),
        valid=valid,
        layer=seen,
        frames=torch.stack(frames_kept, 1) if frames_kept is not None else None,
        timestamps=times,
    )


def _expose_plain(
    view: _View, times: Tensor, labels: Tensor, seen: Tensor, frames: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """The sum of the frames, linear, and where offsets explain the pixel; encoded frames are appended if asked for."""
    numbers = torch.arange(view.layers.shape[1], device=view.layers.device).view(1, -1, 1, 1, 1)
    mine = (labels[:, None] == numbers).to(view.layers.dtype)
    pictures = torch.cat([view.layers, mine], 2)
    total = view.layers.new_zeros(len(seen), 3, *seen.shape[2:])
    valid = torch.ones_like(seen, dtype=torch.bool)
    for places in view.places(times):
        sampled = view.sample(pictures, places)
        colour, seen_now, alone = composite(sampled[:, :, :4])
        there = sampled[:, :, 4:].gather(1, seen_now[:, None])[:, 0]
        valid &= (seen_now == seen) & alone & (there > SAME)
        total += colour
        if frames is not None:
            frames.append(encode(colour))
    return total, valid


def _expose_fast(view: _View, times: Tensor, labels: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    expose_scene = cpu_kernels("scene_cpu").expose_scene
    back = torch.linalg.inv(homographies(view.scene.camera, view.scene.motion, times)).transpose(1, 2).numpy()
    corner, sums, valid = (view.window.left, view.window.top), [], []
    for number, layers in enumerate(view.layers.numpy()):
        own, resting = labels[number, 0].numpy(), seen[number, 0].numpy()
        total, good = expose_scene(layers, back[number], own, corner, resting, (WHOLE, NONE))
        sums.append(torch.from_numpy(total).permute(2, 0, 1))
        valid.append(torch.from_numpy(good)[None])
    return torch.stack(sums), torch.stack(valid)


@torch.no_grad()
def true_offsets(scene: Scene, window: Window, timestamps: Tensor, seen: Tensor | None = None) -> Tensor:
    """Exact motion offsets (eq. 2): where, in the sharp frame, the surface lies that a pixel sees at each time.

    Args:
        scene: B scenes.
        window: the picture's place on the layers' grid.
        timestamps: ``(N,)`` in [-1, 1].
        seen: ``(B, 1, H, W)``, whose offsets to take in each pixel, as in :attr:`Rendering.layer`; by default those of
            the layer that is seen at the time.

    Returns:
        ``(B, N, 2, H, W)`` float32, pixels.
    """
    view = _View(scene, window)
    pixels, offsets = view.pixels(), []
    for places in view.places(timestamps.to(scene.layers.device, torch.float64)):
        layer = composite(view.sample(view.layers, places))[1] if seen is None else seen
        chosen = layer[:, None].expand(-1, 1, 2, -1, -1)
        offsets.append((places.gather(1, chosen)[:, 0] - pixels).float())
    return torch.stack(offsets, 1)


def _at_rest(view: _View) -> tuple[Tensor, Tensor, Tensor]:
    """The frame at t = 0 with its margin, linear, as :func:`composite` gives it."""
    window, (height, width) = view.window, view.layers.shape[3:]
    x, y = view.pixels(window.margin).long()
    return composite(view.layers[..., y.clamp(0, height - 1), x.clamp(0, width - 1)])


def _onto_grid(labels: Tensor, view: _View) -> Tensor:
    """Numbers for the sharp frame's pixels, ``(B, 1, H + 2m, W + 2m)``, on the layers' grid, -1 beyond the frame."""
    window, (height, width) = view.window, view.layers.shape[3:]
    top, left = window.top - window.margin, window.left - window.margin
    bottom, right = top + labels.shape[2], left + labels.shape[3]
    # Negative padding crops; what lies beyond the grid has no picture of its own to be valid on.
    return functional.pad(labels, (left, width - right, top, height - bottom), value=-1)


def _crop(picture: Tensor, margin: int) -> Tensor:
    return picture[..., margin : picture.shape[-2] - margin, margin : picture.shape[-1] - margin]

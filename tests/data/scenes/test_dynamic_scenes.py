"""Dynamic scenes: exact trajectories, shown by rendering them another way, and a fast path that equals its twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from motion_offsets.data.scenes import dynamic_scenes
from motion_offsets.data.scenes.cutouts import Cutout, soft_edges
from motion_offsets.data.scenes.dynamic_scenes import GAMMA, Scene, Window, num_frames, render, true_offsets
from motion_offsets.data.scenes.scene_geometry import CameraMotion, LayerMotion, homographies, path
from motion_offsets.data.scenes.scene_sampling import SceneRecipe, sample_scene
from motion_offsets.evaluation.metrics import psnr
from motion_offsets.exposure.blur import create_blur


def textured(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3))
    soft = ndimage.gaussian_filter(noise, (1.5, 1.5, 0))
    return ((soft - soft.min()) / np.ptp(soft) * 255).astype(np.uint8)


def disc(size: int, seed: int) -> Cutout:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return Cutout(textured(size, size, seed), soft_edges(np.hypot(x, y) < size / 2 - 2))


WINDOW = Window(20, 24, 88, 112, 10)


def scene(seed: int, **recipe: object) -> Scene:
    generator = np.random.default_rng(seed)
    return sample_scene(textured(128, 160, seed), [disc(41, 5), disc(31, 6)], WINDOW, generator, SceneRecipe(**recipe))


def still(layers: Tensor) -> Scene:
    """A scene of ``(L, 4, h, w)`` layers in which nothing moves yet."""
    count = len(layers)
    camera = CameraMotion(torch.tensor([100.0]), torch.zeros(1, 2), torch.zeros(1, 3, 3), torch.zeros(1, 3, 3))
    plane = torch.tensor([0.0, 0, 1]).expand(1, count, 3)
    motion = LayerMotion(plane, torch.zeros(1, count, 4, 3), torch.zeros(1, count, 2))
    for part in (camera, motion):
        for name, value in vars(part).items():
            setattr(part, name, value.double().clone())
    return Scene(layers[None], camera, motion, torch.ones(1))


def test_paths_pass_through_rest_and_accelerate_unevenly() -> None:
    times = torch.tensor([-1.0, 0, 0.5, 1], dtype=torch.float64)
    along = path(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64), times)
    assert along.tolist() == [1, 0, 1 + 0.75 + 4 * (0.125 - 0.5), 5]


def test_a_turning_camera_moves_the_picture_by_the_tangent_and_depth_does_not_matter() -> None:
    one = still(torch.ones(2, 4, 8, 8))
    one.motion.plane[0, 1] = torch.tensor([0, 0, 3.0])
    one.camera.rotation[0, 1, 0] = 0.1  # about the y axis
    moved = homographies(one.camera, one.motion, torch.tensor([1.0], dtype=torch.float64))[0, :, 0]
    point = moved @ torch.tensor([0.0, 0, 1], dtype=torch.float64)
    assert (point[:, 0] / point[:, 2]).tolist() == pytest.approx([100 * np.tan(0.1)] * 2)


def test_a_shifting_camera_moves_near_things_further() -> None:
    one = still(torch.ones(2, 4, 8, 8))
    one.motion.plane[0, 1] = torch.tensor([0, 0, 3.0])
    one.camera.translation[0, 0, 0] = 0.02
    offsets = torch.linalg.inv(homographies(one.camera, one.motion, torch.ones(1, dtype=torch.float64)))
    assert offsets[0, :, 0, 0, 2].tolist() == pytest.approx([-2, -6])


def test_offsets_point_to_where_the_surface_is_in_the_sharp_frame() -> None:
    """An object that moves right by 4 pixels is, seen at the end, read 4 pixels to the left."""
    layers = torch.zeros(2, 4, 30, 40)
    layers[0, 3] = 1
    layers[1, :, 10:20, 10:20] = 1
    one = still(layers)
    one.motion.own[0, 1, 0, 0] = 4.0
    window = Window(0, 0, 30, 40)
    offsets = true_offsets(one, window, torch.tensor([-1.0, 0.0, 1.0]))[0]
    assert offsets[2, :, 15, 20].tolist() == pytest.approx([-4, 0])  # background at rest, object at the end
    assert offsets[1, :, 15, 20].tolist() == [0, 0]
    assert offsets[0, :, 15, 8].tolist() == pytest.approx([4, 0])
    shot = render(one, window, 9)
    assert shot.layer[0, 0, 15, 15] == 1
    assert shot.valid[0, 0, 15, 15]
    assert not shot.valid[0, 0, 15, 20]  # covered and uncovered
    assert shot.valid[0, 0, 15, 30]
    assert shot.blurred[0, 0, 15, 15] == 1
    # The object covers the pixel at four of the nine times, the last of them by its very edge.
    assert 0 < shot.blurred[0, 0, 15, 20] ** GAMMA < 0.5


def independent_blur(one: Scene, times: np.ndarray) -> np.ndarray:
    """Frame by frame with SciPy's sampling, each surface placed by solving; linear light, encoded last."""
    layers = one.layers[0].double().numpy()
    layers[:, :3] = layers[:, :3] ** GAMMA
    matrices = homographies(one.camera, one.motion, torch.from_numpy(times))[0].numpy()
    ys, xs = np.mgrid[: WINDOW.height, : WINDOW.width]
    points = np.stack([xs.ravel() + WINDOW.left, ys.ravel() + WINDOW.top, np.ones(xs.size)])
    total = np.zeros((3, *xs.shape))
    for number in range(len(times)):
        frame = np.zeros((3, *xs.shape))
        for layer in range(len(layers)):
            x, y, w = np.linalg.solve(matrices[layer, number], points)
            colour = np.stack(
                [
                    ndimage.map_coordinates(plane, [y / w, x / w], order=1, mode="nearest").reshape(xs.shape)
                    for plane in layers[layer]
                ]
            )
            frame = colour[3] * colour[:3] + (1 - colour[3]) * frame
        total += frame
    return (total / len(times)) ** (1 / GAMMA)


@pytest.mark.parametrize("seed", range(4))
def test_true_offsets_reproduce_the_blur_on_valid_pixels(seed: int) -> None:
    one = scene(seed, most_objects=3)
    shot = render(one, WINDOW)
    offsets = true_offsets(one, WINDOW, shot.timestamps)
    margin = WINDOW.margin
    reblurred = create_blur(shot.sharp, offsets, gamma=GAMMA)
    independent = torch.from_numpy(independent_blur(one, shot.timestamps.numpy())).float()
    valid = shot.valid[0, 0]
    assert valid.float().mean() > 0.5
    assert psnr(reblurred[0][:, valid][None, :, None], independent[:, valid][None, :, None]) > 60
    # And nothing else would do: without motion, it is another picture.
    rest = shot.sharp[0, :, margin:-margin, margin:-margin]
    assert psnr(rest[:, valid][None, :, None], independent[:, valid][None, :, None]) < 40


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_path_equals_its_plain_twin(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    one = scene(seed, lights_share=1.0)
    fast = render(one, WINDOW)
    monkeypatch.setenv("MOTION_OFFSETS_KERNELS", "plain")
    plain = render(one, WINDOW)
    torch.testing.assert_close(fast.blurred, plain.blurred, atol=1e-4, rtol=1e-4)
    assert (fast.valid != plain.valid).float().mean() < 1e-3
    assert torch.equal(fast.layer, plain.layer)


def test_scenes_can_be_batched() -> None:
    scenes = [scene(seed, most_objects=0) for seed in (1, 2)]
    both = Scene(
        torch.cat([one.layers for one in scenes]),
        CameraMotion(
            *(torch.cat(parts) for parts in zip(*(vars(one.camera).values() for one in scenes), strict=True))
        ),
        LayerMotion(*(torch.cat(parts) for parts in zip(*(vars(one.motion).values() for one in scenes), strict=True))),
        torch.cat([one.gain for one in scenes]),
    )
    together = render(both, WINDOW, 9)
    for number, one in enumerate(scenes):
        torch.testing.assert_close(together.blurred[number : number + 1], render(one, WINDOW, 9).blurred)


def test_frames_average_to_the_blur_and_the_middle_one_is_sharp() -> None:
    shot = render(scene(3), WINDOW, 11, keep_frames=True)
    assert shot.frames is not None
    average = (shot.frames**GAMMA).mean(1) ** (1 / GAMMA)
    torch.testing.assert_close(average, shot.blurred, atol=2e-3, rtol=1e-3)
    margin = WINDOW.margin
    torch.testing.assert_close(
        shot.frames[:, 5], shot.sharp[..., margin:-margin, margin:-margin], atol=1e-4, rtol=1e-4
    )


def test_lights_outshine_the_sensor() -> None:
    layer = torch.zeros(1, 4, 20, 40)
    layer[:, 3] = 1
    layer[:, :3, :, 18:22] = 1
    one = still(layer)
    one.camera.rotation[0, 1, 0] = 0.08
    plain = render(one, Window(0, 4, 20, 32), 17).blurred
    one.gain[:] = 8
    bright = render(one, Window(0, 4, 20, 32), 17).blurred
    assert plain.max() < 0.8
    assert bright.max() == 1
    assert (bright >= plain - 1e-6).all()


def test_fast_scenes_get_more_frames() -> None:
    one = scene(0, most_objects=0)
    slow = num_frames(one, WINDOW)
    one.camera.rotation *= 3
    assert slow % 2 == 1
    assert num_frames(one, WINDOW) > slow
    assert num_frames(still(torch.ones(1, 4, 200, 200)), WINDOW) == dynamic_scenes.FEWEST_FRAMES

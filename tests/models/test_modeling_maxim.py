"""MAXIM: what its layers mix, sizes and padding, its loss, conventions of transformers, use in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import assert_refused, run
from transformers import AutoConfig, AutoModel, AutoModelForImageToImage

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MaximConfig, MaximForImageDeblurring
from motion_offsets.errors import BadInputError
from motion_offsets.models.modeling_maxim import pad_by_reflection
from motion_offsets.models.multi_axis_mixing import AxisMixing, Rescale
from motion_offsets.models.registry import load_deblurrer

SMALL: dict[str, Any] = {"num_stages": 2, "base_channels": 4, "block_sizes": (4, 2, 2), "num_blocks": 1}
LEVELS = 2


def make(**config: Any) -> MaximForImageDeblurring:
    return MaximForImageDeblurring(MaximConfig(**{**SMALL, **config})).eval()


def with_noise(model: MaximForImageDeblurring) -> MaximForImageDeblurring:
    """Every layer counts: initially, biases and the images' layers are 0."""
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def test_defaults_are_the_published_size() -> None:
    config = MaximConfig()
    assert (config.num_stages, config.base_channels, config.block_sizes) == (3, 32, (16, 16, 8, 8))
    with torch.device("meta"):
        model = MaximForImageDeblurring(config)
    assert model.size_multiple == (64, 64)
    assert model.tile_alignment == 64
    assert model.num_parameters() == 22_207_605  # of the published weights, counted in their files


@pytest.mark.parametrize("is_grid", [True, False])
def test_mixing_is_one_matrix_over_a_grid_or_a_block(is_grid: bool) -> None:
    mixing = AxisMixing(2, is_grid)
    torch.nn.init.normal_(mixing.weight)
    torch.nn.init.normal_(mixing.bias)
    maps = torch.randn(1, 4, 6, 3)
    mixed = mixing(maps)
    # Written out for one pixel: its place in the grid or block, and where the others of the same vector are.
    row, column, channel = 3, 1, 2
    rows, columns = ((1, 3), (1, 4)) if is_grid else ((2, 3), (0, 1))
    vector = torch.stack([maps[0, y, x, channel] for y in rows for x in columns])
    index = [(y, x) for y in rows for x in columns].index((row, column))
    expected = mixing.weight[index] @ vector + mixing.bias[index]
    torch.testing.assert_close(mixed[0, row, column, channel], expected)


def test_rescaling_is_bilinear_and_antialiased() -> None:
    """Halving weights rows by (1, 3, 3, 1) / 8, doubling by (3, 1) / 4; a projection is made in either order."""
    for factor, kernel, start in ((0.5, (1, 3, 3, 1), 1), (2.0, (3, 1), 0)):
        rescale = Rescale(1, 1, factor)
        torch.nn.init.constant_(rescale.project.weight, 2.0)
        torch.nn.init.constant_(rescale.project.bias, 0.5)
        values = torch.randn(8)
        result = rescale(values.view(1, 8, 1, 1).expand(1, 8, 8, 1))[0, :, 0, 0]
        mean = (values[start : start + len(kernel)] * torch.tensor(kernel)).sum() / sum(kernel)
        torch.testing.assert_close(result[1], 2 * mean + 0.5)


@pytest.mark.parametrize("size", [(17, 23), (64, 64), (100, 65)])
def test_padding_mirrors_as_often_as_it_takes(size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size)
    missing = [(0, -side % 64) for side in size]
    expected = np.pad(images.numpy(), [(0, 0), (0, 0), *missing], mode="reflect")
    np.testing.assert_array_equal(pad_by_reflection(images, 64).numpy(), expected)


def test_any_size_is_the_padded_photo_cropped() -> None:
    model = with_noise(make())
    photos = torch.rand(2, 3, 17, 27)
    with torch.no_grad():
        output = model(photos)
        larger = np.pad(photos.numpy(), [(0, 0), (0, 0), (0, 7), (0, 5)], mode="reflect")
        padded = model(torch.from_numpy(larger)).sharp
    assert output.sharp.shape == photos.shape
    assert [each.shape for each in output.stack_outputs] == [photos.shape] * 2
    torch.testing.assert_close(output.sharp, padded[:, :, :17, :27])
    assert not torch.allclose(output.sharp, photos, atol=0.01)


def test_starts_as_the_photo() -> None:
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(make()(photo).sharp, photo)


def test_loss_of_a_constant_difference() -> None:
    model = make()  # which starts as the photo
    photo = torch.rand(1, 3, 16, 16)
    output = model(photo, sharp_pixel_values=photo + 0.25)
    # The first stage has an image per level, the last the full one. A constant's spectrum is one number, 0.25 times
    # the root of the number of pixels, among the real and imaginary parts of half a spectrum.
    charbonnier = (0.25**2 + 1e-6) ** 0.5
    frequency = [0.1 * 0.25 * side / (side * (side // 2 + 1) * 2) for side in (16, 8)]
    expected = {
        "charbonnier_1": 2 * charbonnier,
        "frequency_1": sum(frequency),
        "charbonnier_2": charbonnier,
        "frequency_2": frequency[0],
    }
    assert {name: float(value) for name, value in output.losses.items()} == pytest.approx(expected, rel=1e-3)
    assert float(output.loss) == pytest.approx(sum(expected.values()), rel=1e-3)


def test_gradients_reach_every_weight() -> None:
    model = with_noise(make()).train()
    for name, parameter in model.named_parameters():
        if name.endswith("squeeze.bias"):  # a single unit here, which could be shut
            parameter.data.fill_(2.0)
    model.gradient_checkpointing_enable()
    model(torch.rand(1, 3, 32, 24), sharp_pixel_values=torch.rand(1, 3, 32, 24)).loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert without == []


def test_bfloat16_autocast_is_close() -> None:
    model = with_noise(make())
    photo = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        exact = model(photo).sharp
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(photo).sharp
    assert rounded.dtype == torch.float32  # the photo that the last layer's image is added to
    assert (rounded - exact).abs().mean() < 0.1 * (exact - photo).abs().mean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_stages": 0}, "num_stages is 0"),
        ({"base_channels": 6}, "multiple of 4"),
        ({"block_sizes": (4,)}, "two or more"),
        ({"block_sizes": (4, 0)}, "two or more"),
        ({"num_blocks": True}, "num_blocks is True"),
    ],
)
def test_bad_configs_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        MaximConfig(**{**SMALL, **changes})


def test_wrong_shapes_are_refused() -> None:
    model = make()
    with pytest.raises(BadInputError, match="sides of 16 or more"):
        model(torch.rand(1, 3, 8, 32))
    with pytest.raises(BadInputError, match="sharp_pixel_values has shape"):
        model(torch.rand(1, 3, 32, 32), sharp_pixel_values=torch.rand(1, 3, 32, 31))


def test_saved_it_loads_as_the_same_function(tmp_path: Path) -> None:
    model = with_noise(make())
    folder = tmp_path / "maxim"
    model.save_pretrained(folder)
    photo = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        expected = model(photo).sharp
    assert isinstance(AutoConfig.from_pretrained(folder), MaximConfig)
    for loaded in (AutoModel.from_pretrained(folder), AutoModelForImageToImage.from_pretrained(folder)):
        assert isinstance(loaded, MaximForImageDeblurring)
    with torch.no_grad():
        torch.testing.assert_close(load_deblurrer(folder)(photo).sharp, expected)


def test_fast_copies_give_the_same_and_export_is_refused(tmp_path: Path) -> None:
    pipe = BlurToVideoPipeline(EtrajModel(EtrajConfig(base_channels=4)), with_noise(make(block_sizes=(16, 16, 8))))
    assert pipe.deblurrer.size_multiple == (32, 32)
    photo = torch.rand(1, 3, 16, 17)  # mirrored more than once
    expected = pipe.deblur(photo)
    fast = pipe.optimize(dtype=torch.float32, compile=False)
    torch.testing.assert_close(fast.deblur(photo), expected)
    pipe.deblurrer.save_pretrained(tmp_path / "maxim")
    result = run("export", tmp_path / "maxim", "-o", tmp_path / "maxim.onnx")
    assert_refused(result, "is a maxim, which cannot be exported")
    assert not (tmp_path / "maxim.onnx").exists()


def test_pipeline_deblurs_with_it_whole_and_in_tiles() -> None:
    """Its frame is the model's own with the photo's mean colours; tiles start on its multiples and fit the bound."""
    pipe = BlurToVideoPipeline(EtrajModel(EtrajConfig(base_channels=4)), with_noise(make(num_stages=1)))
    photo = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        made = pipe.deblurrer(photo).sharp
    expected = made + photo.mean((2, 3), keepdim=True) - made.mean((2, 3), keepdim=True)
    torch.testing.assert_close(pipe.deblur(photo), expected.clamp(0, 1))
    large = torch.rand(1, 3, 600, 700)
    seen: list[tuple[int, ...]] = []
    pipe.deblurrer.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[2:])))
    most = 520 * 640
    held = 85 * 600 * 700  # runtime.memory.PHOTO_BYTES of the whole photo
    sharp = pipe.deblur(large, max_memory=held + most * pipe.deblurrer.tile_bytes)
    assert sharp.shape == large.shape
    assert len(seen) > 1
    assert all(height * width <= most for height, width in seen)

"""More than 8 bits per channel, and the ways in which TIFF writes grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from motion_offsets.errors import BadInputError
from motion_offsets.io.images import load_array, load_image


@pytest.fixture(scope="module")
def deep() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 65536, (32, 48, 4), dtype=np.uint16)


def over_white(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return values / 65535 * (alpha / 65535)[..., None] + 1 - (alpha / 65535)[..., None]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_of_every_kind(tmp_path, deep, suffix):
    path = tmp_path / f"photo{suffix}"
    grey, rgb, alpha = deep[:, :, 0], deep[:, :, :3], deep[:, :, 3]
    cases = [
        (grey, {"photometric": "minisblack"}, np.repeat(grey[..., None], 3, 2) / 65535),
        (rgb, {"photometric": "rgb"}, rgb / 65535),
        (deep, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, over_white(rgb, alpha)),
    ]
    if suffix == ".png":  # of TIFF, Pillow does not know this kind
        grey_and_alpha = over_white(np.repeat(grey[..., None], 3, 2), alpha)
        cases.append((np.dstack([grey, alpha]), {}, grey_and_alpha))
    for values, options, expected in cases:
        if suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
        else:
            tifffile.imwrite(path, values, **options)
        np.testing.assert_allclose(load_array(path), expected, atol=1e-5)
        np.testing.assert_allclose(np.asarray(load_image(path)) / 255, expected, atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("options", [
    {"compression": "lzw", "predictor": 2},
    {"compression": "zlib", "predictor": 2},
    {"compression": "zstd"},
    {"compression": "packbits"},
    {"tile": (16, 16)},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"rowsperstrip": 5},
], ids=str)  # fmt: skip
def test_the_ways_that_tiff_stores_16_bits(tmp_path, deep, options: dict[str, Any]):
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, deep[:, :, :3], photometric="rgb", **options)
    np.testing.assert_allclose(load_array(path), deep[:, :, :3] / 65535, atol=1e-6)


def test_16_bit_ppm(tmp_path, deep):
    path = tmp_path / "photo.ppm"
    path.write_bytes(b"P6\n48 32\n65535\n" + deep[:, :, :3].astype(">u2").tobytes())
    np.testing.assert_allclose(load_array(path), deep[:, :, :3] / 65535, atol=1e-6)
    path.write_bytes(b"P6\n48 32\n1023\n" + (deep[:, :, :3] // 64).astype(">u2").tobytes())
    np.testing.assert_allclose(load_array(path), deep[:, :, :3] // 64 / 1023, atol=1e-6)


def test_alpha_that_is_multiplied_in(tmp_path):
    path = tmp_path / "photo.tif"
    values = np.full((32, 48, 4), (10000, 20000, 5000, 32768), np.uint16)
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["assocalpha"])
    expected = values[:, :, :3] / 65535 + 1 - 32768 / 65535
    np.testing.assert_allclose(load_array(path), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_white_is_zero(tmp_path, kind):
    """A TIFF may write black as its largest value; Pillow gives the deep ones as negatives."""
    path, top = tmp_path / "photo.tif", 1.0 if kind == "float32" else np.iinfo(kind).max
    light = np.linspace(0, 1, 48)[None].repeat(32, 0)
    tifffile.imwrite(
        path, (np.rint((1 - light) * top) if top > 1 else 1 - light).astype(kind), photometric="miniswhite"
    )
    np.testing.assert_allclose(load_array(path)[:, :, 0], light, atol=0.5 / 255)
    with Image.open(path) as opened:  # and so, where a PIL image is handed over
        np.testing.assert_allclose(load_array(opened)[:, :, 0], light, atol=0.5 / 255)


def test_pil_images_that_were_decoded_before(tmp_path):
    path = tmp_path / "photo.tif"
    light = np.linspace(0, 65535, 48).astype(np.uint16)[None].repeat(32, 0)
    tifffile.imwrite(path, 65535 - light, photometric="miniswhite")
    with Image.open(path) as opened:
        opened.load()
        np.testing.assert_allclose(load_array(opened)[:, :, 0], light / 65535, atol=1e-5)


def test_12_bits(tmp_path):
    """Of 12 bits the largest value is 4095, not 65535."""
    path = tmp_path / "photo.tif"
    light = np.linspace(0, 4095, 48).astype(np.uint16)[None].repeat(32, 0)
    packed = imagecodecs.packints_encode(light, 12)
    tifffile.imwrite(path, light, photometric="minisblack")
    _write_packed_tiff(path, 48, 32, 12, packed)
    np.testing.assert_allclose(load_array(path)[:, :, 0], light / 4095, atol=1e-6)


def _write_packed_tiff(path: Path, width: int, height: int, bits: int, data: bytes) -> None:
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(data)))
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in tags
    )
    start = 8 + len(data)
    header = b"II*\0" + start.to_bytes(4, "little")
    path.write_bytes(header + data + len(tags).to_bytes(2, "little") + entries + b"\0\0\0\0")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_pictures_are_turned_upright(tmp_path, deep, suffix, orientation):
    """As Pillow turns the same picture of 8 bits."""
    values = (deep[:, :, :3] >> 8) * 257
    shallow = tmp_path / f"shallow{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((values // 257).astype(np.uint8)).save(shallow, exif=exif)
    path = tmp_path / f"deep{suffix}"
    if suffix == ".png":
        from test_colour_profiles import with_chunks

        path.write_bytes(with_chunks(imagecodecs.png_encode(values), eXIf=exif.tobytes()[6:]))
    else:
        tifffile.imwrite(path, values, photometric="rgb", extratags=[(0x0112, "H", 1, orientation, True)])
    np.testing.assert_allclose(load_array(path), load_array(shallow), atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_damaged_deep_picture_is_refused_in_one_line(tmp_path, deep, suffix, kept):
    path = tmp_path / f"photo{suffix}"
    if suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(deep[:, :, :3].copy()))
    elif suffix == ".tif":
        tifffile.imwrite(path, deep[:, :, :3], photometric="rgb", compression="zlib", rowsperstrip=4)
    else:
        path.write_bytes(b"P6\n48 32\n65535\n" + deep[:, :, :3].astype(">u2").tobytes())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    for load in (load_image, load_array):
        with pytest.raises(BadInputError, match=path.name) as caught:
            load(path)
        assert "\n" not in str(caught.value)

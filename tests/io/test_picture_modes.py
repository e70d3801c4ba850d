"""Every mode that a picture of Pillow can have, given as it is and as a copy without its file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from motion_offsets import BadInputError
from motion_offsets.io.images import load_array, load_image

RED, GREEN, BLUE = (np.tile(row, (20, 1)) for row in (np.linspace(90, 230, 24), np.linspace(200, 90, 24), [120] * 24))
COLOURS = np.rint(np.stack([RED, GREEN, BLUE], -1)).astype(np.uint8)
GREY = np.rint(np.tile(np.linspace(10, 245, 24), (20, 1))).astype(np.uint8)
OPACITY = np.tile(np.linspace(80, 255, 20).astype(np.uint8)[:, None], (1, 24))
ON_WHITE = OPACITY[..., None] / 255


def laid_over_white(colours: np.ndarray) -> np.ndarray:
    return colours * ON_WHITE + 255 * (1 - ON_WHITE)


def grey_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None].astype(float), 3, 2)


def picture(mode: str) -> tuple[Image.Image, np.ndarray, float]:
    """A picture, its colours as ``(20, 24, 3)`` in levels of 255, and how exactly the mode holds them."""
    colours, alpha = Image.fromarray(COLOURS), Image.fromarray(OPACITY)
    clear = colours.copy()
    clear.putalpha(alpha)
    grey_alpha = Image.merge("LA", (Image.fromarray(GREY), alpha))
    palette = colours.quantize(16)
    flat = np.asarray(palette.convert("RGB"), float)
    palette_alpha = Image.merge("PA", (palette, alpha)) if mode == "PA" else palette
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    deep = GREY.astype(np.uint16) * 257
    cases: dict[str, tuple[Image.Image, np.ndarray, float]] = {
        "1": (Image.fromarray(GREY > 127), grey_rgb(255.0 * (GREY > 127)), 0),
        "L": (Image.fromarray(GREY), grey_rgb(GREY), 0),
        "LA": (grey_alpha, laid_over_white(grey_rgb(GREY)), 1),
        "La": (grey_alpha.convert("La"), laid_over_white(grey_rgb(GREY)), 3),
        "P": (palette, flat, 0),
        "PA": (palette_alpha, laid_over_white(flat), 1),
        "RGB": (colours, COLOURS, 0),
        "RGBX": (colours.convert("RGBX"), COLOURS, 0),
        "RGBA": (clear, laid_over_white(COLOURS), 1),
        "RGBa": (clear.convert("RGBa"), laid_over_white(COLOURS), 3),
        "CMYK": (colours.convert("CMYK"), COLOURS, 1),
        "YCbCr": (colours.convert("YCbCr"), COLOURS, 3),
        "HSV": (colours.convert("HSV"), COLOURS, 4),
        "LAB": (ImageCms.applyTransform(colours, lab), COLOURS, 4),
        "I": (Image.fromarray(deep.astype(np.int32)), grey_rgb(GREY), 0.01),
        "I;16": (Image.fromarray(deep), grey_rgb(GREY), 0.01),
        "I;16B": (Image.frombytes("I;16B", (24, 20), deep.astype(">u2").tobytes()), grey_rgb(GREY), 0.01),
        "F": (Image.fromarray(GREY.astype(np.float32) / 255), grey_rgb(GREY), 0.01),
    }
    return cases[mode]


MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")
DEEP_MODES = ("I", "I;16", "I;16B", "F")


@pytest.mark.parametrize("mode", MODES + DEEP_MODES)
def test_a_picture_of_any_mode_keeps_its_colours(mode: str) -> None:
    given, expected, tolerance = picture(mode)
    assert given.mode == mode
    before = given.tobytes()
    array = load_array(given)
    assert array.shape == (20, 24, 3)
    assert np.abs(255 * array - expected).max() <= tolerance + 1e-3
    eight_bits = np.asarray(load_image(given), float)
    assert np.abs(eight_bits - expected).max() <= tolerance + 0.51
    assert given.tobytes() == before, "the caller's picture stays as it is"


@pytest.mark.parametrize("mode", MODES + DEEP_MODES)
def test_a_turned_picture_of_any_mode_is_turned_upright(mode: str) -> None:
    given, expected, tolerance = picture(mode)
    exif = Image.Exif()
    exif[0x0112] = 3
    given.info["exif"] = exif.tobytes()
    assert np.abs(255 * load_array(given) - expected[::-1, ::-1]).max() <= tolerance + 1e-3


def test_numbers_out_of_range_are_refused() -> None:
    for mode, value, said in (("I", 70_000, "16 bits"), ("F", 200.0, "PIL image .F, 32x32."), ("F", np.nan, "PIL")):
        with pytest.raises(BadInputError, match=said):
            load_array(Image.new(mode, (32, 32), value))

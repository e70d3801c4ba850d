"""Colours told by every means that a format has, in every mode, with and without alpha."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from motion_offsets.errors import BadInputError
from motion_offsets.io.images import load_array, load_image

P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
D65 = (0.3127, 0.3290)


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """``(32, 48, 3)`` of muted colours, which all of the spaces below hold."""
    return np.random.default_rng(3).integers(70, 180, (32, 48, 3), dtype=np.uint8)


def srgb_decoded(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_encoded(values: np.ndarray) -> np.ndarray:
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def display_p3(colours: np.ndarray) -> np.ndarray:
    """From the published matrix of Display P3 to sRGB, both linear."""
    to_srgb = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]])
    return srgb_encoded(srgb_decoded(colours / 255.0) @ to_srgb.T) * 255


def rgb_profile(primaries: tuple[float, ...], gamma: float) -> bytes:
    """An ICC profile made by LittleCMS."""
    points = [(*primaries[i : i + 2], 1.0) for i in (0, 2, 4)]
    return imagecodecs.cms_profile("rgb", whitepoint=(*D65, 1.0), primaries=np.ravel(points), gamma=gamma)


def grey_profile(gamma: float) -> bytes:
    return imagecodecs.cms_profile("gray", whitepoint=(*D65, 1.0), gamma=gamma)


def by_littlecms(colours: np.ndarray, icc: bytes) -> np.ndarray:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(colours), profile, target), dtype=float)


def levels(source: object) -> np.ndarray:
    """What load_image makes of it, which load_array must agree with."""
    loaded = np.asarray(load_image(source), dtype=float)  # type: ignore[arg-type]
    assert np.abs(load_array(source) * 255 - loaded).max() < 0.51  # type: ignore[arg-type]
    return loaded


def with_chunks(png: bytes, **chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    made = b""
    for kind, data in chunks.items():
        body = kind.encode() + data
        made += struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + made + png[33:]


def png(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "YCbCr", "HSV"])
def test_a_profile_is_applied_in_every_mode_of_colour(colours, mode):
    icc = rgb_profile(P3, 2.2)
    few = colours // 32 * 32 + 16 if mode in ("P", "PA") else colours
    picture = Image.fromarray(few)
    if mode == "PA":
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    else:
        through = "RGBA" if mode == "RGBa" else "RGB"
        options = {"palette": Image.Palette.ADAPTIVE} if mode == "P" else {}
        picture = picture.convert(through).convert(mode, **options)
    plain = np.asarray((picture.convert("RGBA") if mode == "RGBa" else picture).convert("RGB"))
    picture.info["icc_profile"] = icc
    found = levels(picture)
    np.testing.assert_allclose(found, by_littlecms(plain, icc), atol=1)
    assert np.abs(found - plain).mean() > 3


def test_a_profile_and_alpha(tmp_path, colours):
    """The colours are converted first and laid over white after."""
    icc = rgb_profile(P3, 2.2)
    alpha = np.full(colours.shape[:2], 102, np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(np.dstack([colours, alpha])).save(path, icc_profile=icc)
    expected = by_littlecms(colours, icc) * 0.4 + 255 * 0.6
    np.testing.assert_allclose(levels(path), expected, atol=1)


@pytest.mark.parametrize("mode", ["L", "LA", "La", "I;16", "I;16B"])
@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_grey_profile(colours, mode, gamma):
    grey = colours[:, :, 0]
    if mode.startswith("I"):
        stored = (grey.astype(np.uint16) * 257).astype(">u2" if mode.endswith("B") else "<u2")
        picture = Image.frombytes(mode, grey.shape[::-1], stored.tobytes())
    else:
        picture = Image.fromarray(grey).convert("LA").convert(mode) if mode != "L" else Image.fromarray(grey)
    picture.info["icc_profile"] = grey_profile(gamma)
    expected = srgb_encoded((grey / 255.0) ** gamma) * 255
    np.testing.assert_allclose(levels(picture), np.repeat(expected[:, :, None], 3, 2), atol=1)


def test_a_profile_is_known_by_what_it_does_and_not_by_its_name(colours):
    """Profiles of linear light are called linear sRGB; sRGB itself changes nothing, whatever it is called."""
    named = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.fromarray(colours)
    picture.info["icc_profile"] = named.replace("sRGB".encode("utf-16-be"), "xxxx".encode("utf-16-be"))
    assert np.array_equal(levels(picture), colours)
    linear = rgb_profile((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 1.0)
    built_in = "RGB built-in".encode("utf-16-be")
    assert built_in in linear
    picture.info["icc_profile"] = linear.replace(built_in, "sRGB, linear".encode("utf-16-be"))
    np.testing.assert_allclose(levels(picture), srgb_encoded(colours / 255.0) * 255, atol=1)


def test_a_profile_of_another_kind_of_picture_and_a_broken_one_change_nothing(colours):
    picture = Image.fromarray(colours)
    for icc in (grey_profile(1.0), b"no profile", rgb_profile(P3, 2.2)[:200]):
        picture.info["icc_profile"] = icc
        assert np.array_equal(levels(picture), colours)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_profile_keeps_16_bits(tmp_path, suffix):
    """Neighbouring levels of 16 bits stay apart: LittleCMS through Pillow has 8 bits only."""
    ramp = np.repeat(np.linspace(20000, 21000, 256).astype(np.uint16)[None, :, None], 3, 2).repeat(32, 0)
    path, icc = tmp_path / f"ramp{suffix}", rgb_profile(ADOBE, 2.2)
    if suffix == ".png":
        path.write_bytes(with_chunks(imagecodecs.png_encode(ramp), iCCP=b"icc\0\0" + zlib.compress(icc)))
    else:
        import tifffile

        tifffile.imwrite(path, ramp, photometric="rgb", iccprofile=icc)
    found = load_array(path)
    expected = srgb_encoded((ramp / 65535.0) ** 2.2)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert len(np.unique(found[:, :, 1])) > 250


def exif_of(colour_space: int, index: str | None) -> Image.Exif:
    exif = Image.Exif()
    details = {0xA001: colour_space}
    if index:
        details[0xA005] = {1: index, 2: b"0100"}
    exif[0x8769] = details
    return exif


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize(("colour_space", "index", "adobe"), [
    (0xFFFF, "R03", True),
    (2, None, True),
    (1, "R98", False),
    (1, "R03", False),
    (0xFFFF, None, False),
])  # fmt: skip
def test_adobe_rgb_by_exif_alone(tmp_path, suffix, colour_space, index, adobe):
    flat = np.full((32, 48, 3), (180, 90, 120), np.uint8)
    path = tmp_path / f"_DSC0001{suffix}"
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(flat).save(path, exif=exif_of(colour_space, index), **options)
    expected = by_littlecms(flat, imagecodecs.cms_profile("adobergb")) if adobe else flat
    np.testing.assert_allclose(levels(path), expected, atol=2)


def test_a_profile_comes_before_exif(tmp_path, colours):
    path = tmp_path / "photo.png"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colours).save(path, exif=exif_of(2, None), icc_profile=srgb)
    assert np.array_equal(levels(path), colours)


def chromaticities(primaries: tuple[float, ...]) -> bytes:
    return struct.pack(">8I", *(round(100000 * value) for value in (*D65, *primaries)))


def test_png_gamma_and_primaries(tmp_path, colours):
    path, plain = tmp_path / "photo.png", png(Image.fromarray(colours))
    linear, usual = struct.pack(">I", 100000), struct.pack(">I", 45455)
    path.write_bytes(with_chunks(plain, gAMA=linear))
    np.testing.assert_allclose(levels(path), srgb_encoded(colours / 255.0) * 255, atol=1)
    path.write_bytes(with_chunks(plain, gAMA=linear, sRGB=b"\0"))
    assert np.array_equal(levels(path), colours)
    path.write_bytes(with_chunks(plain, gAMA=usual))
    assert np.array_equal(levels(path), colours)
    path.write_bytes(with_chunks(plain, gAMA=usual, cHRM=chromaticities(P3)))
    np.testing.assert_allclose(levels(path), by_littlecms(colours, rgb_profile(P3, 2.2)), atol=1.5)
    path.write_bytes(with_chunks(plain, gAMA=bytes(4), cHRM=bytes(32)))
    assert np.array_equal(levels(path), colours)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA"])
def test_png_gamma_in_every_mode(tmp_path, colours, mode):
    path = tmp_path / "photo.png"
    picture = Image.fromarray(colours // 32 * 32 + 16).convert("L" if mode in ("L", "LA") else "RGB").convert(mode)
    path.write_bytes(with_chunks(png(picture), gAMA=struct.pack(">I", 100000)))
    plain = np.asarray(picture.convert("RGB"))
    np.testing.assert_allclose(levels(path), srgb_encoded(plain / 255.0) * 255, atol=1)


def test_tiff_primaries(tmp_path, colours):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, values in ((318, D65), (319, P3)):
        info[tag] = tuple(TiffImagePlugin.IFDRational(round(value * 10000), 10000) for value in values)
        info.tagtype[tag] = 5
    path = tmp_path / "photo.tif"
    Image.fromarray(colours).save(path, tiffinfo=info)
    np.testing.assert_allclose(levels(path), display_p3(colours), atol=1)


def avif(picture: Image.Image, primaries: int, transfer: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "AVIF", quality=100, subsampling="4:4:4")
    content = buffer.getvalue()
    start = content.index(b"colrnclx") + 8
    return content[:start] + struct.pack(">HH", primaries, transfer) + content[start + 4 :]


def jpeg_2000(picture: Image.Image, icc: bytes) -> bytes:
    """Lossless, with the profile in place of its colour specification."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG2000")
    content = buffer.getvalue()
    header = content.index(b"jp2h") - 4
    size = int.from_bytes(content[header : header + 4], "big")
    old = content.index(b"colr") - 4
    old_size = int.from_bytes(content[old : old + 4], "big")
    new = struct.pack(">I4s", 11 + len(icc), b"colr") + b"\2\0\0" + icc
    assert header < old < header + size
    size = (size - old_size + len(new)).to_bytes(4, "big")
    return content[:header] + size + content[header + 4 : old] + new + content[old + old_size :]


def bmp(colours: np.ndarray, icc: bytes) -> bytes:
    """Version 5, with the profile behind the pixels; rows from the bottom, blue first."""
    height, width = colours.shape[:2]
    assert width % 4 == 0
    pixels = colours[::-1, :, ::-1].tobytes()
    size, start = 14 + 124 + len(pixels) + len(icc), 14 + 124
    header = struct.pack("<2sIII", b"BM", size, 0, start)
    header += struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
    return header + pixels + icc


@pytest.mark.parametrize("suffix", [".jp2", ".bmp"])
def test_a_profile_that_pillow_does_not_look_for(tmp_path, colours, suffix):
    icc = rgb_profile(P3, 2.2)
    path, plain = tmp_path / f"photo{suffix}", Image.fromarray(colours)
    path.write_bytes(jpeg_2000(plain, icc) if suffix == ".jp2" else bmp(colours, icc))
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), colours)
    expected = by_littlecms(colours, icc)
    assert np.abs(expected - colours).mean() > 2
    np.testing.assert_allclose(levels(path), expected, atol=1)
    np.testing.assert_allclose(255 * load_array(path), expected, atol=1)
    path.write_bytes(jpeg_2000(plain, b"junk") if suffix == ".jp2" else bmp(colours, icc)[: -len(icc)])
    np.testing.assert_allclose(levels(path), colours)  # a broken one changes nothing


def test_code_points(tmp_path, colours):
    """cICP of PNG, where it comes before the profile, and nclx of AVIF."""
    path = tmp_path / "photo.png"
    plain = png(Image.fromarray(colours), icc_profile=rgb_profile(ADOBE, 2.2))
    path.write_bytes(with_chunks(plain, cICP=bytes((12, 13, 0, 1))))
    np.testing.assert_allclose(levels(path), display_p3(colours), atol=1)
    path = tmp_path / "photo.avif"
    flat = np.full((32, 48, 3), (180, 90, 120), np.uint8)
    path.write_bytes(avif(Image.fromarray(flat), 12, 13))
    np.testing.assert_allclose(levels(path), display_p3(flat), atol=4)  # of a lossy file
    path.write_bytes(avif(Image.fromarray(flat), 1, 13))
    np.testing.assert_allclose(levels(path), flat, atol=2)


@pytest.mark.parametrize(("transfer", "word"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_in_one_line(tmp_path, colours, transfer, word):
    picture = Image.fromarray(colours)
    tagged = bytearray(rgb_profile(P3, 2.2))
    entry = tagged.index(b"cprt")  # any tag will do
    tagged[entry : entry + 4] = b"cicp"
    start = int.from_bytes(tagged[entry + 4 : entry + 8], "big")
    tagged[start : start + 12] = b"cicp\0\0\0\0" + bytes((9, transfer, 0, 1))
    files = {
        "still.avif": avif(picture, 9, transfer),
        "still.png": with_chunks(png(picture), cICP=bytes((9, transfer, 0, 1))),
        "profile.png": png(picture, icc_profile=bytes(tagged)),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        for load in (load_image, load_array):
            with pytest.raises(BadInputError, match=rf"{name}: is an HDR picture \({word}\); save it as") as caught:
                load(path)
            assert "\n" not in str(caught.value)


def test_lab(tmp_path, colours):
    """Pillow turns CIELAB into sRGB itself; a profile that lies beside it is that of Lab."""
    flat = np.full((32, 48, 3), (180, 90, 120), np.uint8)
    lab = ImageCms.profileToProfile(
        Image.fromarray(flat), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    path = tmp_path / "lab.tif"
    lab.save(path)
    np.testing.assert_allclose(levels(path), flat, atol=3)


def test_the_odd_files(data_dir: Path):
    folder = data_dir / "odd_files"
    assert np.array_equal(load_array(folder / "p3-photo-rgba.png"), load_array(folder / "p3-photo-rgb.png"))
    with pytest.raises(BadInputError, match=r"pq\.avif: is an HDR picture \(PQ\)"):
        load_image(folder / "pq.avif")
    with Image.open(folder / "_DSC0001.jpg") as image:
        expected = by_littlecms(np.asarray(image), imagecodecs.cms_profile("adobergb"))
    assert np.abs(levels(folder / "_DSC0001.jpg") - expected).max() <= 2
    with Image.open(folder / "grey-linear-icc.png") as image:
        expected = srgb_encoded(np.asarray(image) / 255.0) * 255
    assert np.abs(levels(folder / "grey-linear-icc.png")[:, :, 0] - expected).max() <= 1

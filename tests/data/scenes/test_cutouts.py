"""Objects cut from photos by label maps, and from pictures with transparency."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motion_offsets.data.scenes.cutouts import load_objects, outlined_objects, transparent_objects
from motion_offsets.errors import BadInputError


@pytest.fixture
def outlined(tmp_path: Path) -> tuple[Path, Path]:
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    maps.mkdir()
    photo = np.full((60, 80, 3), 40, np.uint8)
    labels = np.zeros((60, 80), np.uint8)
    photo[20:40, 30:50], labels[20:40, 30:50] = (200, 10, 10), 7  # an object
    labels[:15, :15] = 3  # scenery in a corner
    labels[50:52, 40:42] = 9  # too small
    Image.fromarray(photo).save(photos / "scene.png")
    Image.fromarray(labels).save(maps / "scene.png")
    return photos, maps


def test_an_outlined_region_becomes_an_object_with_soft_edges(outlined: tuple[Path, Path]) -> None:
    (cutout,) = outlined_objects(*outlined)
    assert cutout.colour.shape == (20, 20, 3)
    assert (cutout.colour == (200, 10, 10)).all()
    assert cutout.alpha[10, 10] == pytest.approx(1, abs=1e-3)
    assert 0 < cutout.alpha[0, 10] < 0.5
    assert cutout.alpha.dtype == np.float32


def test_transparent_pictures(tmp_path: Path) -> None:
    pixels = np.zeros((20, 24, 4), np.uint8)
    pixels[2:8, 3:9] = (10, 200, 10, 255)
    Image.fromarray(pixels).save(tmp_path / "ball.png")
    (cutout,) = load_objects([tmp_path])
    assert cutout.alpha.sum() == 36
    Image.fromarray(pixels[..., :3]).save(tmp_path / "flat.png")
    with pytest.raises(BadInputError, match=r"flat\.png: has no transparency.*RGBA"):
        transparent_objects(tmp_path)


def test_bad_folders_and_maps_are_named(outlined: tuple[Path, Path], tmp_path: Path) -> None:
    photos, maps = outlined
    with pytest.raises(BadInputError, match="nowhere: no such folder"):
        outlined_objects(photos, tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="1 folders of label maps for 2"):
        load_objects([photos, photos], [maps])
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(maps / "scene.png")
    with pytest.raises(BadInputError, match=r"scene\.png: 6x5 with 2 dimensions.*80x60"):
        outlined_objects(photos, maps)
    (maps / "scene.png").write_bytes(b"not a picture")
    with pytest.raises(BadInputError, match=r"scene\.png: cannot be read as a label map"):
        outlined_objects(photos, maps)
    (maps / "scene.png").unlink()
    with pytest.raises(BadInputError, match="no label map has the name of a photo"):
        outlined_objects(photos, maps)

"""What the commands write for a bundled photo: files, sizes, fields, as recorded before the folders were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from commands import run
from PIL import Image

from motion_offsets.io.video import read_video

SIZE = (96, 72)
PICTURE = ("PNG", SIZE, 1)
FIELDS_OF_REPORT = {
    "": "camera consistency device dtype files fps height made_by models num_frames num_samples photo photo_sha256 "
    "refine_steps safe seconds settings_sha256 timestamps trajectory versions width",
    "camera": "coefficients explained focal_length_35mm mode moved path_pixels rotation_degrees scale times used",
    "consistency": "blur doubtful explained mean_offset_length reblur_psnr sharpness_gain unchanged",
    "models": "deblurrer model",
    "seconds": "clip consistency load motion pictures refinement sharp_frame",
    "versions": "diffusers motion-offsets numba torch transformers",
}
WRITTEN: dict[str, Any] = {
    "out/cat/camera.png": ("PNG", (360, 360), 1),
    "out/cat/flow.png": PICTURE,
    "out/cat/frames/0001.png": PICTURE,
    "out/cat/frames/0002.png": PICTURE,
    "out/cat/frames/0003.png": PICTURE,
    "out/cat/motion_offsets.npz": {
        "control_points": ("float16", (4, 72, 96)),
        "num_samples": ("int64", ()),
        "timestamps": ("float64", (3,)),
        "trajectory": ("<U9", ()),
    },
    "out/cat/report.json": {name: fields.split() for name, fields in FIELDS_OF_REPORT.items()},
    "out/cat/sharp.png": PICTURE,
    "out/cat/trajectories.png": PICTURE,
    "out/cat/video.gif": ("GIF", SIZE, 3),
    "out/cat/video.mp4": (15.0, (72, 96, 3), 3),
    "out/cat/video.webp": ("WEBP", SIZE, 3),
    "paths.png": PICTURE,
    "reblurred.png": PICTURE,
    "sharp.png": PICTURE,
}


def kind_of(file: Path) -> Any:
    """What does not depend on the processor: formats, sizes, names."""
    if file.suffix == ".json":
        report = json.loads(file.read_text(encoding="utf-8"))
        inner = {name: sorted(value) for name, value in report.items() if isinstance(value, dict)}
        return {"": sorted(report), **inner}
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    if file.suffix == ".mp4":
        frames, fps = read_video(file)
        return fps, frames[0].shape, len(frames)
    with Image.open(file) as picture:
        return picture.format, picture.size, getattr(picture, "n_frames", 1)


def test_outputs_stay_as_they_were(models: Path, tmp_path: Path) -> None:
    motion, sharp = ("--model", models / "motion", "--device", "cpu"), ("--deblurrer", models / "sharp")
    photo, out = tmp_path / "cat.png", tmp_path / "written"
    with Image.open(Path(__file__).parents[2] / "examples" / "cat.png") as picture:
        picture.convert("RGB").crop((60, 30, 156, 102)).save(photo)
    out.mkdir()
    for command in (
        ("extract", photo, "-o", out / "out", *motion, *sharp, "--frames", 3, "--gif", "--webp"),
        ("deblur", photo, "-o", out / "sharp.png", *motion, *sharp),
        ("trajectories", photo, "-o", out / "paths.png", *motion),
        ("reblur", photo, "--offsets", out / "out" / "cat" / "motion_offsets.npz", "-o", out / "reblurred.png"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{photo} -> {out}")
        assert result.stdout.count("\n") == 1
    found = {file.relative_to(out).as_posix(): kind_of(file) for file in out.rglob("*") if file.is_file()}
    assert found == WRITTEN
    # The networks are known: the sharp frame is the photo.
    with Image.open(out / "sharp.png") as picture, Image.open(photo) as given:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(given))

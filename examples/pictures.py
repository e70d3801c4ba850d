"""Draw every picture of the README, the documentation and the model cards from the current weights: ``make pictures``.

Writes ``docs/pictures/`` and ``model_cards/NAME.jpg``, and into ``docs/pictures/weights.json`` the SHA-256 of the
weights and photos that they were drawn from; ``tests/test_pictures.py`` compares it with what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from motion_offsets import BlurToVideoPipeline
from motion_offsets.pipelines.from_names import load_pipeline
from motion_offsets.visualization.paths import draw_trajectories

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, MODELS = ROOT / "examples", ROOT / "hub" / "models"
PIPELINE = "blur-to-video"
PHOTOS = ("cat.png", "astronaut.png", "coffee.png")
FRAMES, FRAME_SECONDS = 15, 0.08
GAP = 6


def fingerprint() -> dict[str, str]:
    """SHA-256 of all that the pictures depend on, by path from the repository's root."""
    files = [*MODELS.glob("*/model.safetensors"), MODELS / PIPELINE / "model_index.json"]
    files += [EXAMPLES / name for name in PHOTOS]
    return {file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def photo(name: str) -> Image.Image:
    with Image.open(EXAMPLES / name) as picture:
        return picture.convert("RGB")


def true_frame(name: str) -> Image.Image:
    return photo(name.replace(".png", "-sharp.png"))


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """In one row, with white gaps."""
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet


def stacked(rows: list[Image.Image]) -> Image.Image:
    """One below the other, each as wide as the narrowest."""
    width = min(row.width for row in rows)
    rows = [row.resize((width, round(row.height * width / row.width)), Image.Resampling.LANCZOS) for row in rows]
    sheet = Image.new("RGB", (width, sum(row.height for row in rows) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


class Pictures:
    """What the models make of the examples, each computed once."""

    def __init__(self) -> None:
        self.pipe = BlurToVideoPipeline.from_pretrained(PIPELINE)
        self.pipe.set_progress_bar_config(disable=True)
        self.results = {name: self.pipe(photo(name), num_frames=FRAMES) for name in PHOTOS}

    def sharp(self, name: str) -> Image.Image:
        return self.results[name].sharp[0]

    def paths(self, name: str, offsets: object = None) -> Image.Image:
        drawn = self.results[name].motion_offsets[0] if offsets is None else offsets
        return draw_trajectories(photo(name), drawn)

    def clip(self, name: str, target: Path) -> None:
        """The photo beside the clip that runs back and forth, as an endless animation."""
        frames = list(self.results[name].frames[0])
        frames += frames[-2:0:-1]
        sheets = [side_by_side([photo(name), frame]) for frame in frames]
        milliseconds = round(1000 * FRAME_SECONDS)
        sheets[0].save(target, save_all=True, append_images=sheets[1:], duration=milliseconds, loop=0, quality=80)

    def card(self, model: str) -> Image.Image:
        """The picture of one model's card, on a shaken camera and on something that moves by itself."""
        if model == PIPELINE:
            return stacked(
                [side_by_side([photo(n), self.sharp(n), self.paths(n)]) for n in ("cat.png", "astronaut.png")]
            )
        if model.startswith("etraj-"):
            pipe = load_pipeline(model, deblurs=False)
            rows = []
            for name in ("cat.png", "coffee.png"):
                pixel_values = pipe.preprocess(photo(name))
                offsets = pipe.estimator.offsets_at(pipe.estimate(pixel_values), np.linspace(-1, 1, FRAMES).tolist())
                rows.append(side_by_side([photo(name), self.paths(name, offsets[0])]))
            return stacked(rows)
        pipe = load_pipeline("etraj-quadratic", model)
        rows = []
        for name in ("cat.png", "astronaut.png"):
            sharp = pipe.post_process(pipe.deblur(pipe.preprocess(photo(name)), None))[0]
            rows.append(side_by_side([photo(name), sharp, true_frame(name)]))
        return stacked(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT, help="folder that gets docs/pictures and model_cards")
    output = parser.parse_args().output
    shown, cards = output / "docs" / "pictures", output / "model_cards"
    shown.mkdir(parents=True, exist_ok=True)
    cards.mkdir(exist_ok=True)
    pictures = Pictures()
    pictures.clip("cat.png", shown / "cat.webp")
    for name in PHOTOS:
        strip = side_by_side([photo(name), pictures.sharp(name), true_frame(name)])
        strip.save(shown / name.replace(".png", "-before-after.jpg"), quality=90)
        pictures.paths(name).save(shown / name.replace(".png", "-paths.jpg"), quality=90)
    for card in sorted((ROOT / "model_cards").glob("*.md")):
        if not (MODELS / card.stem).is_dir():  # of weights to be converted, which are not here
            continue
        pictures.card(card.stem).save(cards / f"{card.stem}.jpg", quality=88)
        print(cards / f"{card.stem}.jpg")
    (shown / "weights.json").write_text(json.dumps(fingerprint(), indent=2) + "\n")
    print(shown)


if __name__ == "__main__":
    main()

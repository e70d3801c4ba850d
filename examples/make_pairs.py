"""Make ``hub/datasets/blurred-pairs`` again: dynamic scenes from scikit-image's free photos, as Parquet with its card.

python examples/make_pairs.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PIL import Image
from skimage.data import data_dir

from motion_offsets.data.synthesis.settings import SynthesisSettings
from motion_offsets.data.synthesis.synthesis import Synthesis

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
LONGEST_SIDE = 400
TARGET = Path(__file__).resolve().parents[1] / "hub" / "datasets" / "blurred-pairs"
HEAD = "license: cc0-1.0\npretty_name: Blurred pairs of free photos\n"
CREDIT = """
The sharp photos are scikit-image's astronaut (NASA), chelsea (Stefan van der Walt), coffee (Rachel Michetti) and
rocket (SpaceX), all in the public domain or CC0, reduced to 400 pixels. Enough to try a loader or a loss with, too
little to train on. `python examples/make_pairs.py` in the project's repository makes the data again.
"""


def main() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        synthesis = Synthesis(TARGET, SynthesisSettings(recipe="dynamic", count=3, format="parquet"))
        for name in PHOTOS:
            with Image.open(Path(data_dir) / name) as photo:
                reduced = photo.convert("RGB")
            reduced.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
            source = Path(folder) / f"{Path(name).stem}.png"
            reduced.save(source)
            synthesis.add(source, source.stem)
        synthesis.finish()
    card = TARGET / "README.md"
    text = card.read_text().replace("---\n", f"---\n{HEAD}", 1)
    text = text.replace("\n```python", f"{CREDIT}\n```python").replace('"..."', '"OWNER/blurred-pairs"')
    card.write_text(text)
    print(f"{TARGET}: {len(synthesis)} pairs")


if __name__ == "__main__":
    main()

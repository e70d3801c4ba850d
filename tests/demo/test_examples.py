import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motion_offsets.demo.examples import find_examples

ROOT = Path(__file__).parents[2]
NAMES = ["cat.png", "person.png", "coffee.png", "astronaut.png"]


def test_the_page_offers_four_examples() -> None:
    assert [example.path.name for example in find_examples()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_script_makes_the_examples_again(name: str) -> None:
    made, _ = runpy.run_path(str(ROOT / "examples" / "make.py"))["make"](name)
    with Image.open(ROOT / "examples" / name) as stored:
        assert np.abs(np.asarray(made, int) - np.asarray(stored, int)).max() <= 1

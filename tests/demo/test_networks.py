"""The networks that the page was started with: which there are, what each answers, and how the page offers them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the web page needs the demo extra")

from motion_offsets import EtrajConfig, EtrajModel, MaximConfig, MaximForImageDeblurring
from motion_offsets.demo import networks
from motion_offsets.demo.limits import Limits
from motion_offsets.demo.page import build
from motion_offsets.demo.service import Service
from motion_offsets.errors import BadInputError

MODEL = "etraj-quadratic"
MEMORY = Limits().memory


@pytest.fixture(scope="module")
def maxim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "maxim"
    model = MaximForImageDeblurring(MaximConfig(num_stages=1, base_channels=4, block_sizes=(4, 2), num_blocks=1))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _bundled_again() -> Iterator[None]:
    yield
    networks.use_deblurrers()


def test_each_answers_for_itself_and_the_first_is_the_default(models: Path, generator: np.random.Generator) -> None:
    sharp, even = str(models / "sharp"), str(models / "even")
    networks.use_deblurrers([sharp, even])
    assert list(networks.deblurrers()) == [sharp, even]
    photo = generator.integers(0, 180, (48, 64, 3), np.uint8)
    np.testing.assert_array_equal(networks.find(MODEL, photo, MEMORY).sharp, photo)
    np.testing.assert_array_equal(networks.find(MODEL, photo, MEMORY, deblurrer=sharp).sharp, photo)
    found = networks.find(MODEL, photo, MEMORY, deblurrer=even).sharp
    np.testing.assert_allclose(found, np.broadcast_to(photo.mean((0, 1)), found.shape), atol=1)
    one, other = networks.pipeline(MODEL, sharp), networks.pipeline(MODEL, even)
    assert one.estimator is other.estimator
    assert networks.pipeline("etraj-linear", even).deblurrer is other.deblurrer


def test_an_estimators_uncertainty_reaches_the_page(tmp_path: Path) -> None:
    EtrajModel(EtrajConfig(base_channels=4, predicts_uncertainty=True)).save_pretrained(tmp_path / "unsure")
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    points, unsure = networks.find_motion(str(tmp_path / "unsure"), photo, MEMORY)
    assert (points.shape, points.dtype) == ((4, 48, 64), np.float16)
    assert unsure is not None
    assert (unsure.shape, unsure.dtype) == ((1, 48, 64), np.float16)
    found = networks.find(str(tmp_path / "unsure"), photo, MEMORY)
    np.testing.assert_array_equal(found.uncertainty, unsure)
    assert networks.find_motion(MODEL, photo, MEMORY)[1] is None


def test_what_is_no_deblurrer_is_refused_and_nothing_changes(models: Path) -> None:
    before = networks.deblurrers()
    for name, said in ((models / "motion", "is an estimator"), (models / "none", "not found")):
        with pytest.raises(BadInputError, match=said):
            networks.use_deblurrers([str(models / "sharp"), str(name)])
    assert networks.deblurrers() == before == {"ma-dmphn": "ma-dmphn"}


def shown(service: Service) -> dict[str, Any]:
    """The choice of the deblurrer, as the browser gets it."""
    page = build(service)
    (choice,) = [
        component["props"]
        for component in page.get_config_file()["components"]
        if component["props"].get("elem_id") == "mo-deblurrer"
    ]
    return choice


def test_the_page_offers_a_choice_where_there_is_one(maxim: Path) -> None:
    service = Service(Limits())
    try:
        assert shown(service)["visible"] is False
    finally:
        service.close()
    networks.use_deblurrers(["ma-dmphn", str(maxim)])
    service = Service(Limits())
    try:
        choice = shown(service)
        assert choice["visible"] is True
        assert [tuple(each) for each in choice["choices"]] == [
            ("ma-dmphn", "ma-dmphn"),
            ("Best, slower (maxim)", str(maxim)),
        ]
        assert choice["value"] == "ma-dmphn"
    finally:
        service.close()
    # It may take longer.
    limits = Limits()
    assert networks.longest(limits) == networks.longest(limits, "ma-dmphn") == limits.seconds
    assert networks.longest(limits, str(maxim)) == limits.slow_seconds > limits.seconds
    with pytest.raises(BadInputError, match="deblurrer: unknown; give one of ma-dmphn"):
        networks.longest(limits, "maxim")

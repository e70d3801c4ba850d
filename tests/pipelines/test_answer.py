"""The answer to photos that are looked at together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_offsets import (
    BlurToVideoPipeline,
    EtrajConfig,
    EtrajModel,
    MaDmphnConfig,
    MaDmphnForImageDeblurring,
)
from motion_offsets.errors import BadInputError
from motion_offsets.evaluation.report.contact_sheet import compare_photo
from motion_offsets.exposure.refine_steps import REFINE_STEPS
from motion_offsets.exposure.trajectories import align_time, samples_needed
from motion_offsets.pipelines.answer import sharp_frames


def random_model(config: EtrajConfig | MaDmphnConfig) -> EtrajModel | MaDmphnForImageDeblurring:
    generator = torch.Generator().manual_seed(0)
    kind = EtrajModel if isinstance(config, EtrajConfig) else MaDmphnForImageDeblurring
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def test_a_contact_sheet_shows_the_sharp_frame_of_an_answer(tmp_path: Path, generator: np.random.Generator) -> None:
    """The deblurrer needs the estimator's motion, and the camera's is put in its place."""
    pixels = generator.integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    estimator = random_model(EtrajConfig(base_channels=4))
    with torch.no_grad():
        estimator.network.head.weight.mul_(300)
    pipe = BlurToVideoPipeline(estimator, random_model(MaDmphnConfig(base_channels=4)))
    pipe.camera = "only"
    photo = pipe.preprocess(pixels)
    sharp = pipe.answer(photo, refine_steps=REFINE_STEPS).sharp
    assert sharp is not None
    assert (pipe.deblur(photo) - sharp).abs().max() > 0.01, "the camera's motion makes no difference here"
    shown = compare_photo({"sharp": pipe}, tmp_path / "photo.png").whole[1][1]
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(pipe.post_process(sharp)[0]))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"method": "none"}, "method is 'none'; "), ({"method": "map", "camera": "on"}, "`camera` is 'on'; ")],
)
def test_sharp_frames_refuse_options_before_any_network_runs(options: dict[str, str], said: str) -> None:
    pipe = BlurToVideoPipeline(random_model(EtrajConfig(base_channels=4)), random_model(MaDmphnConfig(levels=(1,))))
    steps: list[tuple[str, int, int]] = []
    with pytest.raises(BadInputError, match=said):
        sharp_frames(pipe, torch.rand(1, 3, 32, 48), **options, on_step=lambda *step: steps.append(step))
    assert steps == []


def test_refined_motion_of_a_photo_does_not_depend_on_the_photos_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    model = random_model(EtrajConfig(base_channels=4))
    pipe = BlurToVideoPipeline(model, None)
    photos, sharp = torch.rand(2, 2, 3, 48, 64, generator=generator)
    points = pipe.estimate(photos)
    with torch.no_grad():  # the longest paths have 40 pixels, in the first photo
        scale = 40 / points[0].abs().amax()
        model.network.head.weight.mul_(scale)
        model.network.head.bias.mul_(scale)
    photos[1] = 0.5 + 0.02 * (photos[1] - 0.5)
    counts = [samples_needed(pipe.estimate(photo[None]), "quadratic") for photo in photos]
    assert counts[0] > counts[1], counts
    steps: list[tuple[str, int, int]] = []

    def answered(chosen: slice) -> torch.Tensor:
        options = {"camera": "off", "refine_steps": 2, "on_step": lambda *step: steps.append(step)}
        return pipe.answer(photos[chosen], sharp[chosen], **options).control_points

    together = answered(slice(0, 2))
    assert [step[1:] for step in steps if step[0] == "refinement"] == [(done, 4) for done in range(5)]
    for index in (0, 1):
        alone = answered(slice(index, index + 1))
        torch.testing.assert_close(together[index], alone[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [48, 24])
def test_refinement_estimates_the_reduced_photo_too_unless_motion_is_given(side: int) -> None:
    """Half of 24 pixels is less than a network sees."""
    photo = torch.rand(1, 3, side, 64, generator=torch.Generator().manual_seed(0))
    pipe = BlurToVideoPipeline(random_model(EtrajConfig(base_channels=4)), None)
    with torch.no_grad():
        scale = 12 / pipe.estimate(photo).abs().amax()
        pipe.estimator.network.head.weight.mul_(scale)
        pipe.estimator.network.head.bias.mul_(scale)
    points = pipe.estimate(photo)
    options = {"method": "map", "camera": "off", "refine_steps": 2}
    frame = pipe.deconvolve(photo, points)

    def refined(estimate: Callable[[torch.Tensor], torch.Tensor] | None) -> torch.Tensor:
        found = pipe.refine_blindly(photo, frame, points, 2, estimate=estimate).control_points
        return align_time(found, "quadratic")

    with_both, with_one = refined(pipe.estimate if side == 48 else None), refined(None)
    assert torch.equal(pipe.answer(photo, **options).control_points, with_both)
    assert torch.equal(pipe.answer(photo, control_points=points, **options).control_points, with_one)
    assert torch.equal(with_both, with_one) == (side == 24)

"""The answer to photos that are looked at together."""

from __future__ import annotations

import torch

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel
from motion_offsets.exposure.trajectories import samples_needed


def test_refined_motion_of_a_photo_does_not_depend_on_the_photos_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    model = EtrajModel(EtrajConfig(base_channels=4)).eval()
    torch.nn.init.zeros_(model.network.head.bias)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
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

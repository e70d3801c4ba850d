"""A sharp frame keeps its photo's mean colours."""

import torch

from motion_offsets.exposure.colour_means import keep_colour_means


def test_a_value_that_is_not_finite_does_not_spread() -> None:
    photo = torch.full((1, 3, 4, 5), 0.5)
    sharp = torch.full((1, 3, 4, 5), 0.25)
    sharp[0, 1, 2, 3] = float("nan")
    kept = keep_colour_means(photo, sharp)
    assert kept[0, (0, 2)].equal(photo[0, (0, 2)])
    assert int(kept.isnan().sum()) == 1
    assert kept[0, 1, 0, 0] == 0.25

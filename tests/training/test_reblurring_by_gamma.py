"""The estimator learns by reblurring from each crop as its light was averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from accelerate import Accelerator

from motion_offsets import EtrajConfig, EtrajModel
from motion_offsets.training.options import TrainingOptions
from motion_offsets.training.stages import EstimatorStage


def test_a_given_gamma_takes_the_place_of_the_configs() -> None:
    torch.manual_seed(0)
    plain = EtrajModel(EtrajConfig(base_channels=4, ssim_weight=0.0))
    linear = EtrajModel(EtrajConfig(base_channels=4, ssim_weight=0.0, gamma=2.2))
    points, blurred, sharp = 4 * torch.randn(1, 4, 32, 32), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 48, 48)
    for one, other, gamma in ((plain, linear, 2.2), (linear, plain, 1.0)):
        reblurred = one.reblur_loss(points, blurred, sharp, gamma)[2]
        torch.testing.assert_close(reblurred, other.reblur_loss(points, blurred, sharp)[2])
        assert not torch.allclose(reblurred, one.reblur_loss(points, blurred, sharp)[2])


def test_a_mixed_batch_is_the_mean_of_its_crops(photos: Path) -> None:
    model = "{base_channels: 4, ssim_weight: 0, regularization_weight: 0, total_variation_weight: 0}"
    options = TrainingOptions(images=[str(photos)], model=model, crops="{crop_size: 32, margin: 8}")
    torch.manual_seed(0)
    stage, accelerator = EstimatorStage(options), Accelerator(cpu=True)
    batch = {
        "blurred": torch.rand(3, 3, 32, 32),
        "sharp": torch.rand(3, 3, 48, 48),
        "gamma": torch.tensor([1.0, 2.2, 0.0]),
    }

    def loss(rows: slice) -> torch.Tensor:
        return stage.loss(stage.model, {name: value[rows] for name, value in batch.items()}, 0.0, accelerator)[0]

    together = loss(slice(0, 3))
    # The last crop went through a tone curve, which no gamma undoes: nothing is learned from it by reblurring.
    assert loss(slice(2, 3)) == 0
    torch.testing.assert_close(together, (loss(slice(0, 1)) + loss(slice(1, 2))) / 3)

"""What users of transformers do with any model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_offsets import (
    EtrajConfig,
    EtrajModel,
    MaDmphnConfig,
    MaDmphnForImageDeblurring,
    MaximConfig,
    MaximForImageDeblurring,
    MotionGuidedConfig,
    MotionGuidedForImageDeblurring,
    MotionOffsetsImageProcessor,
)
from motion_offsets.exposure.blur import create_blur, warp
from motion_offsets.models.registry import MODELS

ESTIMATOR = EtrajConfig(base_channels=4, ssim_weight=0.0)


def made(name: str) -> torch.nn.Module:
    if name == "etraj":
        return EtrajModel(ESTIMATOR)
    if name == "ma-dmphn":
        return MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, estimator_config=ESTIMATOR))
    if name == "maxim":
        blocks = {"num_stages": 2, "num_blocks": 1, "num_bottleneck_blocks": 1}
        return MaximForImageDeblurring(MaximConfig(base_channels=4, block_sizes=(4, 4, 2), **blocks))
    unet = {"widths": (8, 8), "encoder_blocks": (0, 1), "decoder_blocks": (1,), "deconvolution_steps": (1, 2)}
    return MotionGuidedForImageDeblurring(MotionGuidedConfig(**unet, estimator_config=ESTIMATOR))


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def answer(output: object) -> Tensor:
    return output.sharp if hasattr(output, "sharp") else output.motion_offsets  # type: ignore[attr-defined]


def test_what_the_processor_gives_goes_straight_in(name: str) -> None:
    """As README and cards print it: ``model(**processor(photo))``."""
    photos = [np.zeros((20, 24, 3), np.uint8), np.zeros((24, 16, 3), np.uint8)]
    with torch.no_grad():
        output = made(name)(**MotionOffsetsImageProcessor()(photos, return_tensors="pt"))
    assert answer(output).shape[-2:] == (24, 24)


def test_an_empty_batch(name: str) -> None:
    model, empty = made(name), torch.rand(0, 3, 21, 32)
    output = model(empty, empty)
    assert answer(output).shape[0] == 0
    assert answer(output).shape[-2:] == (21, 32)
    assert warp(empty, torch.zeros(0, 5, 2, 21, 32)).shape == (0, 5, 3, 21, 32)
    assert create_blur(empty, torch.zeros(0, 5, 2, 21, 32)).shape == (0, 3, 21, 32)


def test_the_meta_device(name: str) -> None:
    """Shapes without numbers, as tools ask for them that plan memory."""
    with torch.device("meta"):
        model, photo = made(name), torch.rand(2, 3, 21, 32)
    output = model(photo, photo)
    output.loss.backward()
    assert answer(output).is_meta
    assert answer(output).shape == ((2, 15, 2, 21, 32) if name == "etraj" else (2, 3, 21, 32))
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    model, photo = made(name).train(), torch.rand(1, 3, 32, 32)
    plain, kept = _gradients(model, photo)
    model.gradient_checkpointing_enable()
    checkpointed, kept_by_checkpointing = _gradients(model, photo)
    torch.testing.assert_close(checkpointed, plain)
    assert kept_by_checkpointing < kept


def _gradients(model: torch.nn.Module, photo: Tensor) -> tuple[list[Tensor], int]:
    """Gradients of the weights, and how many numbers were remembered for them."""
    sizes: list[int] = []

    def pack(kept: Tensor) -> Tensor:
        sizes.append(kept.numel())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        loss = model(photo, 0.9 * photo).loss
    model.zero_grad()
    loss.backward()
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None], sum(sizes)

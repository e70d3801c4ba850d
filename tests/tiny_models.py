"""Tiny networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import torch

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring


def save_tiny_models(folder: Path) -> Path:
    """Write ``motion``, 6 pixels to the right everywhere, and two deblurrers.

    ``sharp`` leaves a photo as it is; of ``even`` only the photo's mean colour remains, which deblurring keeps.
    """
    torch.manual_seed(0)
    estimator = EtrajModel(EtrajConfig(base_channels=4))
    torch.nn.init.zeros_(estimator.network.head.weight)
    estimator.network.head.bias.data = torch.tensor([-3.0, 0.0, 3.0, 0.0])
    estimator.save_pretrained(folder / "motion")
    for name, residual in (("sharp", True), ("even", False)):
        config = MaDmphnConfig(base_channels=4, motion_aware=False, residual_output=residual)
        deblurrer = MaDmphnForImageDeblurring(config)
        last = deblurrer.networks[0].decoder_lv1.layer24
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        deblurrer.save_pretrained(folder / name)
    return folder

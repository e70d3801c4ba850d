"""A checkout in small, as ``motion-offsets publish`` takes it: two tiny measured models and the pipeline of both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring

CARD = """---
license: apache-2.0
tags: [motion-blur]
---

# {name}

| figure | value |
| --- | --- |
| `reblur_psnr` | 0.00 |

Load it with `AutoModel.from_pretrained("OWNER/{name}")`.
"""


def make_checkout(root: Path, seed: int = 0) -> Path:
    """Models ``motion`` and ``sharp``, pipeline ``both``; another seed gives other weights."""
    torch.manual_seed(seed)
    models = root / "hub" / "models"
    estimator = EtrajModel(EtrajConfig(base_channels=4)).half()
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, levels=(1,), motion_aware=False)).half()
    hashes = {}
    for name, part, model in (("motion", "estimator", estimator), ("sharp", "deblurrer", deblurrer)):
        model.save_pretrained(models / name)
        for code in (models / name).glob("*.py"):
            code.unlink()
        weights = (models / name / "model.safetensors").read_bytes()
        hashes[part] = hashlib.sha256(weights).hexdigest()
        figures = {"benchmark": "bsd-motion-flow", "images": 2, "pairs": 6, "reblur_psnr": 31.256, "deblur_ssim": None}
        (models / name / "evaluation.json").write_text(json.dumps({**figures, "checkpoints": hashes}))
    (models / "both").mkdir()
    index = {"_class_name": "BlurToVideoPipeline", "bundled_components": {"estimator": "motion", "deblurrer": "sharp"}}
    (models / "both" / "model_index.json").write_text(json.dumps(index))
    (root / "model_cards").mkdir()
    for name in ("motion", "sharp", "both"):
        (root / "model_cards" / f"{name}.md").write_text(CARD.format(name=name))
    return root

"""The parts of a pipeline from a folder that ``save_pretrained`` wrote, or from the bundled models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import BadInputError
from ..models.hub import pipeline_components
from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor
from ..models.modeling_etraj import EtrajModel
from ..models.registry import load_deblurrer

_LOADERS: dict[str, Any] = {"estimator": EtrajModel.from_pretrained, "deblurrer": load_deblurrer}


def load_components(folder: str, options: dict[str, Any]) -> dict[str, Any]:
    """The parts of a saved or bundled pipeline, loaded where they are not given; takes its options out."""
    bundled = pipeline_components(folder)
    dtype = options.pop("torch_dtype", None) or torch.float32
    components: dict[str, Any] = {}
    for name, loader in _LOADERS.items():
        if name in options:
            components[name] = options.pop(name)
        elif name in bundled:
            components[name] = loader(bundled[name], dtype=dtype)
        elif (Path(folder) / name).is_dir():
            components[name] = loader(folder, subfolder=name, dtype=dtype)
    if components.get("estimator") is None:
        raise BadInputError("holds no estimator; give a pipeline's folder that save_pretrained wrote")
    if "processor" in options:
        components["processor"] = options.pop("processor")
    elif (Path(folder) / "processor").is_dir():
        components["processor"] = MotionOffsetsImageProcessor.from_pretrained(folder, subfolder="processor")
    return components

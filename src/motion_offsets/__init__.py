"""From one motion-blurred photo to its motion, a sharp frame and a slow-motion clip.

Everything is imported on first use, so that ``import motion_offsets`` and the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .errors import BadInputError
    from .exposure.blur import create_blur, warp
    from .exposure.trajectories import offsets_at
    from .models.configuration_etraj import EtrajConfig
    from .models.configuration_ma_dmphn import MaDmphnConfig
    from .models.configuration_motion_guided import MotionGuidedConfig
    from .models.image_processing_motion_offsets import MotionOffsetsImageProcessor
    from .models.modeling_etraj import EtrajModel
    from .models.modeling_ma_dmphn import MaDmphnForImageDeblurring
    from .models.modeling_motion_guided import MotionGuidedForImageDeblurring
    from .models.motion_aware_conv import motion_aware_conv2d
    from .pipelines.blur_to_video import BlurToVideoPipeline

_HOME = {
    "BadInputError": "errors",
    "BlurToVideoPipeline": "pipelines.blur_to_video",
    "EtrajConfig": "models.configuration_etraj",
    "EtrajModel": "models.modeling_etraj",
    "MaDmphnConfig": "models.configuration_ma_dmphn",
    "MaDmphnForImageDeblurring": "models.modeling_ma_dmphn",
    "MotionGuidedConfig": "models.configuration_motion_guided",
    "MotionGuidedForImageDeblurring": "models.modeling_motion_guided",
    "MotionOffsetsImageProcessor": "models.image_processing_motion_offsets",
    "create_blur": "exposure.blur",
    "motion_aware_conv2d": "models.motion_aware_conv",
    "offsets_at": "exposure.trajectories",
    "warp": "exposure.blur",
}

_AUTO_CLASSES = (
    "EtrajConfig",
    "EtrajModel",
    "MaDmphnConfig",
    "MaDmphnForImageDeblurring",
    "MotionGuidedConfig",
    "MotionGuidedForImageDeblurring",
    "MotionOffsetsImageProcessor",
)

__all__ = [
    "BadInputError",
    "BlurToVideoPipeline",
    "EtrajConfig",
    "EtrajModel",
    "MaDmphnConfig",
    "MaDmphnForImageDeblurring",
    "MotionGuidedConfig",
    "MotionGuidedForImageDeblurring",
    "MotionOffsetsImageProcessor",
    "__version__",
    "create_blur",
    "motion_aware_conv2d",
    "offsets_at",
    "warp",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    if name in _AUTO_CLASSES:
        _register_auto_classes()
    return value


def _register_auto_classes() -> None:
    """Let ``AutoConfig``, ``AutoImageProcessor``, ``AutoModel`` and ``AutoModelForImageToImage`` load our folders."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageToImage
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    from .models.image_processing_motion_offsets import MotionOffsetsImageProcessor
    from .models.registry import MODELS

    for kind, entry in MODELS.items():
        config, model = entry.config_class(), entry.model_class()
        AutoConfig.register(kind, config, exist_ok=True)
        # One processor for either backend: whichever transformers asks for, ours needs Pillow and NumPy only. Into the
        # mapping itself, because transformers 5.17 without torchvision has no AutoImageProcessor to register with.
        backends = dict.fromkeys(("pil", "torchvision"), MotionOffsetsImageProcessor)
        IMAGE_PROCESSOR_MAPPING.register(config, backends, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
        if entry.deblurs:
            AutoModelForImageToImage.register(config, model, exist_ok=True)


def __dir__() -> list[str]:
    return sorted(__all__)

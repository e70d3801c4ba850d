"""The parts of a pipeline from a folder that ``save_pretrained`` wrote, or from the bundled models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInputError
from ..models.hub import pipeline_components
from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor
from ..models.registry import load_deblurrer, load_estimator
from ..runtime.devices import pick_device

_LOADERS: dict[str, Any] = {"estimator": load_estimator, "deblurrer": load_deblurrer}


# What diffusers knows and what changes nothing here: weights are memory-mapped and taken up one by one in any case.
_WITHOUT_EFFECT = ("low_cpu_mem_usage", "disable_mmap", "trust_remote_code")


def load_components(folder: str, options: dict[str, Any]) -> dict[str, Any]:
    """The parts of a saved or bundled pipeline, loaded where they are not given; takes its options out."""
    bundled = pipeline_components(folder)
    dtypes = _of_each(options.pop("dtype", None) or options.pop("torch_dtype", None) or torch.float32)
    options.pop("torch_dtype", None)
    devices = _of_each(_devices(options.pop("device_map", None)))
    loading = {"variant": options.pop("variant", None)}
    if options.pop("use_safetensors", None) is False:
        raise BadInputError("use_safetensors is False; only safetensors weights are read, so leave it out")
    for name in _WITHOUT_EFFECT:
        options.pop(name, None)
    components: dict[str, Any] = {}
    for name, loader in _LOADERS.items():
        if name in options:
            components[name] = options.pop(name)
            continue
        if name in bundled:
            if loading["variant"] is not None:
                raise BadInputError(
                    f"variant is {loading['variant']!r}; the bundled weights have none, so leave it out"
                )
            components[name] = loader(bundled[name], dtype=dtypes(name))
        elif (Path(folder) / name).is_dir():
            components[name] = loader(folder, subfolder=name, dtype=dtypes(name), **loading)
        device = devices(name)
        if device is not None and components.get(name) is not None:
            components[name].to(device)
    if components.get("estimator") is None:
        raise BadInputError("holds no estimator; give a pipeline's folder that save_pretrained wrote")
    if "processor" in options:
        components["processor"] = options.pop("processor")
    elif (Path(folder) / "processor").is_dir():
        components["processor"] = MotionOffsetsImageProcessor.from_pretrained(folder, subfolder="processor")
    return components


def _of_each(choice: Any) -> Callable[[str], Any]:
    """What an option says of a component: one value for all, or a mapping of names with ``"default"`` or ``""``."""
    if not isinstance(choice, Mapping):
        return lambda name: choice
    unknown = set(choice) - {*_LOADERS, "processor", "default", ""}
    if unknown:
        raise BadInputError(f"{sorted(unknown)[0]!r} is not part of this pipeline; give one of {', '.join(_LOADERS)}")
    return lambda name: choice.get(name, choice.get("default", choice.get("")))


def _devices(device_map: Any) -> Any:
    """The devices of a ``device_map``; both networks fit any one, so that there is nothing to balance."""
    if isinstance(device_map, Mapping):
        return {name: _devices(device) for name, device in device_map.items()}
    if device_map in ("balanced", "auto"):
        return pick_device("auto")
    if device_map is None:
        return None
    try:
        device = torch.device(device_map)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise BadInputError(f"device_map is {device_map!r}, which cannot be used ({reason}); give balanced") from None
    return device

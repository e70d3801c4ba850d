"""Every model class by the ``model_type`` of its config. A new model is one line here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import BadInputError
from .hub import DEFAULT_DEBLURRER, DEFAULT_ESTIMATOR, PIPELINE_FILE, plain_errors, require_config, resolve_name


@dataclass(frozen=True)
class ModelEntry:
    """Where the classes of a model are: modules of this folder, and names in them."""

    config_module: str
    config: str
    model_module: str
    model: str
    deblurs: bool

    @property
    def kind(self) -> str:
        """What the model is, in words."""
        return "a deblurrer" if self.deblurs else "an estimator"

    def config_class(self) -> Any:
        return getattr(import_module(f".{self.config_module}", __package__), self.config)

    def model_class(self) -> Any:
        return getattr(import_module(f".{self.model_module}", __package__), self.model)


MODELS: dict[str, ModelEntry] = {
    "etraj": ModelEntry("configuration_etraj", "EtrajConfig", "modeling_etraj", "EtrajModel", deblurs=False),
    "ma-dmphn": ModelEntry(
        "configuration_ma_dmphn", "MaDmphnConfig", "modeling_ma_dmphn", "MaDmphnForImageDeblurring", deblurs=True
    ),
    "maxim": ModelEntry(
        "configuration_maxim", "MaximConfig", "modeling_maxim", "MaximForImageDeblurring", deblurs=True
    ),
    "motion-guided": ModelEntry(
        "configuration_motion_guided",
        "MotionGuidedConfig",
        "modeling_motion_guided",
        "MotionGuidedForImageDeblurring",
        deblurs=True,
    ),
}


def model_class(name: str | os.PathLike[str], subfolder: str = "") -> Any:
    """The class of a bundled model, of a folder's, or of one on the Hub.

    Raises:
        BadInputError: the name is unknown, or its ``config.json`` does not name a model of this package.
    """
    return _entry(name, subfolder).model_class()


def deblurrer_class(name: str | os.PathLike[str], subfolder: str = "") -> Any:
    """As :func:`model_class`, for a deblurrer.

    Raises:
        BadInputError: as there, or it is an estimator.
    """
    return _entry(name, subfolder, deblurs=True).model_class()


def load_deblurrer(name: str | os.PathLike[str], **options: Any) -> Any:
    """The deblurrer of a name, of whichever class; options as ``from_pretrained`` takes them.

    Raises:
        BadInputError: as for ``from_pretrained``, or it is an estimator.
    """
    return deblurrer_class(name, options.get("subfolder", "")).from_pretrained(name, **options)


def load_estimator(name: str | os.PathLike[str], **options: Any) -> Any:
    """The estimator of a name; options as ``from_pretrained`` takes them.

    Raises:
        BadInputError: as for ``from_pretrained``, or it is a deblurrer.
    """
    entry = _entry(name, options.get("subfolder", ""), deblurs=False)
    return entry.model_class().from_pretrained(name, **options)


def _entry(name: str | os.PathLike[str], subfolder: str, deblurs: bool | None = None) -> ModelEntry:
    """The entry of a model; with ``deblurs``, one of the other kind is refused."""
    from transformers import PreTrainedConfig

    with plain_errors(name):
        source = resolve_name(name)
        if not subfolder and (Path(source) / PIPELINE_FILE).is_file():
            raise BadInputError(
                f"is a whole pipeline; give a model such as {DEFAULT_ESTIMATOR} or {DEFAULT_DEBLURRER}"
            )
        require_config(source, {"subfolder": subfolder})
        values, _ = PreTrainedConfig.get_config_dict(source, subfolder=subfolder)
        if not isinstance(values, dict):
            raise BadInputError(f"its config.json holds a {type(values).__name__}; it must be a mapping")
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise BadInputError(
            f"model '{os.fspath(name)}': its config.json has model_type {kind!r}; it must be one of "
            f"{', '.join(MODELS)}"
        )
    entry = MODELS[kind]
    if deblurs is not None and entry.deblurs != deblurs:
        wanted = f"a deblurrer such as {DEFAULT_DEBLURRER}" if deblurs else f"an estimator such as {DEFAULT_ESTIMATOR}"
        raise BadInputError(f"model '{os.fspath(name)}' is {entry.kind} ({entry.model}); give {wanted}")
    return entry

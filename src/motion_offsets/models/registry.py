"""Every model class by the ``model_type`` of its config. A new model is one line here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..errors import BadInputError
from .hub import plain_errors, resolve_name


@dataclass(frozen=True)
class ModelEntry:
    """Where the classes of a model are: modules of this folder, and names in them."""

    config_module: str
    config: str
    model_module: str
    model: str
    deblurs: bool

    def config_class(self) -> Any:
        return getattr(import_module(f".{self.config_module}", __package__), self.config)

    def model_class(self) -> Any:
        return getattr(import_module(f".{self.model_module}", __package__), self.model)


MODELS: dict[str, ModelEntry] = {
    "etraj": ModelEntry("configuration_etraj", "EtrajConfig", "modeling_etraj", "EtrajModel", deblurs=False),
    "ma-dmphn": ModelEntry(
        "configuration_ma_dmphn", "MaDmphnConfig", "modeling_ma_dmphn", "MaDmphnForImageDeblurring", deblurs=True
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
        BadInputError: the name is unknown, or its ``config.json`` names no model of ours.
    """
    from transformers import PreTrainedConfig

    with plain_errors(name):
        values, _ = PreTrainedConfig.get_config_dict(resolve_name(name), subfolder=subfolder)
    kind = values.get("model_type")
    if kind not in MODELS:
        raise BadInputError(
            f"model '{os.fspath(name)}': its config.json has model_type {kind!r}; it must be one of "
            f"{', '.join(MODELS)}"
        )
    return MODELS[kind].model_class()


def load_deblurrer(name: str | os.PathLike[str], **options: Any) -> Any:
    """The deblurrer of a name, of whichever class; options as ``from_pretrained`` takes them.

    Raises:
        BadInputError: as for ``from_pretrained``, or it is no deblurrer.
    """
    found = model_class(name, options.get("subfolder", ""))
    if not any(entry.deblurs and entry.model == found.__name__ for entry in MODELS.values()):
        raise BadInputError(f"model '{os.fspath(name)}' is no deblurrer but an estimator; give a deblurrer")
    return found.from_pretrained(name, **options)

"""Names to weights: the bundled checkpoints by plain name, folders by path, and everything else from the Hub."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import BadInputError

DEFAULT_ESTIMATOR = "etraj-quadratic"
DEFAULT_DEBLURRER = "ma-dmphn"

_MODEL_FILE = "config.json"
PIPELINE_FILE = "model_index.json"


def _bundle_roots() -> list[Path]:
    """Folders that may hold bundled checkpoints: the wheel's own data, then ``hub/models`` of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    roots = [package / "_models"]
    if package.parent.name == "src":
        roots.append(package.parents[1] / "hub" / "models")
    return roots


def bundled_models() -> dict[str, Path]:
    """Every bundled model and pipeline: plain name to folder."""
    found: dict[str, Path] = {}
    for root in _bundle_roots():
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            if (folder / _MODEL_FILE).is_file() or (folder / PIPELINE_FILE).is_file():
                found.setdefault(folder.name, folder)
    return found


def resolve_name(name: str | os.PathLike[str]) -> str:
    """Turn a model name into what ``from_pretrained`` of transformers and diffusers takes.

    A plain name of a bundled model wins over a folder of that name in the working directory (``./name`` means the
    folder); then come existing paths; ``org/name`` is left for the Hub.

    Raises:
        BadInputError: for a path that does not exist and for a plain name that is not bundled.
    """
    text = os.fspath(name)
    bundled = bundled_models()
    if text in bundled:
        return str(bundled[text])
    path = _expanded(text)
    if text and os.path.isdir(path):  # unlike Path's, no error for a name that no folder can have
        return str(path)
    if os.path.isfile(path):
        raise BadInputError(f"model '{text}' is a file: give the folder that holds its {_MODEL_FILE} and weights")
    if _is_hub_name(text):
        return text
    raise BadInputError(
        f"model '{text}' not found: give {_choices(bundled)}, an existing folder, or org/name on the Hub"
    )


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # "~name" of nobody
        return Path(text)


def _is_hub_name(text: str) -> bool:
    owner, slash, rest = text.partition("/")
    return bool(slash and rest) and "/" not in rest and not owner.startswith((".", "~")) and owner != ""


def _choices(bundled: dict[str, Path]) -> str:
    return "a bundled name (" + (", ".join(bundled) if bundled else "this installation has none") + ")"


class BundledNamesMixin:
    """``from_pretrained`` that also knows the bundled names, for models and configs alike.

    Put it before the transformers class: ``class EtrajModel(BundledNamesMixin, PreTrainedModel)``. Models load in
    float32 unless told otherwise (the released weights are float16 only to be small), and a checkpoint that does not
    fit its config is refused, where transformers only warns and leaves random weights behind.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            BadInputError: the name is unknown, its files are missing or unreadable, or weights and config disagree.
        """
        load = super().from_pretrained  # type: ignore[misc]
        source = resolve_name(pretrained_model_name_or_path)
        if "subfolder" not in kwargs and (Path(source) / PIPELINE_FILE).is_file():
            raise BadInputError(
                f"model '{os.fspath(pretrained_model_name_or_path)}' is a whole pipeline, to be loaded with "
                f"BlurToVideoPipeline; give a single model such as {DEFAULT_ESTIMATOR} or {DEFAULT_DEBLURRER}"
            )
        with plain_errors(pretrained_model_name_or_path):
            if not _is_model(cls):
                return _load_config(cls, source, kwargs)
            require_config(source, kwargs)
            return _load_model(load, pretrained_model_name_or_path, source, args, kwargs)


def _load_config(cls: Any, source: str, kwargs: dict[str, Any]) -> Any:
    """As ``PreTrainedConfig.from_pretrained``, which in transformers 5.17 forgets the token on its way to the Hub."""
    values, others = cls.get_config_dict(source, **kwargs)
    if isinstance(values, dict) and values.get("model_type", cls.model_type) != cls.model_type:
        raise BadInputError(f"its config.json has model_type {values['model_type']!r}; it must be {cls.model_type}")
    return cls.from_dict(values, **others)


def _is_model(cls: type) -> bool:
    from transformers import PreTrainedModel

    return issubclass(cls, PreTrainedModel)


def require_config(source: str, kwargs: dict[str, Any]) -> None:
    """Refuse a folder without config, for which transformers would silently take the default one."""
    folder = Path(source) / (kwargs.get("subfolder") or "")
    if "config" not in kwargs and folder.is_dir() and not (folder / _MODEL_FILE).is_file():
        raise BadInputError(
            f"cannot be loaded, as it holds no {_MODEL_FILE}; give a folder that save_pretrained wrote"
        )


def _load_model(load: Any, name: str | os.PathLike[str], source: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    import torch

    if "torch_dtype" not in kwargs:
        kwargs.setdefault("dtype", torch.float32)
    wants_info = kwargs.pop("output_loading_info", False)
    if kwargs.get("ignore_mismatched_sizes", False):
        return load(source, *args, output_loading_info=wants_info, **kwargs)
    kwargs["ignore_mismatched_sizes"] = True  # so that every mismatch is collected, and refused below
    with _no_load_report():
        model, info = load(source, *args, output_loading_info=True, **kwargs)
    _refuse_mismatch(name, info)
    return (model, info) if wants_info else model


def _refuse_mismatch(name: str | os.PathLike[str], info: dict[str, Any]) -> None:
    """Raise one line that names the first few keys in which a checkpoint and its config disagree."""
    problems = [f"missing {key}" for key in sorted(info["missing_keys"])]
    problems += [f"unexpected {key}" for key in sorted(info["unexpected_keys"])]
    problems += [
        f"{key} is {tuple(stored)} instead of {tuple(wanted)}"
        for key, stored, wanted in sorted(info["mismatched_keys"], key=lambda mismatch: mismatch[0])
    ]
    if not problems:
        return
    shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    raise BadInputError(
        f"model '{os.fspath(name)}': the weights do not fit {_MODEL_FILE} ({shown}): give the config that the weights "
        "were trained with"
    )


@contextmanager
def _no_load_report() -> Iterator[None]:
    """Silence transformers' table of mismatches: the refusal that follows says the same in one line."""
    logger = logging.getLogger("transformers.modeling_utils")

    def refuse(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


@contextmanager
def plain_errors(name: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what transformers, diffusers and safetensors raise for unusable files into one line."""
    try:
        yield
    except Exception as error:
        cause = _bad_input_cause(error)
        if cause is not None and str(cause).startswith("model '"):
            raise cause from None
        if cause is not None:
            raise BadInputError(f"model '{os.fspath(name)}': {cause}") from error
        # ValueError and its kin are what unreadable JSON and configs of another kind end in.
        known = isinstance(error, (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError))
        if not known and type(error).__name__ != "SafetensorError":
            raise
        raise BadInputError(_loading_failure(os.fspath(name), error)) from error


def _bad_input_cause(error: BaseException | None) -> BadInputError | None:
    """The BadInputError behind an exception, if there is one: config validation wraps what a config raises."""
    while error is not None:
        if isinstance(error, BadInputError):
            return error
        error = error.__cause__
    return None


def _loading_failure(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    if os.path.isdir(_expanded(name)) or name in bundled_models():
        return f"model '{name}' cannot be loaded: {reason}"
    return (
        f"model '{name}' could not be fetched from the Hugging Face Hub and is not in its cache: check the name, the "
        f"network and, for a private one, the token, or give {_choices(bundled_models())}, which needs no network "
        f"({reason})"
    )


def pipeline_components(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The bundled models that a pipeline folder joins, ``{component: plain name}``.

    A bundled pipeline is a ``model_index.json`` with ``bundled_components`` and no weights of its own, so that no
    weight is stored twice; a folder written by ``save_pretrained`` holds its weights, and gives an empty dict.
    """
    index = Path(folder) / PIPELINE_FILE
    if not index.is_file():
        return {}
    with plain_errors(folder):
        return dict(json.loads(index.read_text(encoding="utf-8")).get("bundled_components", {}))


def snapshot(source: str, options: dict[str, Any]) -> str:
    """The local folder of a whole pipeline; one on the Hub is fetched into the cache, without code.

    Args:
        source: what :func:`resolve_name` gave.
        options: ``from_pretrained``'s; those that say what to fetch and how are taken out.
    """
    names = ("revision", "cache_dir", "token", "local_files_only", "force_download")
    chosen = {name: options.pop(name) for name in names if name in options}
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download

    return snapshot_download(source, allow_patterns=["*.json", "*.safetensors"], **chosen)


def is_pipeline(name: str | os.PathLike[str]) -> bool:
    """Whether a name, a folder or ``org/name`` on the Hub is that of a pipeline rather than of a single model."""
    source = resolve_name(name)
    if Path(source).is_dir():
        return (Path(source) / PIPELINE_FILE).is_file()
    from transformers.utils import cached_file

    with plain_errors(name):
        return cached_file(source, PIPELINE_FILE, _raise_exceptions_for_missing_entries=False) is not None

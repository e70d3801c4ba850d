"""From config files and the command line to :class:`options.TrainingOptions`.

``base:`` is read here rather than by OmegaConf, which has no such field: merging its files took as many lines as this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from ..errors import BadInputError
from .options import TrainingOptions, as_mapping

# Fields that are mappings themselves: what is given last is laid over what came before, field by field.
NESTED = ("model", "crops", "scenes")


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"{message}; `help` describes the options")


def read_options(arguments: list[str]) -> TrainingOptions:
    """Read ``--config FILE`` if it is there, then the command line on top of it.

    Raises:
        BadInputError: the file is missing, not YAML, or has a field that does not exist; or fields contradict.
    """
    given = _split_assignments(arguments)
    fields: dict[str, Any] = {"crops": as_mapping("crops", TrainingOptions.crops)}
    if "--config" in given:
        index = given.index("--config")
        if index + 1 == len(given):
            raise BadInputError("`config` needs a file, such as train/configs/etraj-quadratic.yaml")
        fields = _laid_over(fields, load_config(Path(given[index + 1])))
        del given[index : index + 2]
    for name in NESTED:
        if name in fields and f"--{name}" in given[:-1]:
            index = given.index(f"--{name}") + 1
            given[index] = yaml.safe_dump(_laid_over(fields[name], as_mapping(name, given[index])))
    parser = _Parser(TrainingOptions, allow_abbrev=False)
    options, unknown = parser.parse_args_into_dataclasses(_as_arguments(fields) + given, return_remaining_strings=True)
    if unknown:
        raise BadInputError(f"unknown option {unknown[0]!r}; `help` lists the options")
    return options


def load_config(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a config file, laid over those of the file that its ``base`` names, if it has one.

    Args:
        path: a YAML file. ``base`` is relative to its folder; a field that is ``null`` goes back to its default.
        above: the files that led to this one.

    Raises:
        BadInputError: a file is missing, not YAML, its own base, or has a field that does not exist.
    """
    if path.resolve() in above:
        raise BadInputError(f"{path}: is its own base; remove the line 'base:' from one of the files")
    fields = _read(path)
    known = {entry.name for entry in dataclasses.fields(TrainingOptions)}
    for name in fields:
        if name not in known and name != "base":
            raise BadInputError(f"{path}: unknown field {name!r}; the fields are {', '.join(sorted(known))}")
    for name in NESTED:
        if fields.get(name) is not None:
            fields[name] = as_mapping(f"{path}: {name}", fields[name])
    base = fields.pop("base", None)
    if base is None:
        return fields
    return _laid_over(load_config(path.parent / str(base), (*above, path.resolve())), fields)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); give a YAML config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if fields is not None and not isinstance(fields, dict):
        raise BadInputError(f"{path}: holds no mapping; give a YAML config of lines such as 'steps: 1000'")
    return fields or {}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings within the mapping are joined likewise; everything else of ``above`` replaces what lies below."""
    joined = dict(below)
    for name, value in above.items():
        earlier = joined.get(name)
        if isinstance(value, Mapping) and isinstance(earlier, Mapping):
            value = _laid_over(earlier, value)
        joined[name] = value
    return joined


def _split_assignments(arguments: list[str]) -> list[str]:
    """``--name=value`` as two arguments."""
    split: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        split += [name, value] if equals and name.startswith("--") else [argument]
    return split


def _as_arguments(fields: Mapping[str, Any]) -> list[str]:
    arguments: list[str] = []
    for name, value in fields.items():
        if value is None or value == []:
            continue
        values = value if isinstance(value, list) else [yaml.safe_dump(value) if isinstance(value, dict) else value]
        arguments += [f"--{name}", *(str(item) for item in values)]
    return arguments

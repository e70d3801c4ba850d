"""The benchmarks by name: whatever a file of this folder declares as ``BENCHMARK``. Adding one is adding a file."""

from __future__ import annotations

import pkgutil
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import BadInputError
from ...exposure.camera_modes import AUTO, check_camera_mode
from .base import Asked, Benchmark, Declaration


def _declared() -> dict[str, Declaration]:
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "registry":
            declaration = getattr(import_module(f".{module.name}", __package__), "BENCHMARK", None)
            if declaration is not None:
                found[declaration.name] = declaration
    return found


DECLARED = _declared()
BENCHMARKS = tuple(DECLARED)


def start(name: str, asked: Asked) -> Benchmark:
    """A benchmark, ready to be run.

    Raises:
        BadInputError: an unknown name, something that this benchmark does not take, lacks, or that needs a deblurrer
            where there is none, or images that cannot be used.
    """
    if name not in DECLARED:
        raise BadInputError(f"benchmark is {name!r}; it must be one of {', '.join(BENCHMARKS)}")
    check_camera_mode(asked.camera)
    declared = DECLARED[name]
    given = {item.name for item in fields(Asked) if getattr(asked, item.name) != item.default}
    for option in sorted(given - {"images", "limit", "deconvolve", "deblurs", "camera"} - set(declared.takes)):
        takers = [other.name for other in DECLARED.values() if option in other.takes]
        raise BadInputError(
            f"{name} takes no `{option}`; {' and '.join(takers)} {'do' if len(takers) > 1 else 'does'}"
        )
    if asked.true_motion and asked.camera != AUTO:
        raise BadInputError(f"`camera` {asked.camera} is for estimated motion; leave it or `true_motion` out")
    if asked.true_motion and asked.refine_steps:
        steps = asked.refine_steps
        raise BadInputError(f"`refine_steps` {steps} would change the motion; leave it or `true_motion` out")
    for option in declared.needs:
        if option not in given:
            raise BadInputError(f"{name} needs `{option}`: {declared.takes[option]}")
    if not asked.deblurs:
        if declared.needs_sharp_frames:
            raise BadInputError(
                f"{name} measures what a deblurrer changes, and the deblurrer is none; give `deblurrer`"
            )
        for option in sorted(given & {"refine_steps", "safe"}):
            raise BadInputError(
                f"`{option}` is {getattr(asked, option)}: {declared.takes[option]}, and the deblurrer is none; give "
                "`deblurrer`"
            )
    return declared.start(asked)


def to_markdown(result: dict[str, Any]) -> str:
    """A run's result as its benchmark's Markdown tables."""
    return "\n\n".join(DECLARED[result["benchmark"]].tables(result))

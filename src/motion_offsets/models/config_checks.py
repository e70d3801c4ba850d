"""What the configurations of the models check their values by."""

import itertools
import math
from typing import Any

from ..errors import BadInputError


def require(config: object, name: str, valid: bool, right: str) -> None:
    """Refuse a value of a configuration.

    Args:
        config: the configuration.
        name: the field that was checked.
        valid: whether its value is right.
        right: what would be, ``"must be an integer from 1 up"``.

    Raises:
        BadInputError: names the field, its value and what would be right.
    """
    if not valid:
        raise BadInputError(f"{name} is {getattr(config, name)!r}; it {right}")


def is_integer(value: Any, smallest: int) -> bool:
    """Whether a value is an integer of at least ``smallest``; ``True`` and ``False`` are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def is_number(value: Any) -> bool:
    """Whether a value is a finite integer or float; ``True`` and ``False`` are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_scales(config: object, name: str) -> None:
    """Require a field to be factors by which photos are reduced: 1 and, if any, larger ones in rising order."""
    scales = getattr(config, name)
    valid = isinstance(scales, tuple) and scales[:1] == (1,) and all(is_integer(scale, 1) for scale in scales)
    valid = valid and all(coarse > fine for fine, coarse in itertools.pairwise(scales))
    require(config, name, valid, "must be a list of growing integers from 1 up, such as [1, 2]")


__all__ = ["check_scales", "is_integer", "is_number", "require"]

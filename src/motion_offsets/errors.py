"""The one exception for input that a person can put right."""

from __future__ import annotations

import re
from collections.abc import Callable


class BadInputError(ValueError):
    """Bad input, told in one line: what it is, what is wrong with it, and what would be right.

    An argument is named in backticks; a command line puts its flag there (:func:`name_arguments`), prints the message
    alone and exits with code 2. Every other exception is an error of the program.
    """


def counted(number: int, noun: str) -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_arguments(message: str, name: Callable[[str], str]) -> str:
    """A message with the arguments that it names in backticks called as whoever reads it knows them."""
    return re.sub(r"`(\w+)`", lambda match: name(match[1]), message)

"""The one exception for input that a person can put right."""

from __future__ import annotations

import re
from collections.abc import Callable

_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class BadInputError(ValueError):
    """Bad input, told in one line: what it is, what is wrong with it, and what would be right.

    An argument is named in backticks; a command line puts its flag there (:func:`name_arguments`), prints the message
    alone and exits with code 2. Every other exception is an error of the program.

    Args:
        message: the line; a file's name in it may hold anything, see :func:`printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """A text in which line breaks, whatever else moves a terminal's cursor, and bytes that are no text appear with
    backslashes."""
    return _NOT_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def counted(number: int, noun: str) -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_arguments(message: str, name: Callable[[str], str]) -> str:
    """A message with the arguments that it names in backticks called as whoever reads it knows them."""
    return re.sub(r"`(\w+)`", lambda match: name(match[1]), message)

"""What a command raises, in one line on standard error and an exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import typer

from ..errors import BadInputError, name_arguments, printable
from ..io.photo_files import passed_over

BAD_INPUT, OUR_FAULT = 2, 1


Command = TypeVar("Command", bound=Callable[..., None])


def reporting(command: Command) -> Command:
    """Turn what a command raises into one line and an exit code; ``--debug`` lets it through."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            if isinstance(error, typer.Exit) or kwargs.get("debug"):
                raise
            raise typer.Exit(report(error)) from None

    return reporting  # type: ignore[return-value]


# Arguments of the library that flags call otherwise.
_FLAGS = {"owner": "org", "num_stacks": "stacks"}


def flag(argument: str) -> str:
    """What the command line calls an argument of the library: ``--max-memory``."""
    return "--" + _FLAGS.get(argument, argument).replace("_", "-")


def report(error: Exception, subject: str = "") -> int:
    """Say in one line on standard error what went wrong; return the exit code it deserves."""
    message = name_arguments(" ".join(str(error).split()), flag)
    named = f"{subject}: " if subject and subject not in message else ""
    if isinstance(error, BadInputError):
        say(f"error: {named}{message}", err=True)
        return BAD_INPUT
    fault = f"{type(error).__name__}: {message[:200]}"
    say(f"error: {named}a bug in this program; --debug shows the traceback ({fault})", err=True)
    return OUR_FAULT


def say(line: str, err: bool = False) -> None:
    """Print a line; what is not text in a file's name, or would move a terminal's cursor, appears with backslashes."""
    typer.echo(printable(line), err=err)


MOST_NAMES = 3


def tell_passed_over(arguments: Sequence[str]) -> None:
    """Name, on standard error, the pictures in the given folders that are not read."""
    for folder, names in passed_over(arguments).items():
        shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
        count = "1 picture is" if len(names) == 1 else f"{len(names)} pictures are"
        say(
            f"{folder}: {count} passed over ({shown}); develop raw photos, and save others as JPEG, PNG or TIFF",
            err=True,
        )


def for_each(
    photos: list[Path],
    work: Callable[[int, Path], None],
    debug: bool,
    said: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Do the work for each photo; one that fails is reported, the others continue, and the exit code tells.

    Args:
        said: entered while an error is printed, to hide a progress bar.
    """
    codes = set()
    for index, photo in enumerate(photos):
        try:
            work(index, photo)
        except Exception as error:
            if debug and not isinstance(error, BadInputError):
                raise
            with said():
                codes.add(report(error, str(photo)))
    if codes:
        raise typer.Exit(min(codes))

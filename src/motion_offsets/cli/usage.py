"""Errors of usage, told like all others: in one line, with exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from .reporting import BAD_INPUT, say

# Typer names only this one of its errors of usage; the others share its parent.
_UsageError: Any = typer.BadParameter.__base__


class OneLineGroup(TyperGroup):
    """Commands whose unknown options, missing arguments and values of another type are told in one line."""

    def make_context(self, info_name: str | None, args: list[str], *others: Any, **extra: Any) -> Any:
        if not args:  # the help is shown
            return super().make_context(info_name, args, *others, **extra)
        with _told():
            return super().make_context(info_name, args, *others, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        command = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        say(f"error: {message}{command}", err=True)
        raise typer.Exit(BAD_INPUT) from None

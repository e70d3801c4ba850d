"""The command ``motion-offsets``. Bad input ends in one line and exit code 2, other errors in exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ..errors import BadInputError
from ..runtime.allocation import keep_freed_memory
from ..runtime.extras import require
from ..version import __version__
from .arguments import quiet
from .compare import compare
from .evaluate import evaluate
from .extract import extract
from .hub import convert, export, publish
from .options import Debug
from .pictures import deblur, reblur, trajectories
from .reporting import OUR_FAULT, reporting
from .synthesize import synthesize
from .usage import OneLineGroup

app = typer.Typer(
    cls=OneLineGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recover the motion, a sharp frame and a slow-motion clip from a motion-blurred photo.",
)


@app.callback(invoke_without_command=True)
def _common(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"motion-offsets {__version__}")
        raise typer.Exit


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; by default the first free one from 7860 on.")] = None,
    deblurrer: Annotated[
        list[str] | None,
        typer.Option(
            help="Bundled name, folder, or org/name on the Hub; repeat the option to offer a choice on the page."
        ),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Also serve MCP, so that AI assistants can call the page.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve the web page (needs the extra "demo"; --mcp needs the extra "mcp")."""
    require("the web page", *(("gradio", "mcp") if mcp else ("gradio",)))
    quiet()
    from ..demo.server import serve

    try:
        serve(host, port, mcp, deblurrer or ())
    except OSError as error:  # Gradio's own words when no port is free
        raise BadInputError(f"the page cannot be served at {host}, port {port or 7860}: {error}") from None


COMMANDS: tuple[Callable[..., None], ...] = (
    extract,
    deblur,
    trajectories,
    reblur,
    compare,
    demo,
    synthesize,
    evaluate,
    convert,
    export,
    publish,
)
for _command in COMMANDS:
    app.command()(reporting(_command))


def main() -> None:
    """Entry point of the console script."""
    keep_freed_memory()
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OUR_FAULT)

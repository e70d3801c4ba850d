"""Commands in this process, and what a refused one looks like."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from motion_offsets.cli.app import app


def run(*arguments: object) -> Result:
    """``motion-offsets`` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_refused(result: Result, *said: object) -> None:
    """One line on standard error that says all of this, and exit code 2."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in said:
        assert str(part) in lines[0]

"""What the scripts of this folder say where a package that they need is not installed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


@contextmanager
def import_errors_in_one_line() -> Iterator[None]:
    """End the script with one line and exit code 2 where an import fails: the reason, and the command that installs
    everything from this checkout."""
    try:
        yield
    except ImportError as error:
        script = Path(sys.argv[0]).name
        packages = shlex.quote(f"{CHECKOUT}[train,eval]")
        print(f"{script}: {error}; install what it needs: pip install -e {packages}", file=sys.stderr)
        sys.exit(2)

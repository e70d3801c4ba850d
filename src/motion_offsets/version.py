"""The version of this package, and those of the packages that its results depend on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Our version and those of the packages that are installed, by name."""
    found = {"motion-offsets": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

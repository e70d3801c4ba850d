"""The photos that ship with the project, for visitors who have none at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CAPTIONS = {
    "cat.png": "Shaken camera",
    "person.png": "Moving person",
    "coffee.png": "Moving cup",
    "astronaut.png": "Turned camera",
}


@dataclass(frozen=True)
class Example:
    path: Path
    caption: str


def find_examples() -> list[Example]:
    """The bundled photos: in the wheel's own data, or in ``examples/`` of a source checkout."""
    package = Path(__file__).resolve().parent.parent
    folders = [package / "_examples"]
    if package.parent.name == "src":
        folders.append(package.parent.parent / "examples")
    found = []
    for name, caption in CAPTIONS.items():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:
            found.append(Example(path, caption))
    return found

"""A saved pipeline with its code, for ``DiffusionPipeline.from_pretrained(..., trust_remote_code=True)``.

Models carry their code by transformers' own means. diffusers copies only the files that a custom pipeline itself
imports, and looks for a custom component in a file named for its library inside the component's folder, so that both
are written here.
"""

from __future__ import annotations

import re
from pathlib import Path

PIPELINE_ENTRY = "pipeline.py"  # where diffusers looks for custom code
LIBRARY = "motion_offsets"  # that model_index.json names for our components

_IMPORT = re.compile(r"^(\s*from \.) ?(\w+) (import)\b", re.MULTILINE)


def write_pipeline_code(folder: Path, pipeline: type, components: dict[str, type]) -> list[Path]:
    """Put the code of a pipeline and of its components into the folder that ``save_pretrained`` wrote.

    Args:
        folder: the saved pipeline.
        pipeline: its class.
        components: the class of each component, by the name of its subfolder.

    Returns:
        The files written.
    """
    modules = sorted(_imported(Path(__file__).with_name(f"{_module(pipeline)}.py")))
    for file in modules:
        # From the Hub, diffusers asks for every import of every file again, hundreds of requests in all. It looks for
        # "from .name"; the entry below names each module once, and here a space hides what Python reads all the same.
        code = _IMPORT.sub(r"\1 \2 \3", file.read_text(encoding="utf-8"))
        (folder / file.name).write_text(code, encoding="utf-8")
    written = [folder / file.name for file in modules]
    written.append(_write(folder / PIPELINE_ENTRY, _entry(pipeline, [file.stem for file in modules])))
    for component, cls in components.items():
        written.append(_write(folder / component / f"{LIBRARY}.py", _component(cls)))
    return written


def _imported(file: Path) -> set[Path]:
    """A module and all that it imports from beside it, directly or not."""
    found, unread = {file}, [file]
    while unread:
        text = unread.pop().read_text(encoding="utf-8")
        new = {file.with_name(f"{match[2]}.py") for match in _IMPORT.finditer(text)} - found
        found |= new
        unread += new
    return found


def _entry(pipeline: type, modules: list[str]) -> list[str]:
    return [
        '"""Lets diffusers load this folder without the package motion-offsets installed."""',
        "",
        "# diffusers copies the files that are imported here, and not what those import in turn.",
        *(f"from .{module} import __doc__ as _{module}" for module in modules),
        f"from .{_module(pipeline)} import {pipeline.__name__}",
        "",
        f'__all__ = ["{pipeline.__name__}"]',
    ]


def _component(cls: type) -> list[str]:
    return [
        f'"""Lets diffusers find {cls.__name__}, whose code lies beside the pipeline\'s and is loaded with it."""',
        "",
        "from importlib import import_module",
        "",
        f'{cls.__name__} = import_module(".{_module(cls)}", __package__).{cls.__name__}',
    ]


def _write(file: Path, lines: list[str]) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _module(cls: type) -> str:
    return cls.__module__.rpartition(".")[2]

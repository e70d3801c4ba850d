"""Models, processors and pipelines saved with their code, for whoever has not installed this package.

transformers and diffusers find code in files side by side, by ``from .name import``, while the package keeps it in
folders. So ``save_pretrained`` writes a flattened copy of the modules that a class needs, which also means that their
file names must differ.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from .hub_errors import PushToHubMixin, hub_errors

PIPELINE_ENTRY = "pipeline.py"  # where diffusers looks for custom code
LIBRARY = "motion_offsets"  # that model_index.json names for our components
CONFIG_FILE = "config.json"

_IMPORT = re.compile(r"^(\s*)from (\.+)([\w.]*) import\b", re.MULTILINE)
_UPLOAD_OPTIONS = ("commit_message", "commit_description", "private", "token", "revision", "create_pr")


class SavedWithCodeMixin(PushToHubMixin):
    """``save_pretrained`` that writes the code too, for a config, a model or an image processor.

    Put it before the transformers class. transformers' own way of doing this, ``register_for_auto_class``, copies
    files as they are and knows no folders; it is switched off.

    A model's ``auto_map`` names one module for both config and model: transformers gives local code a name by the
    content of what each entry imports, and two entries would bring two copies of every class.
    """

    _auto_class = None
    auto_class_name: ClassVar[str] = ""

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Nothing: the code is saved in any case."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *args: Any,
        push_to_hub: bool = False,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        """As in transformers, with the code; everything is written before anything is uploaded."""
        # By name, because a pipeline of diffusers hands on only what it finds in the signature.
        for name, value in (("variant", variant), ("max_shard_size", max_shard_size)):
            if value is not None:
                kwargs[name] = value
        folder = Path(save_directory)
        upload = _Upload(folder, kwargs) if push_to_hub else None
        config = getattr(self, "config", None)
        if config is None:
            self.auto_map = {self.auto_class_name: _reference(type(self), type(self))}
        super().save_pretrained(folder, *args, **kwargs)  # type: ignore[misc]
        if kwargs.get("is_main_process", True):
            if config is not None:
                config.auto_map = {
                    "AutoConfig": _reference(type(self), type(config)),
                    self.auto_class_name: _reference(type(self), type(self)),
                }
                config.to_json_file(str(folder / CONFIG_FILE), use_diff=True)
            write_code(folder, type(self))
        if upload is not None:
            upload.run(f"Upload {type(self).__name__}")


class _Upload:
    """What ``save_pretrained`` changes in a folder, to a repository on the Hub that is made at once.

    Args:
        folder: the folder that is going to be written to.
        options: ``save_pretrained``'s; those of the upload are taken out, apart from the token.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        from huggingface_hub import HfApi

        self.folder, self.before = folder, _times(folder)
        self.options = {name: options.pop(name) for name in _UPLOAD_OPTIONS if name in options}
        if "token" in self.options:
            options["token"] = self.options["token"]
        self.api = HfApi(token=self.options.pop("token", None))
        private = self.options.pop("private", None)
        name = options.pop("repo_id", folder.absolute().name)
        with hub_errors(f"push_to_hub {name}"):
            self.repo_id = self.api.create_repo(name, private=private, exist_ok=True).repo_id

    def run(self, message: str) -> None:
        changed = [name for name, time in _times(self.folder).items() if self.before.get(name) != time]
        self.options["commit_message"] = self.options.get("commit_message") or message
        revision = self.options.get("revision")
        with hub_errors(f"push_to_hub {self.repo_id}"):
            if revision is not None and not revision.startswith("refs/pr"):
                self.api.create_branch(self.repo_id, branch=revision, exist_ok=True)
            self.api.upload_folder(
                repo_id=self.repo_id, folder_path=self.folder, allow_patterns=changed, **self.options
            )


def _times(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


def _reference(home: type, cls: type) -> str:
    """How an ``auto_map`` names a class, in the module of ``home``."""
    if getattr(sys.modules[home.__module__], cls.__name__, None) is None:
        home = cls
    return f"{_module(home)}.{cls.__name__}"


def write_code(folder: Path, cls: type) -> list[Path]:
    """Write the module of a class and all that it imports from this package into a folder, side by side.

    Returns:
        The files written.
    """
    return [_write(folder / f"{stem}.py", code) for stem, code in flattened(cls).items()]


def write_pipeline_code(folder: Path, pipeline: type, components: dict[str, type]) -> list[Path]:
    """Put the code of a pipeline and of its components into the folder that ``save_pretrained`` wrote.

    diffusers copies only the files that a custom pipeline itself imports, and looks for a custom component in a file
    named for its library inside the component's folder, so that both are written here.

    Args:
        folder: the saved pipeline.
        pipeline: its class.
        components: the class of each component, by the name of its subfolder.

    Returns:
        The files written.
    """
    modules: dict[str, str] = {}
    for cls in (pipeline, *components.values()):
        modules |= flattened(cls)
    # From the Hub, diffusers asks for every import of every file again, hundreds of requests in all. It looks for
    # "from .name"; the entry below names each module once, and here a space hides what Python reads all the same.
    written = [
        _write(folder / f"{stem}.py", re.sub(r"^(\s*from \.)(\w+ import\b)", r"\1 \2", code, flags=re.MULTILINE))
        for stem, code in modules.items()
    ]
    written.append(_write(folder / PIPELINE_ENTRY, _entry(pipeline, list(modules))))
    for component, cls in components.items():
        written.append(_write(folder / component / f"{LIBRARY}.py", _component(cls)))
        if not (folder / component / CONFIG_FILE).is_file():
            # diffusers fetches every file of a component that is not a model; this code lies beside the pipeline too.
            for stem in flattened(cls):
                (folder / component / f"{stem}.py").unlink(missing_ok=True)
    return written


def flattened(cls: type) -> dict[str, str]:
    """The module of a class and all that it imports relatively, directly or not, as they read side by side.

    Returns:
        Code by file stem.

    Raises:
        RuntimeError: two modules have one name, or a whole package is imported, which has no place side by side.
    """
    file = Path(str(sys.modules[cls.__module__].__file__))
    found, unread = {file.stem: file}, [file]
    code: dict[str, str] = {}
    while unread:
        file = unread.pop()
        text = file.read_text(encoding="utf-8")
        for match in _IMPORT.finditer(text):
            imported = _imported_file(file, len(match[2]), match[3])
            if found.setdefault(imported.stem, imported) != imported:
                raise RuntimeError(f"{imported} and {found[imported.stem]} cannot lie side by side; rename one")
            if imported.stem not in code and imported not in unread:
                unread.append(imported)
        code[file.stem] = _IMPORT.sub(lambda match: f"{match[1]}from .{match[3].rpartition('.')[2]} import", text)
    return dict(sorted(code.items()))


def _imported_file(file: Path, level: int, name: str) -> Path:
    found = file.parents[level - 1].joinpath(*name.split(".")).with_suffix(".py") if name else None
    if found is None or not found.is_file():
        raise RuntimeError(f"{file}: imports {'.' * level}{name}, not a file; import from a module of a folder")
    return found


def _entry(pipeline: type, modules: list[str]) -> str:
    lines = [
        '"""Lets diffusers load this folder without the package motion-offsets installed."""',
        "",
        "# diffusers copies the files that are imported here, and not what those import in turn.",
        *(f"from .{module} import __doc__ as _{module}" for module in modules),
        f"from .{_module(pipeline)} import {pipeline.__name__}",
        "",
        f'__all__ = ["{pipeline.__name__}"]',
    ]
    return "\n".join(lines) + "\n"


def _component(cls: type) -> str:
    lines = [
        f'"""Lets diffusers find {cls.__name__}, whose code lies beside the pipeline\'s and is loaded with it."""',
        "",
        "from importlib import import_module",
        "",
        f'{cls.__name__} = import_module(".{_module(cls)}", __package__).{cls.__name__}',
    ]
    return "\n".join(lines) + "\n"


def _write(file: Path, code: str) -> Path:
    file.write_text(code, encoding="utf-8")
    return file


def _module(cls: type) -> str:
    return cls.__module__.rpartition(".")[2]

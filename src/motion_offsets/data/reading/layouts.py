"""Which pictures belong together: the layouts of pairs on disk, recognised by names alone.

A blurred picture and its sharp partner have the same path but for one folder, whose name says which is which, and for
the suffix. ``train/GOPR0372_07_00/blur/000047.png`` and ``train/GOPR0372_07_00/sharp/000047.png`` are a pair, and so
are ``test/input/street-12.png`` and ``test/target/street-12.jpg``, ``train_blur/000/7.png`` and
``train_sharp/000/7.png``, ``scene001/blur/blur_1.png`` and ``scene001/gt/gt_1.png``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...errors import BadInputError, counted
from .file_trees import listed

BLURRED_NAMES = ("blur", "blurred", "blurry", "input", "lq")
SHARP_NAMES = ("sharp", "target", "gt", "hq")
GAMMA_NAME = "blur_gamma"
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}

_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
_ROLE_NAMES = "|".join(sorted((*BLURRED_NAMES, *SHARP_NAMES), key=len, reverse=True))
# REDS puts the split before the role, tiled copies of GoPro put "crops" after it.
_ROLE_FOLDER = re.compile(rf"(?:({'|'.join(_SPLIT_OF)})_)?({_ROLE_NAMES}|{GAMMA_NAME})(?:_crops)?", re.IGNORECASE)
_ROLE_IN_STEM = re.compile(rf"^(?:{_ROLE_NAMES})[_-]|[_-](?:{_ROLE_NAMES})$", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)[-_. ]?(\d{1,18})")
_GOPRO_FOLDER = re.compile(r"GOPR\d", re.IGNORECASE)

_Item = TypeVar("_Item")


@dataclass(frozen=True, order=True)
class Pair:
    """One pair by its names in a file tree; side by side, both names are the same."""

    sequence: str
    frame: int
    blurred: str
    sharp: str


@dataclass(frozen=True)
class RoleFolder:
    """A picture below a folder that says what it is."""

    role: str
    split: str | None
    key: tuple[str, ...]
    """Folders and stem without what differs between partners."""


@dataclass
class Partners:
    """The pictures of one key."""

    blurred: list[str] = field(default_factory=list)
    sharp: list[str] = field(default_factory=list)


def split_name(name: str) -> str:
    """The usual name of a split: ``val`` is ``validation``."""
    return _SPLIT_OF.get(name.lower(), name)


def role_of(name: str) -> str | None:
    """``"blurred"``, ``"sharp"`` or ``None`` for a folder's or column's name."""
    match = _ROLE_FOLDER.fullmatch(name.partition(".")[0])
    if match is None or match[2].lower() == GAMMA_NAME:
        return None
    return "blurred" if match[2].lower() in BLURRED_NAMES else "sharp"


def is_gopro(names: Iterable[str]) -> bool:
    """Whether this is GOPRO_Large: ``GOPR…/{blur,blur_gamma,sharp}/``."""
    for name in names:
        folders = name.split("/")[:-1]
        if GAMMA_NAME in folders:
            return True
        if len(folders) > 1 and _GOPRO_FOLDER.match(folders[-2]) and role_of(folders[-1]):
            return True
    return False


def has_roles(names: Iterable[str]) -> bool:
    """Whether any picture lies below a folder that is named for blurred or sharp pictures."""
    return any(role_of(folder) for name in names for folder in name.split("/")[:-1])


def pairs_by_role(source: str, names: Sequence[str], split: str, gamma: bool) -> list[Pair]:
    """The pairs of a split, in the order of sequence and frame.

    Args:
        source: what errors call the whole.
        names: paths of all its pictures.
        split: the split wanted.
        gamma: take ``blur_gamma`` for the blurred pictures, not ``blur``.

    Raises:
        BadInputError: the split is not there, a picture has no partner or two.
    """
    assigned = [(name, _role_folder(name, gamma)) for name in names]
    chosen = of_split(source, [(folder.split, (name, folder)) for name, folder in assigned if folder], split)
    found: dict[tuple[str, ...], Partners] = {}
    for name, folder in chosen:
        getattr(found.setdefault(folder.key, Partners()), folder.role).append(name)
    _check_partners(source, found, gamma)
    numbers = numbered(list(found))
    return sorted(
        Pair(*numbers[key], partners.blurred[0], partners.sharp[0]) for key, partners in sorted(found.items())
    )


def of_split(source: str, items: Sequence[tuple[str | None, _Item]], split: str) -> list[_Item]:
    """The items of a split; a source that is not divided is what its own name says (``.../test``), or ``train``."""
    wanted, own = split_name(split), split_of_folders([Path(source).name])[0] or "train"
    chosen = [item for of, item in items if (of or own) == wanted]
    if chosen or not items:
        return chosen
    splits = sorted({of or own for of, _ in items})
    undivided = "" if any(of for of, _ in items) else ", as it is not divided into splits"
    raise BadInputError(f"{source}: holds no split {split!r}; it holds {' and '.join(splits)}{undivided}")


def split_of_folders(folders: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The split that the outermost folders name, and the folders inside of it (all of them where none does)."""
    for depth, folder in enumerate(folders[:3]):
        if folder.lower() in _SPLIT_OF:
            return _SPLIT_OF[folder.lower()], tuple(folders[depth + 1 :])
    return None, tuple(folders)


def numbered(keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, int]]:
    """Sequence and frame of each (folders..., stem).

    The frame is the number at the end of the stem, and what comes before it belongs to the sequence's name. Where a
    stem has no number, the frames of its folder are counted from 0 in the order of their names.
    """
    folders: dict[tuple[str, ...], list[str]] = {}
    for *folder, stem in keys:
        folders.setdefault(tuple(folder), []).append(stem)
    result: dict[tuple[str, ...], tuple[str, int]] = {}
    for parts, stems in folders.items():
        matches = {stem: _NUMBERED.fullmatch(stem) for stem in stems}
        for position, stem in enumerate(sorted(stems)):
            match = matches[stem] if all(matches.values()) else None
            prefix = (match[1],) if match and match[1] else ()
            result[(*parts, stem)] = ("/".join((*parts, *prefix)), int(match[2]) if match else position)
    return result


def _role_folder(name: str, gamma: bool) -> RoleFolder | None:
    *folders, filename = name.split("/")
    stem = _ROLE_IN_STEM.sub("", filename.rpartition(".")[0])
    for depth in range(len(folders)):  # the outermost: a sequence inside of it may be called "input"
        match = _ROLE_FOLDER.fullmatch(folders[depth])
        if match is None:
            continue
        word = match[2].lower()
        role = "sharp" if word in SHARP_NAMES else "blurred"
        if role == "blurred" and gamma != (word == GAMMA_NAME):
            return None
        split, inside = split_of_folders(folders[:depth])
        own = _SPLIT_OF[match[1].lower()] if match[1] else None
        return RoleFolder(role, own or split, (*inside, *folders[depth + 1 :], stem))
    return None


def _check_partners(source: str, found: dict[tuple[str, ...], Partners], gamma: bool) -> None:
    wanted = GAMMA_NAME if gamma else "blurred"
    for role, present in (
        (wanted, any(partners.blurred for partners in found.values())),
        ("sharp", any(partners.sharp for partners in found.values())),
    ):
        if not present:
            choices = {"sharp": SHARP_NAMES, "blurred": BLURRED_NAMES}.get(role, (GAMMA_NAME,))
            raise BadInputError(f"{source}: holds no {role} pictures; put them in a folder called {_either(choices)}")
    faults = []
    for _, partners in sorted(found.items()):
        if not partners.sharp:
            faults.append(f"{partners.blurred[0]} has no sharp partner")
        elif not partners.blurred:
            faults.append(f"{partners.sharp[0]} has no {wanted} partner")
        for several in (partners.blurred, partners.sharp):
            if len(several) > 1:
                faults.append(f"{several[0]} and {several[1]} are the same picture by name")
    if faults:
        raise BadInputError(
            f"{source}: {counted(len(faults), 'picture')} cannot be paired: {listed(faults, len(faults))}; every "
            "picture needs one partner of the same name"
        )


def _either(choices: Sequence[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]

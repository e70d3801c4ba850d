"""What the commands are given: photos, places for their results, models, device and precision."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BadInputError

if TYPE_CHECKING:
    import torch

    from .pipeline_blur_to_video import BlurToVideoPipeline

# Suffixes looked for in a folder; a file that is named outright may have any.
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".jp2", ".avif", ".gif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
DTYPES = ("auto", "float32", "bfloat16", "float16")


def find_photos(arguments: Sequence[str]) -> list[Path]:
    """The photos that files, folders and patterns stand for, in order and each once.

    A file that does not exist stays in the list: reading it says what is wrong, and the others go on.

    Raises:
        BadInputError: a folder or a pattern gives no photo.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(argument):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(argument: str) -> list[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        return _photos_in(path)
    if os.path.lexists(path) or not glob.has_magic(argument):
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    photos = [match for match in matches if not match.is_dir()]
    if not photos:
        raise BadInputError(f"{argument}: no file matches this pattern; check the folder and the suffix")
    return photos


def _photos_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BadInputError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions") from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    photos = [entry for entry in visible if entry.suffix.lower() in PHOTO_SUFFIXES and not entry.is_dir()]
    if not photos:
        raise BadInputError(f"{folder}: the folder holds no photo; give one with JPEG, PNG, WebP or TIFF files")
    return photos


def result_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's result: its stem, with ``-2``, ``-3`` ... where photos share one."""
    # A photo called "..png" has the stem ".", which would be the output folder itself.
    originals = [photo.stem if photo.stem.strip(".") else "photo" for photo in photos]
    stems = [stem.casefold() for stem in originals]
    taken = set(stems)  # so that x-2 is not given to a second x when there is an x-2.jpg
    seen: dict[str, int] = {}
    names = []
    for original, stem in zip(originals, stems, strict=True):
        count = seen.get(stem, 0) + 1
        while count > 1 and f"{stem}-{count}" in taken:
            count += 1
        seen[stem] = count
        name = original if count == 1 else f"{original}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def picture_targets(photos: Sequence[Path], output: Path) -> list[Path]:
    """Where a command that makes one picture a photo writes: ``output`` itself, or ``output/<stem>.png``."""
    if output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir():
        if len(photos) > 1:
            raise BadInputError(f"{output}: one file cannot hold the results of {len(photos)} photos; give a folder")
        return [output]
    return [output / f"{name}.png" for name in result_names(photos)]


def check_not_photos(targets: Sequence[Path], photos: Sequence[Path]) -> None:
    """Refuse to write a result over one of the photos it is made from."""
    originals = {photo.resolve() for photo in photos}
    for target in targets:
        if target.resolve() in originals:
            raise BadInputError(f"{target}: is one of the photos and would be overwritten; give another output")


def check_output_folder(folder: Path) -> None:
    """Refuse, before anything is computed, a folder that can neither be written to nor be made."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise BadInputError(f"{existing}: is a file, so {folder} cannot be a folder; give another output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInputError(f"{folder}: {existing} is write-protected; give an output that you may write to")


def parse_memory(text: str, option: str = "--max-memory") -> float:
    """Bytes of ``"4GB"``, ``"800 MB"``, ``"4"`` (gigabytes)."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(gb|g|mb|m)?\s*", text.lower())
    size = float(match[1]) * (1e6 if (match[2] or "g").startswith("m") else 1e9) if match else 0.0
    if size <= 0:
        raise BadInputError(f"{option} {text!r} is no amount of memory; give one such as 4GB or 800MB")
    return size


def pick_device(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is an NVIDIA GPU where there is one, else the CPU.

    Apple's ``mps`` is not chosen by itself: it has no float64, in which an answer's consistency is summed up.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise BadInputError(f"--device {name!r} cannot be used ({reason}); give auto, cpu or cuda") from None
    if device.type == "meta":
        raise BadInputError(f"--device {name!r} computes nothing; give auto, cpu or cuda")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """The autocast type of a name for a device; ``None`` is float32, without autocast.

    ``"auto"`` is bfloat16 on a GPU that has it and on a CPU with a matrix unit for it (AMX). A CPU that has bfloat16
    as vector instructions only (AVX512-BF16) is no faster for it, measured on these networks, and stays at float32.
    """
    import torch

    if name not in DTYPES:
        raise BadInputError(f"--dtype {name!r} is not offered; give one of {', '.join(DTYPES)}")
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
        return torch.bfloat16 if device.type == "cpu" and _has_bfloat16_matrix_unit() else None
    if name == "float16" and device.type == "cpu":
        raise BadInputError("--dtype float16 is for GPUs; on a CPU give auto, float32 or bfloat16")
    return None if name == "float32" else getattr(torch, name)


def _has_bfloat16_matrix_unit() -> bool:
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))


def load_pipeline(model: str, deblurrer: str | None = None, deblurs: bool = True) -> BlurToVideoPipeline:
    """The pipeline of an estimator and a deblurrer, or the one that a pipeline's own name or folder stands for.

    Args:
        model: estimator or pipeline: plain name, folder or Hub name.
        deblurrer: deblurrer by name; by default the pipeline's own, or the bundled one beside an estimator.
        deblurs: ``False`` loads no deblurrer: for the motion alone.
    """
    from .hub import DEFAULT_DEBLURRER, is_pipeline
    from .modeling_etraj import EtrajModel
    from .modeling_ma_dmphn import MaDmphnForImageDeblurring
    from .pipeline_blur_to_video import BlurToVideoPipeline

    whole = is_pipeline(model)
    if deblurs and deblurrer is None and not whole:
        deblurrer = DEFAULT_DEBLURRER
    parts: dict[str, Any] = {}
    if not deblurs:
        parts["deblurrer"] = None
    elif deblurrer is not None:
        parts["deblurrer"] = MaDmphnForImageDeblurring.from_pretrained(deblurrer)
    if whole:
        return BlurToVideoPipeline.from_pretrained(model, **parts)
    return BlurToVideoPipeline(estimator=EtrajModel.from_pretrained(model), **parts)


def quiet() -> None:
    """Keep the libraries' own bars and notes off the terminal; ours say what matters."""
    import diffusers
    import huggingface_hub
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    huggingface_hub.utils.logging.set_verbosity_error()
    huggingface_hub.utils.disable_progress_bars()
    warnings.simplefilter("ignore")

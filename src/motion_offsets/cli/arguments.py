"""What the commands are given: photos, places for their results, models, device and precision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInputError
from ..io.photo_files import real_path, result_names
from ..pipelines.from_names import load_pipeline
from ..runtime.collection import collection_paused
from ..runtime.devices import pick_device, pick_dtype

if TYPE_CHECKING:
    import torch

    from ..pipelines.blur_to_video import BlurToVideoPipeline


PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def picture_targets(photos: Sequence[Path], output: Path) -> list[Path]:
    """Where a command that makes one picture per photo writes: ``output`` itself, or ``output/<stem>.png``."""
    if output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir():
        if len(photos) > 1:
            raise BadInputError(f"{output}: one file cannot hold the results of {len(photos)} photos; give a folder")
        return [output]
    return [output / f"{name}.png" for name in result_names(photos)]


def check_not_photos(targets: Sequence[Path], photos: Sequence[Path]) -> None:
    """Refuse to write a result over one of the photos it is made from."""
    originals = {real_path(photo) for photo in photos}
    for target in targets:
        if real_path(target) in originals:
            raise BadInputError(f"{target}: is one of the photos and would be overwritten; give another output")


def check_refine(steps: int) -> None:
    """Refuse a negative ``--refine``."""
    if steps < 0:
        raise BadInputError(f"--refine is {steps}; give a number of steps such as 40, or 0 for none")


def load_libraries() -> None:
    """Import what every command that works on photos needs, in the quickest way."""
    with collection_paused():
        from ..extraction import batch  # noqa: F401


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
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # which datasets reads when it is imported
    warnings.simplefilter("ignore")


def prepare(
    model: str, deblurrer: str | None, device: str, dtype: str, deblurs: bool = True
) -> tuple[BlurToVideoPipeline, torch.dtype | None]:
    """The pipeline on its device, and the autocast type."""
    load_libraries()
    chosen = pick_device(device)
    autocast = pick_dtype(dtype, chosen)
    quiet()
    with collection_paused():
        return load_pipeline(model, deblurrer, deblurs).to(chosen), autocast

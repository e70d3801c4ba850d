"""The data set card of synthesised pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import counted
from ...version import __version__
from .recipes import MAX_PHOTO_SIDE

if TYPE_CHECKING:
    from .settings import SynthesisSettings


def card(settings: SynthesisSettings, sources: dict[str, Any], pairs: int) -> str:
    """The data set card: what the pairs are, how they were made, how to load them."""
    head = ["task_categories:", "- image-to-image", "tags:", "- deblurring", "- motion-blur", "- synthetic"]
    if settings.format == "parquet":
        files = [f"  - split: {settings.split}", f"    path: data/{settings.split}-*.parquet"]
        head += ["configs:", "- config_name: default", "  data_files:", *files]
    light = f"linear light (gamma {settings.gamma})"
    if settings.gamma in (None, "srgb"):
        light = "linear light (sRGB)" if settings.gamma else "encoded values"
    if settings.recipe is None:
        how = (
            f"Each blurred picture is the average of {settings.window} consecutive frames of video filmed at "
            f"{settings.min_fps:g} frames per second or more, taken in {light}; the sharp picture is the middle "
            "frame. "
            f"A window starts every {settings.stride} frames. Repeated frames were dropped, and no window reaches "
            "over a scene cut. `frame` is the middle frame's number in the video."
        )
    else:
        how = (
            f"Each sharp photo (at most {MAX_PHOTO_SIDE} pixels wide and high) was blurred {settings.count} times by "
            f"the recipe `{settings.recipe}`, in {light}, with seed {settings.seed}. `frame` numbers the versions."
            + (" Objects with motions of their own were cut from other pictures." if settings.objects else "")
        )
    rows = [f"| {name} | {known['pairs']} |" for name, known in sorted(sources.items()) if known.get("finished")]
    table = ["", "| video | pairs |", "| --- | --- |", *rows] if rows else []
    lines = [
        "---",
        *head,
        "---",
        "",
        "# Blurred and sharp pairs",
        "",
        f"{counted(pairs, 'pair')}, split `{settings.split}`, made with `motion-offsets synthesize` {__version__}.",
        "",
        how,
        *table,
        "",
        "```python",
        "from motion_offsets.data import load_pairs",
        "",
        f'pairs = load_pairs("...", split="{settings.split}")  # blurred, sharp, sequence, frame',
        "```",
        "",
    ]
    return "\n".join(lines)

"""What a synthesis makes, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import BadInputError
from ...exposure.frame_average import Gamma, check_gamma
from ..reading.layouts import SPLITS
from ..reading.sequences import check_stride, check_window
from .high_fps import MIN_FPS
from .recipes import RECIPES

FORMATS = ("flat", "parquet")


@dataclass(frozen=True)
class SynthesisSettings:
    """All that decides about the pairs; a folder holds pairs of one setting only.

    Args:
        recipe: name of a recipe for sharp photos, ``None`` for video.
        window: frames a blurred picture is the average of, odd.
        stride: frames from one window's start to the next one's.
        gamma: see :data:`~motion_offsets.exposure.frame_average.Gamma`.
        min_fps: slowest footage accepted.
        count: blurred versions of a photo.
        seed: of the motions; they depend on it, on the photo's name and on the version's number alone.
        split: ``train``, ``validation`` or ``test``.
        format: ``flat`` or ``parquet``.
        objects: for the recipe ``dynamic``, folders to cut objects from.
        label_maps: label maps of these, a folder for each; without them the pictures must be transparent.
    """

    recipe: str | None = None
    window: int = 11
    stride: int = 11
    gamma: Gamma = "srgb"
    min_fps: float = MIN_FPS
    count: int = 3
    seed: int = 0
    split: str = "train"
    format: str = "flat"
    objects: list[str] = field(default_factory=list)
    label_maps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_window(self.window)
        check_stride(self.stride)
        check_gamma(self.gamma)
        for name, value, choices in (
            ("recipe", self.recipe, (None, *RECIPES)),
            ("split", self.split, tuple(SPLITS)),
            ("format", self.format, FORMATS),
        ):
            if value not in choices:
                raise BadInputError(f"{name} is {value!r}; it must be one of {', '.join(filter(None, choices))}")
        if self.recipe == "dynamic" and self.gamma not in ("srgb", 2.2):
            raise BadInputError(
                f"gamma is {self.gamma!r}; the recipe dynamic averages linear light, so it must be srgb or 2.2"
            )
        if (self.objects or self.label_maps) and (self.recipe != "dynamic" or not self.objects):
            raise BadInputError("objects and label_maps go with the recipe dynamic, and label_maps with objects")
        if self.count < 1 or not self.min_fps >= 0:
            raise BadInputError("count must be at least 1, and min_fps at least 0")

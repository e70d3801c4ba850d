"""What every data set of pairs holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import BadInputError

if TYPE_CHECKING:
    from datasets import Features


def pair_features() -> Features:
    """The columns of every data set of pairs."""
    from datasets import Features, Value
    from datasets import Image as ImageFeature

    picture = ImageFeature(mode="RGB")
    return Features(blurred=picture, sharp=picture, sequence=Value("string"), frame=Value("int64"))


def check_same_size(blurred: str, size: tuple[int, int], sharp: str, other: tuple[int, int]) -> None:
    if size != other:
        raise BadInputError(f"{blurred} is {size[0]}x{size[1]}, but {sharp} is {other[0]}x{other[1]}")

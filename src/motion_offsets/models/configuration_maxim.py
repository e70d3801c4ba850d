"""Configuration of MAXIM, a deblurrer that needs no motion (Tu et al. 2022, arXiv 2201.02973)."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from ..errors import BadInputError
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin


class MaximConfig(BundledNamesMixin, SavedWithCodeMixin, PreTrainedConfig):
    r"""Configuration of [`MaximForImageDeblurring`]. The defaults are MAXIM-3S, as published for deblurring.

    Args:
        num_stages (`int`, defaults to 3):
            U-Nets in a row, each improving on the image of the one before.
        base_channels (`int`, defaults to 32):
            Channels at full resolution; each level down has twice as many.
        block_sizes (`tuple[int, ...]`, defaults to `(16, 16, 8, 8)`):
            Side of the blocks and of the grid that are mixed, one a level from full resolution down; the last is that
            of the bottleneck. A U-Net has one level fewer than there are sizes.
        num_blocks (`int`, defaults to 2):
            Pairs of multi-axis mixing and channel attention in each encoder, decoder and bottleneck block.
        num_bottleneck_blocks (`int`, defaults to 2):
            Bottleneck blocks of each U-Net.
    """

    model_type = "maxim"
    auto_class_name: ClassVar[str] = "AutoConfig"

    num_stages: int = 3
    base_channels: int = 32
    block_sizes: tuple[int, ...] | list[int] = (16, 16, 8, 8)
    num_blocks: int = 2
    num_bottleneck_blocks: int = 2

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.block_sizes, list):  # JSON knows no tuples
            self.block_sizes = tuple(self.block_sizes)
        for name in ("num_stages", "base_channels", "num_blocks", "num_bottleneck_blocks"):
            if not _is_positive(getattr(self, name)):
                raise BadInputError(f"{name} is {getattr(self, name)!r}; it must be an integer from 1 up")
        if self.base_channels % 4:  # channel attention squeezes to a quarter
            raise BadInputError(f"base_channels is {self.base_channels}; it must be a multiple of 4")
        sizes = self.block_sizes
        if not isinstance(sizes, tuple) or len(sizes) < 2 or not all(map(_is_positive, sizes)):
            raise BadInputError(f"block_sizes is {sizes!r}; it must hold two or more integers from 1 up")
        super().__post_init__(**kwargs)

    @property
    def motion_aware(self) -> bool:
        """Always ``False``: the network sees the photo alone."""
        return False


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


__all__ = ["MaximConfig"]

"""Configuration of MAXIM, a deblurrer that needs no motion (Tu et al. 2022, arXiv 2201.02973)."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from .config_checks import is_integer, require
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
            Side of the blocks and of the grid that are mixed, one per level from full resolution down; the last is
            that of the bottleneck. A U-Net has one level fewer than there are sizes.
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
            require(self, name, is_integer(getattr(self, name), 1), "must be an integer from 1 up")
        # Channel attention squeezes to a quarter.
        require(self, "base_channels", self.base_channels % 4 == 0, "must be a multiple of 4")
        sizes = self.block_sizes
        valid = isinstance(sizes, tuple) and len(sizes) >= 2 and all(is_integer(size, 1) for size in sizes)
        require(self, "block_sizes", valid, "must hold two or more integers from 1 up")
        super().__post_init__(**kwargs)

    @property
    def motion_aware(self) -> bool:
        """Always ``False``: the network sees the photo alone."""
        return False


__all__ = ["MaximConfig"]

"""Configuration of the exposure trajectory estimator."""

import math
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from ..exposure.trajectories import check_num_samples, num_control_points
from .config_checks import check_scales, is_integer, require
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin

BACKBONES = ("table1", "pyramid")
DIRECTIONS = ("half-plane", "doubled-angle")
LEVELS = ("widths", "encoder_blocks", "decoder_blocks")
MIN_SIDE = 16  # of what a network sees, pixels


class EtrajConfig(BundledNamesMixin, SavedWithCodeMixin, PreTrainedConfig):
    r"""Configuration of [`EtrajModel`]. The defaults are the paper's quadratic model.

    Args:
        trajectory (`str`, defaults to `"quadratic"`):
            Constraint on the offsets (eq. 12-14): `"zero-constraint"`, `"linear"`, `"bidirectional-linear"`,
            `"quadratic"` or `"cubic"`.
        num_samples (`int`, defaults to 15):
            Number N of offsets an exposure is averaged over, odd.
        base_channels (`int`, defaults to 16):
            Channels of the first stage (Table 1).
        backbone (`str`, defaults to `"table1"`):
            `"table1"`, the paper's network, or `"pyramid"`, which computes at a quarter of the resolution and below.
        widths (`tuple[int, ...]`, defaults to `(64, 128, 192)`):
            Channels of `"pyramid"` at 1/4, 1/8, ... of the photo's resolution.
        encoder_blocks (`tuple[int, ...]`, defaults to `(2, 2, 3)`):
            Residual blocks of `"pyramid"` per level on the way down.
        decoder_blocks (`tuple[int, ...]`, defaults to `(2, 2)`):
            Residual blocks of `"pyramid"` per level on the way up, finest level first, one entry fewer than `widths`.
        direction (`str`, defaults to `"half-plane"`):
            What the network predicts of paths that run either way in time: `"half-plane"`, control points in the
            direction with `dx >= 0`, or `"doubled-angle"`, numbers that both directions have in common.
        predicts_uncertainty (`bool`, defaults to `False`):
            Whether the network also predicts how far off its paths are.
        scales (`tuple[int, ...]`, defaults to `(1,)`):
            Factors by which the photo is reduced before the network sees it. The estimates of all are joined, weighted
            by the inverse square of their uncertainty or, where that is not predicted, of the factor.
        context_widths (`tuple[int, ...]`, defaults to `()`):
            Channels, at 1/4, 1/8, ... of the photo's resolution, of a second network that joins and corrects the
            estimates by what lies around a pixel, and predicts the uncertainty; empty for none.
        context_encoder_blocks (`tuple[int, ...]`, defaults to `()`):
            Its residual blocks per level on the way down, as many entries as `context_widths`.
        context_decoder_blocks (`tuple[int, ...]`, defaults to `()`):
            Its residual blocks per level on the way up, finest level first, one entry fewer.
        ssim_weight (`float`, defaults to 0.1):
            Weight of the MS-SSIM loss (eq. 6).
        regularization_weight (`float`, defaults to 2e-5):
            Weight of the offsets' mean square (eq. 9, 11).
        total_variation_weight (`float`, defaults to 5e-4):
            Weight of the offsets' total variation (eq. 10, 11).
        ssim_window_size (`int`, defaults to 11):
            Side of the MS-SSIM window; crops of 160 pixels and less need a smaller one than 11.
        padding_mode (`str`, defaults to `"border"`):
            What lies outside the sharp image, `"border"` or `"zeros"`.
        gamma (`float`, *optional*):
            `None` averages encoded values as the paper does, a number averages linear light.
    """

    model_type = "etraj"
    auto_class_name: ClassVar[str] = "AutoConfig"

    trajectory: str = "quadratic"
    num_samples: int = 15
    base_channels: int = 16
    backbone: str = "table1"
    widths: tuple[int, ...] | list[int] = (64, 128, 192)
    encoder_blocks: tuple[int, ...] | list[int] = (2, 2, 3)
    decoder_blocks: tuple[int, ...] | list[int] = (2, 2)
    direction: str = "half-plane"
    predicts_uncertainty: bool = False
    scales: tuple[int, ...] | list[int] = (1,)
    context_widths: tuple[int, ...] | list[int] = ()
    context_encoder_blocks: tuple[int, ...] | list[int] = ()
    context_decoder_blocks: tuple[int, ...] | list[int] = ()
    ssim_weight: float = 0.1
    regularization_weight: float = 2e-5
    total_variation_weight: float = 5e-4
    ssim_window_size: int = 11
    padding_mode: str = "border"
    gamma: float | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name in ("scales", *LEVELS, *(f"context_{name}" for name in LEVELS)):
            if isinstance(getattr(self, name), list):
                setattr(self, name, tuple(getattr(self, name)))
        self._check_values()
        super().__post_init__(**kwargs)

    @property
    def num_control_points(self) -> int:
        """Number K of control points the network predicts for each pixel."""
        return num_control_points(self.trajectory, self.num_samples)

    @property
    def stride(self) -> int:
        """What photos are padded to multiples of: pixels per cell of the coarsest features, and for several scales as
        many as leave the smallest side at the coarsest."""
        cell = 8 if self.backbone == "table1" else 4 * 2 ** (len(self.widths) - 1)
        stride = cell if len(self.scales) == 1 else max(cell, MIN_SIDE) * self.scales[-1]
        return math.lcm(stride, 4 * 2 ** (len(self.context_widths) - 1)) if self.context_widths else stride

    def _check_values(self) -> None:
        valid = isinstance(self.base_channels, int) and self.base_channels >= 1
        require(self, "base_channels", valid, "must be a positive whole number such as 16")
        require(self, "padding_mode", self.padding_mode in ("border", "zeros"), "must be border or zeros")
        require(self, "backbone", self.backbone in BACKBONES, f"must be one of {', '.join(BACKBONES)}")
        require(self, "direction", self.direction in DIRECTIONS, f"must be one of {', '.join(DIRECTIONS)}")
        self._check_levels()
        num_control_points(self.trajectory, self.num_samples)
        check_num_samples(self.num_samples)

    def _check_levels(self) -> None:
        self._check_blocks("")
        require(self, "widths", len(self.widths) >= 1, "must have one entry or more")
        self._check_blocks("context_")
        require(self, "predicts_uncertainty", isinstance(self.predicts_uncertainty, bool), "must be true or false")
        if self.context_widths:
            require(self, "predicts_uncertainty", self.predicts_uncertainty, "must be true with context_widths")
            require(self, "backbone", self.backbone == "table1", "must be table1 with context_widths")
        check_scales(self, "scales")

    def _check_blocks(self, prefix: str) -> None:
        for name, smallest in zip(LEVELS, (1, 0, 0), strict=True):
            values = getattr(self, prefix + name)
            valid = isinstance(values, tuple) and all(is_integer(value, smallest) for value in values)
            require(self, prefix + name, valid, f"must be a list of integers from {smallest} up")
        levels = len(getattr(self, f"{prefix}widths"))
        for name, entries in (("encoder_blocks", levels), ("decoder_blocks", max(0, levels - 1))):
            valid = len(getattr(self, prefix + name)) == entries
            require(self, prefix + name, valid, f"must have {entries} entries, as {prefix}widths has {levels}")


def is_estimator(part: object) -> bool:
    """Whether a model, or the config of one, is an estimator.

    By its ``model_type``: of a class there may be a second copy, from a folder's own code, that ``isinstance`` does
    not know.
    """
    return getattr(getattr(part, "config", part), "model_type", None) == EtrajConfig.model_type


__all__ = ["EtrajConfig", "is_estimator"]

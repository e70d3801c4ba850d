"""Configuration of the motion-guided deblurrer: a few steps of deconvolution along the trajectories, then a U-Net."""

import math
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from ..errors import BadInputError
from ..exposure.trajectories import check_num_samples, num_control_points
from .carried_estimator import CarriedEstimatorMixin, without_origin
from .config_checks import check_scales, is_integer, is_number, require
from .configuration_etraj import is_estimator
from .configuration_ma_dmphn import MaDmphnConfig
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin

PADDING_MODES = ("zeros", "border")
MIN_SIDE = 16  # of what a network sees, pixels


class MotionGuidedConfig(CarriedEstimatorMixin, BundledNamesMixin, SavedWithCodeMixin, PreTrainedConfig):
    r"""Configuration of [`MotionGuidedForImageDeblurring`].

    Args:
        widths (`tuple[int, ...]`, defaults to `(32, 64, 96, 128)`):
            Channels of the U-Net at 1/2, 1/4, 1/8, ... of the photo's resolution; two levels or more.
        encoder_blocks (`tuple[int, ...]`, defaults to `(0, 1, 2, 4)`):
            Residual blocks per level on the way down; the last number is that of the coarsest level.
        decoder_blocks (`tuple[int, ...]`, defaults to `(1, 1, 2)`):
            Residual blocks per level on the way up, finest level first, one entry fewer than `widths`.
        num_stages (`int`, defaults to 1):
            U-Nets in a row, each preceded by deconvolution of the estimate of the one before.
        deconvolution_steps (`tuple[int, ...]`, defaults to `(1, 3, 8)`):
            Numbers of deconvolution steps, in rising order, after which the estimate is shown to the U-Net; 0 is the
            start itself. Empty: the U-Net sees the photo and its motion alone.
        path_distances (`tuple[float, ...]`, defaults to `(0.5, 1.0, 1.5, 2.0)`):
            Distances along the path, 1 being its ends, at which the U-Net sees the photo: the mean of the samples on
            both sides. Beyond 1 the path goes on straight.
        step_size (`float`, defaults to 1.0):
            Size of a deconvolution step, above 0 and at most 1.
        trajectory (`str`, defaults to `"quadratic"`):
            Trajectory that the control points belong to (eq. 12-14); not `"zero-constraint"`.
        num_samples (`int`, defaults to 15):
            Samples of the exposure in a deconvolution step, odd.
        padding_mode (`str`, defaults to `"border"`):
            What the exposure finds outside the image.
        estimator_config (`dict` or `EtrajConfig`, *optional*):
            With one, the model carries its own estimator and finds the motion itself when none is passed.
        prior_config (`dict` or `MaDmphnConfig`, *optional*):
            With one, the model carries a motion-aware MA-DMPHN, whose frame deconvolution starts from in place of the
            photo. It has no estimator: it is given the same motion.
        prior_scales (`tuple[int, ...]`, defaults to `(1,)`):
            Factors by which the photo is reduced before the prior sees it, each giving a frame of its own. What the
            prior changes in a smaller photo, whose blur is as much shorter, is brought up and added to the photo.
    """

    model_type = "motion-guided"
    auto_class_name: ClassVar[str] = "AutoConfig"
    tuple_fields: ClassVar[tuple[str, ...]] = (
        "widths",
        "encoder_blocks",
        "decoder_blocks",
        "deconvolution_steps",
        "path_distances",
        "prior_scales",
    )

    widths: tuple[int, ...] | list[int] = (32, 64, 96, 128)
    encoder_blocks: tuple[int, ...] | list[int] = (0, 1, 2, 4)
    decoder_blocks: tuple[int, ...] | list[int] = (1, 1, 2)
    num_stages: int = 1
    deconvolution_steps: tuple[int, ...] | list[int] = (1, 3, 8)
    path_distances: tuple[float, ...] | list[float] = (0.5, 1.0, 1.5, 2.0)
    step_size: float = 1.0
    trajectory: str = "quadratic"
    num_samples: int = 15
    padding_mode: str = "border"
    estimator_config: dict | PreTrainedConfig | None = None
    prior_config: dict | PreTrainedConfig | None = None
    prior_scales: tuple[int, ...] | list[int] = (1,)

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.prior_config, dict):
            self.prior_config = MaDmphnConfig(**self.prior_config)
        super().__post_init__(**kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        written = super().to_diff_dict()
        if isinstance(self.prior_config, PreTrainedConfig):
            written["prior_config"] = without_origin(self.prior_config.to_diff_dict())
        return written

    @property
    def num_control_points(self) -> int:
        """Number K of control points per pixel that the model takes."""
        return num_control_points(self.trajectory, self.num_samples)

    @property
    def size_multiple(self) -> int:
        """What height and width are padded to multiples of."""
        cells = 2 ** len(self.widths)
        return cells if self.prior_config is None else math.lcm(cells, *(MIN_SIDE * s for s in self.prior_scales[1:]))

    def _check_values(self) -> None:
        levels = len(self.widths) if isinstance(self.widths, tuple) else 0
        valid = levels >= 2 and all(is_integer(width, 1) for width in self.widths)
        require(self, "widths", valid, "must be two or more positive integers")
        for name, length in (("encoder_blocks", levels), ("decoder_blocks", levels - 1)):
            counts = getattr(self, name)
            valid = isinstance(counts, tuple) and len(counts) == length and all(is_integer(c, 0) for c in counts)
            require(self, name, valid, f"must be {length} integers from 0 up, as widths is {self.widths}")
        require(self, "num_stages", is_integer(self.num_stages, 1), "must be an integer from 1 up")
        steps = self.deconvolution_steps
        valid = isinstance(steps, tuple) and all(is_integer(step, 0) for step in steps)
        valid = valid and list(steps) == sorted(set(steps))
        require(self, "deconvolution_steps", valid, "must be rising integers from 0 up")
        distances = self.path_distances
        valid = isinstance(distances, tuple) and all(is_number(one) and one > 0 for one in distances)
        require(self, "path_distances", valid, "must be positive numbers such as (0.5, 1.0)")
        size = self.step_size
        valid = is_number(size) and 0 < size <= 1
        require(self, "step_size", valid, "must be a number above 0 and at most 1")
        check_num_samples(self.num_samples)
        num_control_points(self.trajectory, self.num_samples)
        valid = self.trajectory != "zero-constraint"
        require(self, "trajectory", valid, "must be a trajectory whose order in time is known")
        require(self, "padding_mode", self.padding_mode in PADDING_MODES, "must be zeros or border")
        estimator: Any = self.estimator_config
        valid = estimator is None or is_estimator(estimator)
        require(self, "estimator_config", valid, "must be None, a dict or an EtrajConfig")
        if estimator is not None and estimator.trajectory != self.trajectory:
            raise BadInputError(
                f"trajectory is {self.trajectory!r} and that of estimator_config {estimator.trajectory!r}; "
                "both must be the same"
            )
        prior: Any = self.prior_config
        valid = prior is None or getattr(prior, "model_type", None) == MaDmphnConfig.model_type
        require(self, "prior_config", valid, "must be None, a dict or an MaDmphnConfig")
        check_scales(self, "prior_scales")
        if prior is not None and (not prior.motion_aware or prior.estimator_config is not None):
            raise BadInputError(
                "prior_config must be motion-aware and have no estimator_config: the prior is given the model's motion"
            )


__all__ = ["MotionGuidedConfig"]

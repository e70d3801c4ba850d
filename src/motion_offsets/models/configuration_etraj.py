"""Configuration of the exposure trajectory estimator."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from ..exposure.trajectories import check_num_samples, num_control_points
from .config_checks import require
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin


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
    ssim_weight: float = 0.1
    regularization_weight: float = 2e-5
    total_variation_weight: float = 5e-4
    ssim_window_size: int = 11
    padding_mode: str = "border"
    gamma: float | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_values()
        super().__post_init__(**kwargs)

    @property
    def num_control_points(self) -> int:
        """Number K of control points the network predicts for each pixel."""
        return num_control_points(self.trajectory, self.num_samples)

    def _check_values(self) -> None:
        valid = isinstance(self.base_channels, int) and self.base_channels >= 1
        require(self, "base_channels", valid, "has to be a positive whole number such as 16")
        require(self, "padding_mode", self.padding_mode in ("border", "zeros"), "has to be border or zeros")
        num_control_points(self.trajectory, self.num_samples)
        check_num_samples(self.num_samples)


def is_estimator(part: object) -> bool:
    """Whether a model, or the config of one, is an estimator.

    By its ``model_type``: of a class there may be a second copy, from a folder's own code, that ``isinstance`` does
    not know.
    """
    return getattr(getattr(part, "config", part), "model_type", None) == EtrajConfig.model_type


__all__ = ["EtrajConfig", "is_estimator"]

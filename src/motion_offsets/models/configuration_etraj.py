"""Configuration of the exposure trajectory estimator."""

from transformers import PreTrainedConfig

from ..errors import BadInputError
from ..exposure.trajectories import check_num_samples, num_control_points
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin


class EtrajConfig(BundledNamesMixin, SavedWithCodeMixin, PreTrainedConfig):
    """Configuration of :class:`EtrajModel`; the defaults are the paper's quadratic model.

    Args:
        trajectory: constraint on the offsets, one of ``zero-constraint``, ``linear``, ``bidirectional-linear``,
            ``quadratic``, ``cubic`` (eq. 12-14).
        num_samples: number N of offsets an exposure is averaged over, odd.
        base_channels: width of the first stage (Table 1: 16).
        ssim_weight: weight of the MS-SSIM loss (eq. 6).
        regularization_weight: weight of the offsets' mean square (eq. 9, 11).
        total_variation_weight: weight of the offsets' total variation (eq. 10, 11).
        ssim_window_size: side of the MS-SSIM window; crops of 160 pixels and less need a smaller one than 11.
        padding_mode: what lies outside the sharp image, ``"border"`` or ``"zeros"``.
        gamma: ``None`` averages encoded values as the paper does, a number averages linear light.
    """

    model_type = "etraj"
    auto_class_name = "AutoConfig"

    def __init__(
        self,
        trajectory: str = "quadratic",
        num_samples: int = 15,
        base_channels: int = 16,
        ssim_weight: float = 0.1,
        regularization_weight: float = 2e-5,
        total_variation_weight: float = 5e-4,
        ssim_window_size: int = 11,
        padding_mode: str = "border",
        gamma: float | None = None,
        **kwargs,
    ):
        if not isinstance(base_channels, int) or base_channels < 1:
            raise BadInputError(f"base_channels is {base_channels!r}; it has to be a positive whole number such as 16")
        if padding_mode not in ("border", "zeros"):
            raise BadInputError(f"padding_mode is {padding_mode!r}; it has to be border or zeros")
        num_control_points(trajectory, num_samples)
        check_num_samples(num_samples)
        self.trajectory = trajectory
        self.num_samples = num_samples
        self.base_channels = base_channels
        self.ssim_weight = ssim_weight
        self.regularization_weight = regularization_weight
        self.total_variation_weight = total_variation_weight
        self.ssim_window_size = ssim_window_size
        self.padding_mode = padding_mode
        self.gamma = gamma
        super().__init__(**kwargs)

    @property
    def num_control_points(self) -> int:
        """Number K of control points the network predicts for each pixel."""
        return num_control_points(self.trajectory, self.num_samples)


def is_estimator(part: object) -> bool:
    """Whether a model, or the config of one, is an estimator.

    By its ``model_type``: of a class there may be a second copy, from a folder's own code, that ``isinstance`` does
    not know.
    """
    return getattr(getattr(part, "config", part), "model_type", None) == EtrajConfig.model_type


__all__ = ["EtrajConfig", "is_estimator"]

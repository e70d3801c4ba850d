"""Configuration of the motion-aware DMPHN deblurrer (section 5.1); DMPHN and stack(n)-DMPHN are configs of it."""

from typing import ClassVar

from transformers import PreTrainedConfig

from ..errors import BadInputError
from .carried_estimator import CarriedEstimatorMixin
from .config_checks import is_integer, is_number, require
from .configuration_etraj import is_estimator
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin

LEVELS = ((1,), (1, 2), (1, 2, 4), (1, 2, 4, 8))
STAGES = (1, 2, 3)
TAPS = 9
PADDING_MODES = ("zeros", "border")


class MaDmphnConfig(CarriedEstimatorMixin, BundledNamesMixin, SavedWithCodeMixin, PreTrainedConfig):
    r"""Configuration of [`MaDmphnForImageDeblurring`]. The defaults are the paper's MA-DMPHN.

    DMPHN is `MaDmphnConfig(motion_aware=False, residual_output=False)`, stack(4)-DMPHN the same with `num_stacks=4`.

    Args:
        levels (`tuple[int, ...]`, defaults to `(1, 2, 4)`):
            Number of patches that each level cuts the photo into: `(1, 2, 4)`, `(1, 2, 4, 8)` or a beginning of these.
        num_stacks (`int`, defaults to 1):
            Networks in a row, each improving on the output of the one before.
        base_channels (`int`, defaults to 32):
            Channels at full resolution; there are twice as many at half and four times as many at quarter resolution.
        motion_aware (`bool`, defaults to `True`):
            Whether the stages named below use motion-aware convolutions (eq. 16) instead of ordinary ones.
        motion_aware_stages (`tuple[int, ...]`, defaults to `(3,)`):
            Decoder stages of every level that are motion-aware: 1 at quarter, 2 at half, 3 at full resolution.
        alpha (`float`, defaults to 0.1):
            Scale of the motion offsets in eq. 16.
        tap_times (`tuple[float, ...]`, defaults to `(-4/7, -3/7, ..., 4/7)`):
            Nine exposure times in [-1, 1] at which the nine filter taps sample the trajectory.
        motion_padding_mode (`str`, defaults to `"zeros"`):
            What a motion-aware convolution finds outside its features: `"zeros"`, as an ordinary one, or the nearest
            feature, `"border"`, which a large `alpha` needs.
        residual_output (`bool`, defaults to `True`):
            Whether each network adds the image it sees to its output, as MA-DMPHN does and DMPHN does not.
        estimator_config (`dict` or `EtrajConfig`, *optional*):
            With one, the model carries its own estimator and computes the motion offsets itself when none are passed.
    """

    model_type = "ma-dmphn"
    auto_class_name: ClassVar[str] = "AutoConfig"
    tuple_fields: ClassVar[tuple[str, ...]] = ("levels", "motion_aware_stages", "tap_times")

    levels: tuple[int, ...] | list[int] = (1, 2, 4)
    num_stacks: int = 1
    base_channels: int = 32
    motion_aware: bool = True
    motion_aware_stages: tuple[int, ...] | list[int] = (3,)
    alpha: float = 0.1
    tap_times: tuple[float, ...] | list[float] = tuple(step / 7 for step in range(-4, 5))
    motion_padding_mode: str = "zeros"
    residual_output: bool = True
    estimator_config: dict | PreTrainedConfig | None = None

    def _check_values(self) -> None:
        require(self, "levels", self.levels in LEVELS, f"must be one of {', '.join(map(str, LEVELS))}")
        for name in ("num_stacks", "base_channels"):
            require(self, name, is_integer(getattr(self, name), 1), "must be an integer from 1 up")
        for name in ("motion_aware", "residual_output"):
            require(self, name, isinstance(getattr(self, name), bool), "must be True or False")
        stages = self.motion_aware_stages
        valid = isinstance(stages, tuple) and set(stages) <= set(STAGES) and len(set(stages)) == len(stages) > 0
        require(self, "motion_aware_stages", valid, f"must be one or more of {STAGES}, each once")
        require(self, "alpha", is_number(self.alpha) and self.alpha > 0, "must be a positive number")
        valid = self.motion_padding_mode in PADDING_MODES
        require(self, "motion_padding_mode", valid, f"must be one of {', '.join(PADDING_MODES)}")
        valid = isinstance(self.tap_times, tuple) and len(self.tap_times) == TAPS
        valid = valid and all(is_number(time) and -1 <= time <= 1 for time in self.tap_times)
        require(self, "tap_times", valid, f"must be {TAPS} exposure times in [-1, 1]")
        valid = self.estimator_config is None or is_estimator(self.estimator_config)
        require(self, "estimator_config", valid, "must be None, a dict or an EtrajConfig")
        if self.estimator_config is not None and not self.motion_aware:
            raise BadInputError(
                "estimator_config is given and motion_aware is False, so that nothing would use the estimator; it has "
                "to be motion_aware=True or estimator_config=None"
            )


__all__ = ["MaDmphnConfig"]

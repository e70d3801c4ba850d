"""What a config trains."""

from __future__ import annotations

from .guided_stage import GuidedStage
from .options import TrainingOptions
from .stages import DeblurrerStage, EstimatorStage, Stage

_STAGES: dict[str, type] = {
    "estimator": EstimatorStage,
    "deblurrer": DeblurrerStage,
    "motion-guided": GuidedStage,
}


def build_stage(options: TrainingOptions) -> Stage:
    """The stage that a config names."""
    return _STAGES[options.stage](options)

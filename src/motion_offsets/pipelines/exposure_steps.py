"""What a pipeline makes of a sharp frame and its motion: the exposure (eq. 3), frames at any time (eq. 17), and the
comparison with the photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..exposure.blending import blend_back
from ..exposure.blind_refinement import SAMPLES, RefinedMotion, refine_blindly
from ..exposure.blur import expose
from ..exposure.consistency import Consistency, assess
from ..exposure.refinement import refine, working_scale
from ..exposure.trajectories import sample_times, samples_needed, trajectory_basis
from ..models.modeling_etraj import EtrajModel


class ExposureMixin:
    """The paper's equations along the trajectories of a pipeline's estimator; no network is run."""

    estimator: EtrajModel

    @property
    def trajectory(self) -> str:
        """Trajectory of the control points, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`."""
        return self.estimator.config.trajectory

    @property
    def num_samples(self) -> int:
        """N, the number of samples of an exposure."""
        return self.estimator.config.num_samples

    def exposure_basis(self, control_points: Tensor, num_samples: int | None = None, scale: float = 1.0) -> Tensor:
        """The ``(N, K)`` basis of an exposure along the motion ``(B, 2K, H, W)``: with as many samples as its longest
        path needs, see :func:`~motion_offsets.exposure.trajectories.samples_needed`, at least the model's own number.

        Args:
            control_points: pixels.
            num_samples: the number of samples to use instead.
            scale: of the motion, if it is exposed at another size.
        """
        if num_samples is None:
            num_samples = samples_needed(scale * control_points, self.trajectory, self.num_samples)
        times = sample_times(num_samples, torch.float32)
        return trajectory_basis(self.trajectory, times, self.num_samples).to(control_points.device, non_blocking=True)

    @torch.no_grad()
    def reblur(self, sharp: Tensor, control_points: Tensor, num_samples: int | None = None) -> Tensor:
        """The exposure ``(B, 3, H, W)`` that the sharp frame and the motion amount to (eq. 3), as the estimator was
        trained to see it: in encoded or linear light, with its kind of border. It has ``num_samples`` samples, by
        default as many as the longest path needs."""
        config = self.estimator.config
        basis = self.exposure_basis(control_points, num_samples)
        return expose(sharp, control_points, basis, config.padding_mode, config.gamma)

    @torch.no_grad()
    def frame_at(self, sharp: Tensor, control_points: Tensor, time: float) -> Tensor:
        """The frame ``(B, 3, H, W)`` at a time in [-1, 1] (eq. 17); at t = 0 that is the sharp frame itself."""
        if time == 0:
            return sharp
        # One sample's exposure is the warp, straight from the control points: no offset map is ever made.
        basis = trajectory_basis(self.trajectory, [time], self.num_samples)
        return expose(sharp, control_points, basis.to(sharp.device, non_blocking=True))

    def frames(self, sharp: Tensor, control_points: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
        """The frames at several times, one by one: a long clip of a large photo never is in memory at once."""
        return (self.frame_at(sharp, control_points, time) for time in times)

    def refine(
        self,
        pixel_values: Tensor,
        sharp: Tensor,
        control_points: Tensor,
        steps: int,
        on_step: Callable[[], None] | None = None,
    ) -> Tensor:
        """Control points ``(B, 2K, H, W)`` fitted to the photo in ``steps`` steps, 0 for none; see
        :func:`~motion_offsets.exposure.refinement.refine`."""
        config = self.estimator.config
        basis = self.exposure_basis(control_points, scale=working_scale(*sharp.shape[2:]))
        return refine(pixel_values, sharp, control_points, basis, steps, config.padding_mode, config.gamma, on_step)

    def refine_blindly(
        self,
        pixel_values: Tensor,
        sharp: Tensor,
        control_points: Tensor,
        steps: int,
        on_step: Callable[[], None] | None = None,
        estimate: Callable[[Tensor], Tensor] | None = None,
    ) -> RefinedMotion:
        """The motion of one photo, fitted to it with a frame that is not quite sharp yet; see
        :func:`~motion_offsets.exposure.blind_refinement.refine_blindly`."""
        basis = self.exposure_basis(control_points, max(self.num_samples, SAMPLES))
        padding = self.estimator.config.padding_mode
        return refine_blindly(
            pixel_values, sharp, control_points, self.trajectory, basis, steps, padding, on_step, estimate
        )

    @torch.no_grad()
    def blend_back(self, pixel_values: Tensor, sharp: Tensor, reblurred: Tensor) -> Tensor:
        """The sharp frames ``(B, 3, H, W)``, closer to the photos where ``reblurred`` differs from them; see
        :mod:`motion_offsets.exposure.blending`."""
        return blend_back(pixel_values, sharp, reblurred)

    @torch.no_grad()
    def assess(self, pixel_values: Tensor, sharp: Tensor, reblurred: Tensor, control_points: Tensor) -> Consistency:
        """The consistency of one answer; see :mod:`motion_offsets.exposure.consistency`."""
        return assess(pixel_values, sharp, reblurred, control_points, self.trajectory, self.num_samples)

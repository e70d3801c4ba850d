"""Training the motion-guided deblurrer with true, disturbed and estimated motion, so that better motion helps."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from ..evaluation.metrics import psnr
from ..models.configuration_motion_guided import MotionGuidedConfig
from ..models.modeling_etraj import EtrajModel
from ..models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from ..models.modeling_motion_guided import MotionGuidedForImageDeblurring
from .options import TrainingOptions
from .stages import LossAndTerms, ParameterGroup, Validation, _CropStage, _means

# How wrong a disturbed motion is: factors of its length, turns in radians, and the largest smooth error in pixels.
LENGTHS = (0.6, 1.4)
TURN = 0.3
ERROR = 4.0
# Side of the grid of random numbers that a smooth error is brought up from.
ERROR_GRID = 4


class GuidedStage(_CropStage):
    """The sharp frame from the photo and its motion; L1 or squared error and, if asked, L1 between spectra.

    The motion of each crop is, by the shares ``true_motion`` and ``disturbed_motion``, the known one or the known one
    with errors, and for all other crops that of the estimator. Motion that is not known anywhere in a crop is always
    estimated. A prior is not trained further.
    """

    model: MotionGuidedForImageDeblurring
    best_figure = "deblur_psnr"

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        self.estimator = EtrajModel.from_pretrained(str(options.estimator)).eval().requires_grad_(False)
        self.estimator.to(memory_format=torch.channels_last)
        fields = {"trajectory": self.estimator.config.trajectory, **options.model_fields()}
        prior = MaDmphnForImageDeblurring.from_pretrained(options.prior) if options.prior else None
        if prior is not None:
            prior.config.estimator_config, prior.estimator = None, None
            fields["prior_config"] = prior.config
        config = MotionGuidedConfig(**fields)
        if options.start_from:
            self.model = MotionGuidedForImageDeblurring.from_pretrained(options.start_from, config=config)
        else:
            self.model = MotionGuidedForImageDeblurring(config)
        if self.model.prior is not None:
            if prior is not None:
                self.model.prior.load_state_dict(prior.state_dict())
            self.model.prior.requires_grad_(False)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.model.train()

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.model.stages.parameters()), 1.0)]

    def model_inputs(self, crops: Tensor) -> dict[str, Tensor]:
        channels = 2 * self.model.config.num_control_points
        batch, _, height, width = crops.shape
        return {"pixel_values": crops, "control_points": crops.new_zeros(batch, channels, height, width)}

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, accelerator: Accelerator
    ) -> LossAndTerms:
        margin = (batch["sharp"].shape[-1] - batch["blurred"].shape[-1]) // 2
        sharp = functional.pad(batch["sharp"], (-margin,) * 4)
        blurred = batch["blurred"].contiguous(memory_format=torch.channels_last)
        with accelerator.autocast():
            points = self.motion(blurred, batch["ends"], batch["known"])
            output = model(blurred, sharp, points)
        losses = dict(output.losses)
        loss = output.loss
        if self.options.pixel_loss == "l1":
            loss = losses["l1"] = torch.stack(
                [functional.l1_loss(image, sharp) for image in output.stack_outputs]
            ).sum()
        if self.options.frequency_weight:
            losses["frequency"] = torch.fft.rfft2(output.sharp - sharp, norm="ortho").abs().mean()
            loss = loss + self.options.frequency_weight * losses["frequency"]
        return loss, losses

    def motion(self, blurred: Tensor, ends: Tensor, known: Tensor) -> Tensor:
        """Control points ``(B, 2K, H, W)`` to deblur a batch with; see the class."""
        drawn = torch.rand(len(blurred), generator=self.generator).to(blurred.device)
        given = (drawn < self.options.true_motion + self.options.disturbed_motion) & (known.flatten(1).amax(1) > 0)
        disturbed = given & (drawn >= self.options.true_motion)
        points = control_points_from_ends(ends, self.model.config.trajectory)
        if disturbed.any():
            points[disturbed] = disturb(points[disturbed], self.generator)
        if not given.all():
            self.estimator.to(blurred.device)
            with torch.no_grad():
                found = self.estimator(blurred[~given], output_motion_offsets=False).control_points
            points[~given] = found.to(points.dtype)
        return points

    @torch.inference_mode()
    def validate(self, model: Any) -> Validation:
        rows: list[dict[str, Tensor]] = []
        pictures: dict[str, Tensor] = {}
        self.estimator.to(model.device)
        for case in self.cases():
            photo = case.blurred.to(model.device)
            points = self.estimator(photo, output_motion_offsets=False).control_points
            deblurred = model(photo, control_points=points).sharp.cpu().clamp(0, 1)
            blurred_psnr, reached = psnr(case.blurred, case.sharp), psnr(deblurred, case.sharp)
            row = {"deblur_psnr": reached, "gain": reached - blurred_psnr}
            if case.flow is not None:
                ends = torch.stack([-case.flow / 2, case.flow / 2], 1)
                truth = control_points_from_ends(ends, model.config.trajectory).to(model.device)
                known = model(photo, control_points=truth).sharp.cpu().clamp(0, 1)
                row["gain_with_true_motion"] = psnr(known, case.sharp) - blurred_psnr
            if not rows:
                pictures = {"blurred": case.blurred[0], "deblurred": deblurred[0], "sharp": case.sharp[0]}
            rows.append(row)
        return Validation(_means(rows), pictures)


def control_points_from_ends(ends: Tensor, trajectory: str) -> Tensor:
    """Control points ``(B, 2K, H, W)`` of a path through the offsets ``(B, 2, 2, H, W)`` at -1 and 1.

    A linear path, which always runs through 0 at t = 0, has half their difference; a cubic one is not bent further.
    """
    if trajectory == "linear":
        return (ends[:, 0] - ends[:, 1]) / 2
    points = ends.flatten(1, 2).clone()
    return torch.cat([points, torch.zeros_like(points[:, :2])], 1) if trajectory == "cubic" else points


def disturb(control_points: Tensor, generator: torch.Generator) -> Tensor:
    """Motion with errors as an estimator makes them: lengths and directions wrong per crop, and smoothly in space.

    Args:
        control_points: ``(B, 2K, H, W)``, pixels.
        generator: what decides, on the CPU.
    """
    batch, channels, height, width = control_points.shape
    device, dtype = control_points.device, control_points.dtype

    def random(*size: int) -> Tensor:
        return torch.rand(size, generator=generator).to(device, dtype)

    length = LENGTHS[0] + (LENGTHS[1] - LENGTHS[0]) * random(batch, 1, 1, 1)
    angle = TURN * (2 * random(batch, 1, 1, 1) - 1)
    across, down = control_points[:, 0::2], control_points[:, 1::2]
    turned = torch.stack(
        [across * angle.cos() - down * angle.sin(), across * angle.sin() + down * angle.cos()], 2
    ).flatten(1, 2)
    coarse = (2 * random(batch, channels, ERROR_GRID, ERROR_GRID) - 1) * ERROR * random(batch, 1, 1, 1) ** 2
    error = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return length * turned + error


__all__ = ["GuidedStage", "control_points_from_ends", "disturb"]

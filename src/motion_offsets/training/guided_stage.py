"""Training the motion-guided deblurrer."""

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
from .given_motion import control_points_from_ends, draw_motion
from .options import TrainingOptions
from .stages import LossAndTerms, ParameterGroup, Validation, _CropStage, _means


class GuidedStage(_CropStage):
    """The sharp frame from the photo and its motion; L1 or squared error and, if asked, L1 between spectra.

    :func:`~motion_offsets.training.given_motion.draw_motion` draws the motion of each crop. A prior is not trained
    further.
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
            self.estimator.to(blurred.device)
            points = draw_motion(self.options, self.estimator, blurred, batch["ends"], batch["known"])
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


__all__ = ["GuidedStage"]

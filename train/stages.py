"""The two stages of training: the estimator by reblurring (eq. 6-11), the deblurrer with its offsets (section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from options import TrainingOptions
from starts import HEAD_GAIN, grow, start_by_deconvolution, start_on_detail
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from motion_offsets.benchmark_motion_flow import MotionFlowPair, motion_flow_pairs
from motion_offsets.configuration_etraj import EtrajConfig
from motion_offsets.configuration_ma_dmphn import MaDmphnConfig
from motion_offsets.data.flow_crops import MotionFlowCrops
from motion_offsets.data.photos import list_photos, read_photo
from motion_offsets.data.scene_crops import MixedCrops, SceneCrops
from motion_offsets.exposure import expose
from motion_offsets.metrics import motion_mse, psnr
from motion_offsets.modeling_etraj import EtrajModel
from motion_offsets.modeling_ma_dmphn import MaDmphnForImageDeblurring

Autocast = Callable[[], AbstractContextManager]
LossAndTerms = tuple[Tensor, dict[str, Tensor]]


@dataclass
class ParameterGroup:
    """Parameters that learn at a multiple of the run's learning rate."""

    parameters: list[nn.Parameter]
    gain: float


class Stage(Protocol):
    """What the loop needs of a stage."""

    model: nn.Module

    def parameter_groups(self) -> list[ParameterGroup]: ...

    def dataset(self, length: int) -> Dataset: ...

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast
    ) -> LossAndTerms: ...

    def validate(self, model: nn.Module) -> dict[str, float]: ...


class _CropStage:
    model: nn.Module

    def __init__(self, options: TrainingOptions):
        self.options = options
        self.validation = (
            list_photos(options.validation_images)[: options.validation_count] if options.validation_images else []
        )

    def dataset(self, length: int) -> Dataset:
        options = self.options
        common, share = (options.recipe(), options.seed), options.dynamic_share
        sources: list[tuple[Dataset, float]] = []
        if share < 1:
            sources.append((MotionFlowCrops(options.images, length, *common), 1 - share))
        if share > 0:
            scenes = SceneCrops(
                options.images,
                options.objects,
                options.label_maps,
                length,
                common[0],
                options.scene_recipe(),
                common[1],
            )
            sources.append((scenes, share))
        return MixedCrops(*zip(*sources, strict=True), options.seed) if len(sources) > 1 else sources[0][0]

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained, and at what multiple of the learning rate."""
        return [ParameterGroup(list(self.model.parameters()), 1.0)]

    def cases(self) -> Iterator[MotionFlowPair]:
        """One case of ``bsd-motion-flow`` for each validation photo."""
        for path in self.validation:
            photo = torch.from_numpy(read_photo(path).copy()).permute(2, 0, 1)[None].float() / 255
            yield from motion_flow_pairs(photo, path.name, count=1)


class EstimatorStage(_CropStage):
    """Self-supervised reblurring; while ``flow_weight`` lasts, the known flow shows the way to large motions."""

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        config = EtrajConfig(**options.model_fields())
        self.model = (
            EtrajModel.from_pretrained(options.start_from, config=config) if options.start_from else EtrajModel(config)
        )
        if options.high_pass_start and not options.start_from:
            start_on_detail(self.model)
        self.ssim_weight = config.ssim_weight
        self.model.train()

    def parameter_groups(self) -> list[ParameterGroup]:
        head = list(self.model.network.head.parameters())
        others = [p for name, p in self.model.named_parameters() if not name.startswith("network.head.")]
        # Positions are tens of pixels where features are about 1: the head has as much further to go.
        return [ParameterGroup(others, 1.0), ParameterGroup(head, HEAD_GAIN if self.options.high_pass_start else 1.0)]

    def loss(self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast) -> LossAndTerms:
        options = self.options
        inner = model.module if hasattr(model, "module") else model
        inner.config.ssim_weight = self.ssim_weight if progress >= options.ssim_from else 0.0
        blurred = batch["blurred"].contiguous(memory_format=torch.channels_last)
        with autocast():
            points = model(blurred, output_motion_offsets=False).control_points
        terms, losses = [0 * points.sum()], {}
        # Only crops whose light was averaged as the model averages it can be reblurred to what they are.
        alike = batch["gamma"].float() == (inner.config.gamma or 1.0)
        if progress >= options.reblur_from and alike.any():
            with autocast():
                loss, losses, _ = inner.reblur_loss(points[alike], blurred[alike], batch["sharp"][alike])
            terms.append(loss * alike.float().mean())
        if options.flow_weight and progress < options.flow_until:
            losses["flow"] = known_motion_loss(inner, points, batch["ends"], batch["known"])
            terms.append(options.flow_weight * (1 - progress / options.flow_until) * losses["flow"])
        inner.config.ssim_weight = self.ssim_weight  # what is saved is the model's own
        return torch.stack(terms).sum(), losses

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        rows = []
        for case in self.cases():
            points = model(case.blurred.to(model.device), output_motion_offsets=False).control_points.cpu()
            ends = model.offsets_at(points, [-1.0, 1.0])
            reblurred = expose(case.sharp, points, model.sample_basis())  # on the CPU, where the case is
            rows.append(
                {
                    "reblur_psnr": psnr(reblurred, case.blurred),
                    "motion_mse": motion_mse(ends[:, 1] - ends[:, 0], case.flow),
                    "motion_mse_zero": motion_mse(torch.zeros_like(case.flow), case.flow),
                }
            )
        return _means(rows)


def known_motion_loss(model: EtrajModel, control_points: Tensor, ends: Tensor, known: Tensor) -> Tensor:
    """L1 between the offsets at both ends of the exposure and the true ones, where these are known; pixels.

    Args:
        model: whose trajectory the control points belong to.
        control_points: ``(B, 2K, H, W)``.
        ends: ``(B, 2, 2, H, W)``, the true offsets at -1 and 1.
        known: ``(B, 1, H, W)``, 1 where they are right and 0 elsewhere.
    """
    difference = (model.offsets_at(control_points, [-1.0, 1.0]) - ends).abs().mean((1, 2))
    return (difference * known[:, 0]).sum() / known.sum().clamp(min=1)


class DeblurrerStage(_CropStage):
    """Mean squared or absolute error (and, if asked, L1 between spectra), offsets from the model's own estimator."""

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        estimator = EtrajModel.from_pretrained(options.estimator) if options.estimator else None
        small = MaDmphnForImageDeblurring.from_pretrained(options.start_from) if options.start_from else None
        fields = options.model_fields()
        if estimator is not None:
            fields["estimator_config"] = estimator.config
        elif small is not None and small.config.estimator_config is not None:
            fields.setdefault("estimator_config", small.config.estimator_config)
        self.model = MaDmphnForImageDeblurring(MaDmphnConfig(**fields))
        if small is not None:
            grow(small, self.model)
        if estimator is not None and self.model.estimator is not None:
            self.model.estimator.load_state_dict(estimator.state_dict())
        if options.deconvolution_start and small is None:
            start_by_deconvolution(self.model)
        if self.model.estimator is not None and options.freeze_estimator:
            self.model.estimator.requires_grad_(False)
        self.model.train()

    def loss(self, model: nn.Module, batch: dict[str, Tensor], progress: float, autocast: Autocast) -> LossAndTerms:
        margin = (batch["sharp"].shape[-1] - batch["blurred"].shape[-1]) // 2
        sharp = functional.pad(batch["sharp"], (-margin,) * 4)
        output = model(batch["blurred"].contiguous(memory_format=torch.channels_last), sharp)
        losses = dict(output.losses)
        loss = output.loss
        if self.options.pixel_loss == "l1":
            losses["l1"] = torch.stack([functional.l1_loss(image, sharp) for image in output.stack_outputs]).sum()
            loss = losses["l1"]
        if self.options.frequency_weight:
            difference = torch.fft.rfft2(output.sharp.float() - sharp)
            losses["frequency"] = difference.abs().mean()
            loss = loss + self.options.frequency_weight * losses["frequency"]
        return loss, losses

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        rows = []
        for case in self.cases():
            deblurred = psnr(model(case.blurred.to(model.device)).sharp.cpu().clamp(0, 1), case.sharp)
            rows.append({"deblur_psnr": deblurred, "gain": deblurred - psnr(case.blurred, case.sharp)})
        return _means(rows)


def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in (rows[0] if rows else ())}


def build_stage(options: TrainingOptions) -> Stage:
    """The stage that a config names."""
    return EstimatorStage(options) if options.stage == "estimator" else DeblurrerStage(options)

"""The two stages of training: the estimator by reblurring (eq. 6-11), the deblurrer with its offsets (section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from ..data.crops.crop_shards import CropShards, render_crops
from ..data.crops.enlarged_crops import EnlargedCrops
from ..data.crops.flow_crops import MotionFlowCrops
from ..data.crops.pair_crops import PairCrops
from ..data.crops.scene_crops import UNKNOWN_GAMMA, MixedCrops, SceneCrops
from ..data.crops.window_crops import FrameWindowCrops
from ..data.reading.pairs import load_pairs
from ..errors import BadInputError
from ..evaluation.benchmarks.motion_flow import motion_flow_pairs
from ..evaluation.metrics import motion_mse, psnr
from ..exposure.blur import expose
from ..io.photo_files import list_photos, read_photo
from ..models.configuration_etraj import EtrajConfig
from ..models.configuration_ma_dmphn import MaDmphnConfig
from ..models.etraj_scales import ScaleEstimate
from ..models.modeling_etraj import EtrajModel
from ..models.modeling_ma_dmphn import MaDmphnForImageDeblurring
from ..visualization.paths import draw_trajectories
from .given_motion import control_points_from_ends, draw_motion
from .motion_losses import known_motion_loss, uncertainty_loss
from .options import TrainingOptions
from .starts import (
    HEAD_GAIN,
    grow,
    start_by_deconvolution,
    start_on_detail,
    with_context,
    with_trajectory,
    with_uncertainty,
)

LossAndTerms = tuple[Tensor, dict[str, Tensor]]
TIMES_DRAWN = 15
# Options that the crops depend on.
MADE_OF = (
    *("images", "objects", "label_maps", "pairs", "frames", "frames_window", "frames_linear_share"),
    *("dynamic_share", "pairs_share", "frames_share", "crops", "scenes", "seed"),
)


@dataclass
class ParameterGroup:
    """Parameters that learn at a multiple of the run's learning rate."""

    parameters: list[nn.Parameter]
    gain: float


@dataclass
class ValidationCase:
    """One photo: ``(1, 3, H, W)`` pictures in [0, 1], and the true displacement ``(1, 2, H, W)`` if it is known."""

    blurred: Tensor
    sharp: Tensor
    flow: Tensor | None


@dataclass
class Validation:
    """Mean figures over all cases, and the first case as ``(3, H, W)`` pictures by name."""

    figures: dict[str, float]
    pictures: dict[str, Tensor]


class Stage(Protocol):
    """What the loop needs of a stage."""

    model: PreTrainedModel
    best_figure: str

    def parameter_groups(self) -> list[ParameterGroup]: ...

    def dataset(self, length: int) -> Dataset: ...

    def model_inputs(self, crops: Tensor) -> dict[str, Tensor]: ...

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, accelerator: Accelerator
    ) -> LossAndTerms: ...

    def validate(self, model: nn.Module) -> Validation: ...


class _CropStage:
    model: PreTrainedModel

    def __init__(self, options: TrainingOptions):
        self.options = options
        self.validation = (
            list_photos(options.validation_images)[: options.validation_count] if options.validation_images else []
        )
        self.validation_pairs = (
            load_pairs(options.validation_pairs, options.validation_split) if options.validation_pairs else []
        )

    def dataset(self, length: int) -> Dataset:
        """The crops of the whole run, in the order in which they are seen."""
        options = self.options
        if not options.shards:
            return self._source(length)
        record = options.record()
        render_crops(self._source(options.shard_crops), Path(options.shards), {name: record[name] for name in MADE_OF})
        return CropShards(Path(options.shards), length, options.seed)

    def _source(self, length: int) -> Dataset:
        options, recipe, seed = self.options, self.options.recipe(), self.options.seed
        flow_share = 1 - options.dynamic_share - options.pairs_share - options.frames_share
        sources: list[tuple[Dataset, float]] = []
        if flow_share > 1e-9:  # shares that sum to 1 but for rounding leave none
            sources.append((MotionFlowCrops(options.images, length, recipe, seed), flow_share))
        if options.dynamic_share:
            folders = (options.images, options.objects, options.label_maps)
            sources.append((SceneCrops(*folders, length, recipe, options.scene_recipe(), seed), options.dynamic_share))
        if options.pairs_share:
            sources.append((PairCrops(options.pairs, length, recipe, seed), options.pairs_share))
        if options.frames_share:
            window = (options.frames_window[0], options.frames_window[1])
            frames = FrameWindowCrops(options.frames, length, recipe, window, options.frames_linear_share, seed)
            sources.append((frames, options.frames_share))
        crops = sources[0][0]
        if len(sources) > 1:
            crops = MixedCrops([source for source, _ in sources], [share for _, share in sources], seed)
        return EnlargedCrops(crops, recipe, seed) if recipe.enlarge > 1 else crops

    def model_inputs(self, crops: Tensor) -> dict[str, Tensor]:
        """What the model takes, for blurred crops ``(B, 3, S, S)``."""
        return {"pixel_values": crops}

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained, and at what multiple of the learning rate."""
        return [ParameterGroup(list(self.model.parameters()), 1.0)]

    def cases(self) -> Iterator[ValidationCase]:
        """One case of ``bsd-motion-flow`` for each validation photo, or the validation pairs, evenly spread."""
        for path in self.validation:
            for pair in motion_flow_pairs(_picture(read_photo(path)), path.name, count=1):
                yield ValidationCase(pair.blurred, pair.sharp, pair.flow)
        every = max(1, len(self.validation_pairs) // self.options.validation_count)
        for number in range(0, len(self.validation_pairs), every)[: self.options.validation_count]:
            pair = self.validation_pairs[number]
            yield ValidationCase(_picture(np.asarray(pair["blurred"])), _picture(np.asarray(pair["sharp"])), None)


def _picture(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


class EstimatorStage(_CropStage):
    """Self-supervised reblurring; while ``flow_weight`` lasts, the known flow shows the way to large motions."""

    model: EtrajModel
    best_figure = "reblur_psnr"

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        config = EtrajConfig(**options.model_fields())
        self.model = self._started(config)
        if options.high_pass_start and not options.start_from:
            start_on_detail(self.model)
        if options.freeze_network:
            self.model.network.requires_grad_(False)
        self.ssim_weight = config.ssim_weight
        self.model.train()

    def _started(self, config: EtrajConfig) -> EtrajModel:
        if not self.options.start_from:
            return EtrajModel(config)
        earlier = EtrajConfig.from_pretrained(self.options.start_from)
        for name in ("backbone", "direction"):
            if getattr(earlier, name) != getattr(config, name):
                raise BadInputError(
                    f"start_from has {name} {getattr(earlier, name)!r} and model {getattr(config, name)!r}; give a "
                    "model that has the same, or leave start_from out"
                )
        start = EtrajModel.from_pretrained(self.options.start_from)
        if config.context_widths and not earlier.context_widths:
            start = with_context(start, config)
        elif config.predicts_uncertainty and not earlier.predicts_uncertainty:
            start = with_uncertainty(start)
        elif earlier.predicts_uncertainty != config.predicts_uncertainty:
            raise BadInputError(
                "start_from has predicts_uncertainty True and model False; give a model that has it, or leave "
                "start_from out"
            )
        if earlier.trajectory != config.trajectory:
            return with_trajectory(start, config)
        model = EtrajModel(config)
        model.load_state_dict(start.state_dict())
        return model

    def parameter_groups(self) -> list[ParameterGroup]:
        if self.options.freeze_network:
            return [ParameterGroup(list(self.model.context.parameters()), 1.0)]
        head = list(self.model.network.head.parameters())
        others = [p for name, p in self.model.named_parameters() if not name.startswith("network.head.")]
        # Positions are tens of pixels where features are about 1: the head has as much further to go.
        return [ParameterGroup(others, 1.0), ParameterGroup(head, HEAD_GAIN if self.options.high_pass_start else 1.0)]

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, accelerator: Accelerator
    ) -> LossAndTerms:
        options = self.options
        self.model.config.ssim_weight = self.ssim_weight if progress >= options.ssim_from else 0.0
        blurred = batch["blurred"].contiguous(memory_format=torch.channels_last)
        with accelerator.autocast():
            output = model(blurred, output_motion_offsets=False)
        points = output.control_points
        terms = [0 * points.sum()]
        losses: dict[str, Tensor] = {}
        if output.uncertainty is not None:
            known = accelerator.reduce(batch["known"].sum(), "mean")
            judged = [ScaleEstimate(points, output.uncertainty), *(output.at_scales or ())]
            each = [
                uncertainty_loss(
                    one.uncertainty, self.model.offsets_at(one.control_points.detach(), [-1.0, 1.0]), batch, known
                )
                for one in judged
            ]
            losses["uncertainty"] = torch.stack(each).mean()
            terms.append(options.uncertainty_weight * losses["uncertainty"])
        if progress >= options.reblur_from:
            with accelerator.autocast():
                loss, found = self._reblur_loss(points, blurred, batch)
            losses |= found
            terms.append(loss)
        if options.flow_weight and progress < options.flow_until:
            # Likewise, but over the known pixels of all processes, of which some have more than others.
            known = accelerator.reduce(batch["known"].sum(), "mean")
            losses["flow"] = known_motion_loss(self.model, points, batch["ends"], batch["known"], known)
            terms.append(options.flow_weight * (1 - progress / options.flow_until) * losses["flow"])
        self.model.config.ssim_weight = self.ssim_weight  # what is saved is the model's own
        return torch.stack(terms).sum(), losses

    def _reblur_loss(self, points: Tensor, blurred: Tensor, batch: dict[str, Tensor]) -> LossAndTerms:
        """The paper's loss over the crops whose light can be averaged as theirs was, each by its own gamma."""
        total = 0 * points.sum()
        losses: dict[str, Tensor] = {}
        for gamma in batch["gamma"].unique().tolist():
            if gamma == UNKNOWN_GAMMA:
                continue
            alike = batch["gamma"] == gamma
            loss, terms, _ = self.model.reblur_loss(points[alike], blurred[alike], batch["sharp"][alike], gamma)
            # All terms are means over crops, so weighing them by their share makes them a mean over the whole batch:
            # the mean over processes, which all have as many crops, is then that of one process with all of them.
            share = alike.float().mean()
            total = total + share * loss
            losses = {name: losses.get(name, 0) + share * value for name, value in terms.items()}
        return total, losses

    @torch.inference_mode()
    def validate(self, model: Any) -> Validation:
        rows: list[dict[str, Tensor]] = []
        pictures: dict[str, Tensor] = {}
        for case in self.cases():
            points = model(case.blurred.to(model.device), output_motion_offsets=False).control_points.cpu()
            # On the CPU, where the case is.
            reblurred = expose(case.sharp, points, model.sample_basis(), model.config.padding_mode, model.config.gamma)
            row = {"reblur_psnr": psnr(reblurred, case.blurred)}
            if case.flow is not None:
                ends = model.offsets_at(points, [-1.0, 1.0])
                row["motion_mse"] = motion_mse(ends[:, 1] - ends[:, 0], case.flow)
                row["motion_mse_zero"] = motion_mse(torch.zeros_like(case.flow), case.flow)
            if not rows:
                pictures = {"blurred": case.blurred[0], "reblurred": reblurred[0]}
                pictures["trajectories"] = _drawn(case.blurred[0], model, points)
            rows.append(row)
        return Validation(_means(rows), pictures)


def _drawn(blurred: Tensor, model: EtrajModel, control_points: Tensor) -> Tensor:
    photo = Image.fromarray((blurred * 255).round().byte().permute(1, 2, 0).numpy())
    offsets = model.offsets_at(control_points, torch.linspace(-1, 1, TIMES_DRAWN).tolist())[0]
    return _picture(np.asarray(draw_trajectories(photo, offsets).convert("RGB")))[0]


class DeblurrerStage(_CropStage):
    """Mean squared or absolute error (and, if asked, L1 between spectra), offsets from the model's own estimator.

    With ``true_motion`` or ``disturbed_motion``, :func:`~motion_offsets.training.given_motion.draw_motion` draws the
    motion of each crop.
    """

    model: MaDmphnForImageDeblurring
    best_figure = "deblur_psnr"

    def __init__(self, options: TrainingOptions):
        super().__init__(options)
        estimator = EtrajModel.from_pretrained(options.estimator) if options.estimator else None
        small = MaDmphnForImageDeblurring.from_pretrained(options.start_from) if options.start_from else None
        fields = options.model_fields()
        if estimator is not None:
            _require_same_estimator(options, fields.get("estimator_config"), estimator.config)
            fields["estimator_config"] = estimator.config
        elif small is not None and small.config.estimator_config is not None:
            fields.setdefault("estimator_config", small.config.estimator_config)
        self.model = MaDmphnForImageDeblurring(MaDmphnConfig(**fields))
        if small is not None:
            grow(small, self.model, estimator=estimator is None)
        if estimator is not None and self.model.estimator is not None:
            self.model.estimator.load_state_dict(estimator.state_dict())
        if options.deconvolution_start and small is None:
            start_by_deconvolution(self.model)
        if self.model.estimator is not None and options.freeze_estimator:
            self.model.estimator.requires_grad_(False)
        self.draws_motion = options.true_motion + options.disturbed_motion > 0
        self.model.train()

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], progress: float, accelerator: Accelerator
    ) -> LossAndTerms:
        margin = (batch["sharp"].shape[-1] - batch["blurred"].shape[-1]) // 2
        sharp = functional.pad(batch["sharp"], (-margin,) * 4)
        blurred = batch["blurred"].contiguous(memory_format=torch.channels_last)
        offsets = None
        with accelerator.autocast():
            if self.draws_motion:
                estimator = self._estimator()
                points = draw_motion(self.options, estimator, blurred, batch["ends"], batch["known"])
                offsets = estimator.offsets_at(points, self.model.config.tap_times)
            output = model(blurred, sharp, offsets)
        losses = dict(output.losses)
        loss = output.loss
        if self.options.pixel_loss == "l1":
            terms = [functional.l1_loss(image.float(), sharp) for image in output.stack_outputs]
            loss = losses["l1"] = torch.stack(terms).sum()
        if self.options.frequency_weight:
            difference = torch.fft.rfft2(output.sharp.float() - sharp)
            losses["frequency"] = difference.abs().mean()
            loss = loss + self.options.frequency_weight * losses["frequency"]
        return loss, losses

    @torch.inference_mode()
    def validate(self, model: Any) -> Validation:
        rows: list[dict[str, Tensor]] = []
        pictures: dict[str, Tensor] = {}
        for case in self.cases():
            photo = case.blurred.to(model.device)
            deblurred = model(photo).sharp.cpu().clamp(0, 1)
            if not rows:
                pictures = {"blurred": case.blurred[0], "deblurred": deblurred[0], "sharp": case.sharp[0]}
            blurred_psnr, reached = psnr(case.blurred, case.sharp), psnr(deblurred, case.sharp)
            row = {"deblur_psnr": reached, "gain": reached - blurred_psnr}
            if self.draws_motion and case.flow is not None:
                ends = torch.stack([-case.flow / 2, case.flow / 2], 1)
                truth = control_points_from_ends(ends, self._estimator().config.trajectory).to(model.device)
                offsets = self._estimator().offsets_at(truth, model.config.tap_times)
                known = model(photo, motion_offsets=offsets).sharp.cpu().clamp(0, 1)
                row["gain_with_true_motion"] = psnr(known, case.sharp) - blurred_psnr
            rows.append(row)
        return Validation(_means(rows), pictures)

    def _estimator(self) -> EtrajModel:
        assert self.model.estimator is not None  # options with given motion have one
        return self.model.estimator


def _require_same_estimator(options: TrainingOptions, wanted: dict | None, found: EtrajConfig) -> None:
    for name, value in (wanted or {}).items():
        if getattr(found, name) != value:
            raise BadInputError(
                f"estimator {options.estimator} has {name} {getattr(found, name)!r}, and the config's "
                f"estimator_config asks for {value!r}; give another estimator, or another config"
            )


def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in (rows[0] if rows else ())}

"""The fields of a training config, read from YAML and the command line."""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedConfig

from ..data.crops.flow_crops import CropRecipe
from ..data.crops.window_crops import check_window_range
from ..data.scenes.scene_sampling import SceneRecipe
from ..errors import BadInputError
from ..models.configuration_etraj import EtrajConfig
from ..models.configuration_ma_dmphn import MaDmphnConfig
from ..models.configuration_motion_guided import MotionGuidedConfig

STAGES = ("estimator", "deblurrer", "motion-guided")
CONFIGS = {"estimator": EtrajConfig, "deblurrer": MaDmphnConfig, "motion-guided": MotionGuidedConfig}
PRECISIONS = ("no", "bf16", "fp16", "auto")
TRACKERS = ("trackio", "tensorboard", "wandb")
# Fields that the other stage has no use for: given there, they would be silently without effect.
OF_ESTIMATOR = ("high_pass_start", "freeze_network", "flow_weight", "uncertainty_weight", "reblur_from", "ssim_from")
OF_DEBLURRER = ("freeze_estimator", "deconvolution_start")
OF_BOTH_DEBLURRERS = ("estimator", "pixel_loss", "frequency_weight", "true_motion", "disturbed_motion")
OF_MOTION_GUIDED = ("prior",)
USELESS = {
    "estimator": OF_DEBLURRER + OF_BOTH_DEBLURRERS + OF_MOTION_GUIDED,
    "deblurrer": OF_ESTIMATOR + OF_MOTION_GUIDED,
    "motion-guided": OF_ESTIMATOR + OF_DEBLURRER,
}


@dataclass
class TrainingOptions:
    """Everything a run depends on; the defaults are the paper's, but for ``steps``: it trains for 800 epochs."""

    stage: str = field(default="estimator", metadata={"help": "estimator, deblurrer or motion-guided"})
    images: list[str] = field(default_factory=list, metadata={"help": "folders of sharp photos to train on"})
    validation_images: list[str] = field(
        default_factory=list, metadata={"help": "folders of sharp photos to validate on"}
    )
    validation_count: int = field(default=20, metadata={"help": "number of validation photos or pairs"})
    pairs: list[str] = field(
        default_factory=list,
        metadata={"help": "blurred and sharp pictures to train on: folders, ZIP files or org/name on the Hub"},
    )
    pairs_share: float = field(default=0.0, metadata={"help": "share of crops that come from pairs"})
    frames: list[str] = field(
        default_factory=list,
        metadata={"help": "sharp frames of a fast camera, averaged as they are drawn: folders, ZIP files or videos"},
    )
    frames_share: float = field(default=0.0, metadata={"help": "share of crops that are averages of such frames"})
    frames_window: list[int] = field(
        default_factory=lambda: [7, 13], metadata={"help": "fewest and most frames in such an average"}
    )
    frames_linear_share: float = field(
        default=0.5, metadata={"help": "share of such averages taken in linear light; the others as encoded"}
    )
    validation_pairs: str | None = field(
        default=None, metadata={"help": "pairs to validate on, in place of validation_images"}
    )
    validation_split: str = field(default="test", metadata={"help": "split of validation_pairs: test, validation"})
    output_dir: str = field(default="runs/default", metadata={"help": "where checkpoints and the model go"})
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in output_dir"})
    start_from: str | None = field(default=None, metadata={"help": "model whose weights to start from"})
    keep_of_start: float = field(
        default=0.0, metadata={"help": "share of start_from's weights in the model that is saved"}
    )
    estimator: str | None = field(
        default=None, metadata={"help": "estimator that the deblurrer carries, in place of start_from's"}
    )

    model: str = field(default="{}", metadata={"help": "fields of the model's config, as YAML"})
    crops: str = field(default="{crop_size: 256, margin: 0}", metadata={"help": "fields of CropRecipe, as YAML"})
    dynamic_share: float = field(default=0.0, metadata={"help": "share of crops that are dynamic scenes"})
    objects: list[str] = field(
        default_factory=list, metadata={"help": "dynamic scenes: folders to cut objects from, photos or RGBA pictures"}
    )
    label_maps: list[str] = field(
        default_factory=list, metadata={"help": "label maps (PNG) of the photos in objects, a folder for each of them"}
    )
    scenes: str = field(default="{}", metadata={"help": "dynamic scenes: fields of SceneRecipe, as YAML"})

    steps: int = field(default=100_000, metadata={"help": "optimizer steps of the whole run"})
    batch_size: int = field(default=8, metadata={"help": "crops per process and step"})
    gradient_accumulation: int = field(default=1, metadata={"help": "batches whose gradients make one step"})
    learning_rate: float = field(default=1e-4, metadata={"help": "at its highest; it falls linearly to 0"})
    warmup_steps: int = field(default=0, metadata={"help": "steps over which the learning rate rises"})
    max_gradient_norm: float = field(default=0.0, metadata={"help": "0 leaves gradients alone"})
    ema_decay: float = field(default=0.0, metadata={"help": "of the weights' moving average; 0 keeps no average"})
    mixed_precision: str = field(
        default="no", metadata={"help": "no, bf16, fp16, or auto: no or bf16, whichever is faster"}
    )
    compile: bool = field(default=False, metadata={"help": "compile the model with torch.compile"})
    seed: int = field(default=0, metadata={"help": "of weights, crops and motions"})
    shards: str | None = field(
        default=None, metadata={"help": "folder in which crops are rendered once and read over and over"}
    )
    shard_crops: int = field(default=8192, metadata={"help": "number of crops that are rendered there"})
    data_workers: int = field(default=0, metadata={"help": "processes that make crops; 0: the training process"})

    high_pass_start: bool = field(
        default=False, metadata={"help": "start the estimator on fine detail, not as the paper does"}
    )
    flow_weight: float = field(default=0.0, metadata={"help": "weight of the L1 loss on the known flow"})
    flow_until: float = field(
        default=1.0, metadata={"help": "part of the run over which that weight falls to 0; a huge one keeps it"}
    )
    uncertainty_weight: float = field(
        default=0.02, metadata={"help": "weight of the loss on the predicted uncertainty, where the flow is known"}
    )
    reblur_from: float = field(
        default=0.0, metadata={"help": "part of the run from which the paper's loss is used at all"}
    )
    ssim_from: float = field(default=0.0, metadata={"help": "part of the run from which MS-SSIM is in the loss"})
    freeze_network: bool = field(
        default=False, metadata={"help": "estimator: train the network of context_widths alone"}
    )
    freeze_estimator: bool = field(default=False, metadata={"help": "do not fine-tune the deblurrer's estimator"})
    deconvolution_start: bool = field(
        default=False, metadata={"help": "deblurrer: start by deconvolution along the motion, not as the paper does"}
    )
    pixel_loss: str = field(default="mse", metadata={"help": "deblurrer: mse (the paper) or l1"})
    frequency_weight: float = field(default=0.0, metadata={"help": "deblurrer: weight of the L1 loss on spectra"})

    prior: str | None = field(
        default=None, metadata={"help": "motion-guided: the MA-DMPHN whose frame deconvolution starts from"}
    )
    true_motion: float = field(
        default=0.0, metadata={"help": "deblurrers: share of crops that are deblurred along their known motion"}
    )
    disturbed_motion: float = field(
        default=0.0, metadata={"help": "deblurrers: share of crops whose known motion is disturbed first"}
    )

    log_every: int = field(default=50, metadata={"help": "steps between two lines of losses"})
    validate_every: int = field(default=1000, metadata={"help": "steps between two validations"})
    checkpoint_every: int = field(default=1000, metadata={"help": "steps between two checkpoints"})
    report_to: list[str] = field(
        default_factory=list, metadata={"help": "trackers beside metrics.jsonl: trackio, tensorboard, wandb"}
    )
    push_to_hub: str | None = field(default=None, metadata={"help": "org/name on the Hub to send the final model to"})

    def __post_init__(self) -> None:
        self._check_values()
        self._check_stage()
        self._check_sources()
        recipe, fields = self.recipe(), self.model_fields()
        self.scene_recipe()
        if self.stage == "estimator":
            self._check_losses(EtrajConfig(**fields), recipe)
        elif self.stage == "deblurrer":
            self._check_deblurrer(MaDmphnConfig(**fields))
        else:
            self._check_motion_guided(MotionGuidedConfig(**fields))

    def _check_values(self) -> None:
        _require(self, "stage", self.stage in STAGES, "estimator, deblurrer or motion-guided")
        _require(self, "pixel_loss", self.pixel_loss in ("mse", "l1"), "mse or l1")
        _require(self, "mixed_precision", self.mixed_precision in PRECISIONS, "no, bf16, fp16 or auto")
        for name in (
            "steps",
            "batch_size",
            "gradient_accumulation",
            "log_every",
            "validate_every",
            "checkpoint_every",
            "validation_count",
            "shard_crops",
        ):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup_steps", "data_workers"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        _require(self, "learning_rate", 0 < self.learning_rate < math.inf, "a positive number such as 1e-4")
        for name in (
            "max_gradient_norm",
            "flow_weight",
            "uncertainty_weight",
            "frequency_weight",
            "reblur_from",
            "ssim_from",
        ):
            _require(self, name, 0 <= getattr(self, name) < math.inf, "a number from 0 up")
        _require(self, "flow_until", 0 < self.flow_until < math.inf, "a positive number")
        for name in ("ema_decay", "keep_of_start"):
            _require(self, name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in (
            *("dynamic_share", "pairs_share", "frames_share", "frames_linear_share"),
            *("true_motion", "disturbed_motion"),
        ):
            _require(self, name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        for name in self.report_to:
            _require(self, "report_to", name in TRACKERS, f"some of {', '.join(TRACKERS)}")

    def _check_stage(self) -> None:
        """Refuse what the stage has no use for."""
        defaults = _defaults()
        for name in USELESS[self.stage]:
            if getattr(self, name) != defaults[name]:
                users = " or ".join(stage for stage in STAGES if name not in USELESS[stage])
                raise BadInputError(
                    f"{name} is {getattr(self, name)!r} and stage is {self.stage}, which has no use for it; leave it "
                    f"out, or set stage to {users}"
                )
        if self.true_motion + self.disturbed_motion > 1:
            raise BadInputError(
                f"true_motion is {self.true_motion} and disturbed_motion {self.disturbed_motion}; together they must "
                "be 1 at most"
            )
        if self.keep_of_start and not self.start_from:
            raise BadInputError(
                f"keep_of_start is {self.keep_of_start} and start_from is not given; give both or none"
            )

    def _check_sources(self) -> None:
        for share, of in (("dynamic_share", "objects"), ("pairs_share", "pairs"), ("frames_share", "frames")):
            if bool(getattr(self, share)) != bool(getattr(self, of)):
                raise BadInputError(
                    f"{share} is {getattr(self, share)} and {of} is {getattr(self, of)}; give both or none"
                )
        if len(self.frames_window) != 2:
            raise BadInputError(f"frames_window is {self.frames_window}; give two numbers such as [7, 13]")
        check_window_range(*self.frames_window)
        shares = {name: getattr(self, name) for name in ("dynamic_share", "pairs_share", "frames_share")}
        if sum(shares.values()) > 1:
            told = ", ".join(f"{name} is {share}" for name, share in shares.items())
            raise BadInputError(f"{told}; together they may be 1")
        given = self.pairs_share + self.frames_share
        if not self.images and given < 1:
            raise BadInputError(
                "images is empty; name at least one folder of sharp photos, or give pairs and frames with shares that "
                "sum to 1"
            )
        if self.images and given == 1:
            raise BadInputError(
                f"images is given and pairs_share is {self.pairs_share:g}, frames_share {self.frames_share:g}, so "
                "that no crop comes from images; leave them out"
            )
        if self.validation_images and self.validation_pairs:
            raise BadInputError("validation_images and validation_pairs are both given; give one")

    def _check_losses(self, config: EtrajConfig, recipe: CropRecipe) -> None:
        if self.high_pass_start and config.backbone != "table1":
            raise BadInputError(
                f"high_pass_start is true and model backbone {config.backbone!r}, which sees local contrast from the "
                "start; leave it out"
            )
        if self.freeze_network and not (config.context_widths and self.start_from):
            raise BadInputError(
                "freeze_network is True, which trains the network of model context_widths alone, on what that of "
                "start_from sees; give both, or leave it out"
            )
        if self.flow_weight and self.pairs_share + self.frames_share == 1:
            raise BadInputError(
                f"flow_weight is {self.flow_weight} and all crops come from pairs or frames, whose motion is not "
                "known; set flow_weight to 0"
            )
        if self.reblur_from > 0 and not (self.flow_weight and self.flow_until >= self.reblur_from):
            raise BadInputError(
                f"reblur_from is {self.reblur_from} and the flow loss before it is missing; set flow_weight, and "
                "flow_until no earlier"
            )
        smallest = 16 * (config.ssim_window_size - 1) + 1
        if config.ssim_weight and max(self.reblur_from, self.ssim_from) < 1 and recipe.crop_size < smallest:
            raise BadInputError(
                f"crops crop_size is {recipe.crop_size} and model ssim_window_size {config.ssim_window_size}, which "
                f"needs crops of {smallest}; set ssim_window_size to 7 for crops of 128, or ssim_weight to 0"
            )

    def _check_deblurrer(self, config: MaDmphnConfig) -> None:
        if not config.motion_aware:
            for name in ("estimator", "freeze_estimator", "deconvolution_start"):
                if getattr(self, name):
                    raise BadInputError(
                        f"{name} is {getattr(self, name)!r} and model motion_aware is false, which has no use for it; "
                        "leave one out"
                    )
        elif not (self.estimator or self.start_from):
            raise BadInputError(
                "estimator is not given; a motion-aware deblurrer needs a trained one: a folder, org/name on the Hub, "
                "or a bundled name such as etraj-quadratic"
            )
        if self.true_motion + self.disturbed_motion and not (config.motion_aware and self.freeze_estimator):
            raise BadInputError(
                f"true_motion is {self.true_motion} and disturbed_motion {self.disturbed_motion}; set model "
                "motion_aware and freeze_estimator to true, or leave both out: no gradient reaches the estimator "
                "through motion that is given"
            )
        if self.deconvolution_start and self.start_from:
            raise BadInputError("deconvolution_start and start_from are both given; a run has one start")

    def _check_motion_guided(self, config: MotionGuidedConfig) -> None:
        if not self.estimator:
            raise BadInputError(
                "estimator is not given; a motion-guided deblurrer needs a trained one: a folder, org/name on the "
                "Hub, or a bundled name such as etraj-quadratic"
            )
        if config.estimator_config is not None:
            raise BadInputError("model has an estimator_config; leave it out, the estimator is trained by itself")
        if config.prior_config is not None:
            raise BadInputError("model has a prior_config; leave it out and name the prior itself, as prior")

    def model_fields(self) -> dict[str, Any]:
        """The fields that go to the model's config."""
        config = CONFIGS[self.stage]
        fields = _known_fields("model", self.model, config)
        if fields.get("estimator_config") is not None:
            _known_fields("model estimator_config", fields["estimator_config"], EtrajConfig)
        return fields

    def recipe(self) -> CropRecipe:
        """What training crops are made of."""
        return CropRecipe(**_known_fields("crops", self.crops, CropRecipe))

    def scene_recipe(self) -> SceneRecipe:
        """What dynamic scenes are like."""
        return SceneRecipe(**_known_fields("scenes", self.scenes, SceneRecipe))

    def record(self) -> dict[str, Any]:
        """All fields, with the nested ones parsed; folders by their last names only."""
        fields = dataclasses.asdict(self)
        for name in ("images", "validation_images", "objects", "label_maps", "pairs", "frames"):
            fields[name] = [_last_names(folder) for folder in fields[name]]
        for name in ("start_from", "estimator", "prior", "validation_pairs", "shards"):
            fields[name] = fields[name] and _last_names(fields[name])
        for name in ("output_dir", "resume", "report_to", "push_to_hub"):
            del fields[name]
        return {
            **fields,
            "model": self.model_fields(),
            "crops": dataclasses.asdict(self.recipe()),
            "scenes": dataclasses.asdict(self.scene_recipe()),
        }


def _defaults() -> dict[str, Any]:
    return {
        entry.name: entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        for entry in dataclasses.fields(TrainingOptions)
    }


def _require(options: TrainingOptions, name: str, valid: bool, right: str) -> None:
    if not valid:
        raise BadInputError(f"{name} is {getattr(options, name)!r}; it must be {right}")


def _last_names(folder: str) -> str:
    return "/".join(Path(folder).parts[-2:])


def as_mapping(name: str, text: str | dict) -> dict[str, Any]:
    """The mapping that a field such as ``model`` is, or whose YAML it holds."""
    try:
        value = yaml.safe_load(text) if isinstance(text, str) else text
    except yaml.YAMLError as error:
        raise BadInputError(f"{name} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise BadInputError(f"{name} is {text!r}; it must be a mapping such as '{{trajectory: quadratic}}'")
    return value


def _known_fields(name: str, text: str | dict, kind: type) -> dict[str, Any]:
    given = as_mapping(name, text)
    known = set(inspect.signature(kind).parameters) - set(inspect.signature(PreTrainedConfig).parameters)
    known.discard("kwargs")
    for field_name in given:
        if field_name not in known:
            raise BadInputError(f"{name} has no field {field_name!r}; it has {', '.join(sorted(known))}")
    return given

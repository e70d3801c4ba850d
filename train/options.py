"""The fields of a training config, read from YAML and the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

from motion_offsets.data.flow_crops import CropRecipe
from motion_offsets.data.scene_sampling import SceneRecipe
from motion_offsets.errors import BadInputError


@dataclass
class TrainingOptions:
    """Everything a run depends on; the defaults are the paper's."""

    stage: str = field(default="estimator", metadata={"help": "estimator or deblurrer"})
    images: list[str] = field(default_factory=list, metadata={"help": "folders of sharp photos to train on"})
    validation_images: list[str] = field(
        default_factory=list, metadata={"help": "folders of sharp photos to validate on"}
    )
    validation_count: int = field(default=20, metadata={"help": "number of validation photos"})
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
    crops: str = field(default="{}", metadata={"help": "fields of CropRecipe, as YAML"})
    dynamic_share: float = field(default=0.0, metadata={"help": "share of crops that are dynamic scenes"})
    objects: list[str] = field(
        default_factory=list, metadata={"help": "dynamic scenes: folders to cut objects from, photos or RGBA pictures"}
    )
    label_maps: list[str] = field(
        default_factory=list, metadata={"help": "label maps (PNG) of the photos in objects, a folder for each of them"}
    )
    scenes: str = field(default="{}", metadata={"help": "dynamic scenes: fields of SceneRecipe, as YAML"})

    steps: int = field(default=100_000, metadata={"help": "optimizer steps of the whole run"})
    batch_size: int = field(default=8, metadata={"help": "crops a step and process"})
    gradient_accumulation: int = field(default=1, metadata={"help": "steps whose gradients are added up"})
    learning_rate: float = field(default=1e-4, metadata={"help": "at its highest; it falls linearly to 0"})
    warmup_steps: int = field(default=0, metadata={"help": "steps over which the learning rate rises"})
    max_gradient_norm: float = field(default=0.0, metadata={"help": "0 leaves gradients alone"})
    ema_decay: float = field(default=0.0, metadata={"help": "of the weights' moving average; 0 keeps no average"})
    mixed_precision: str = field(default="no", metadata={"help": "no, bf16 or fp16"})
    seed: int = field(default=0, metadata={"help": "of weights, crops and motions"})
    data_workers: int = field(default=0, metadata={"help": "processes that make crops; 0: the training process"})

    high_pass_start: bool = field(
        default=False, metadata={"help": "start the estimator on fine detail, not as the paper does"}
    )
    flow_weight: float = field(default=0.0, metadata={"help": "weight of the L1 loss on the known flow"})
    flow_until: float = field(default=1.0, metadata={"help": "part of the run over which that weight falls to 0"})
    reblur_from: float = field(
        default=0.0, metadata={"help": "part of the run from which the paper's loss is used at all"}
    )
    ssim_from: float = field(default=0.0, metadata={"help": "part of the run from which MS-SSIM is in the loss"})
    freeze_estimator: bool = field(default=False, metadata={"help": "do not fine-tune the deblurrer's estimator"})
    deconvolution_start: bool = field(
        default=False, metadata={"help": "deblurrer: start by deconvolution along the motion, not as the paper does"}
    )
    pixel_loss: str = field(default="mse", metadata={"help": "deblurrer: mse (the paper) or l1"})
    frequency_weight: float = field(default=0.0, metadata={"help": "deblurrer: weight of the L1 loss on spectra"})

    log_every: int = field(default=50, metadata={"help": "steps between two lines of losses"})
    validate_every: int = field(default=1000, metadata={"help": "steps between two validations"})
    checkpoint_every: int = field(default=1000, metadata={"help": "steps between two checkpoints"})

    def __post_init__(self) -> None:
        if self.stage not in ("estimator", "deblurrer"):
            raise BadInputError(f"stage is {self.stage!r}; it has to be estimator or deblurrer")
        if self.pixel_loss not in ("mse", "l1"):
            raise BadInputError(f"pixel_loss is {self.pixel_loss!r}; it has to be mse or l1")
        if self.mixed_precision not in ("no", "bf16", "fp16"):
            raise BadInputError(f"mixed_precision is {self.mixed_precision!r}; it has to be no, bf16 or fp16")
        if not 0 <= self.keep_of_start < 1 or (self.keep_of_start and not self.start_from):
            raise BadInputError(
                f"keep_of_start is {self.keep_of_start}; it has to be a share from 0 to 1, and wants start_from"
            )
        if not self.images:
            raise BadInputError("images is empty; name at least one folder of sharp photos")
        for name in (
            "steps",
            "batch_size",
            "gradient_accumulation",
            "log_every",
            "validate_every",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                raise BadInputError(f"{name} is {getattr(self, name)}; it has to be at least 1")
        if (
            self.stage == "estimator"
            and self.reblur_from > 0
            and not (self.flow_weight and self.flow_until >= self.reblur_from)
        ):
            raise BadInputError(
                "before reblur_from there has to be a flow loss: set flow_weight, and flow_until no earlier"
            )
        if not 0 <= self.dynamic_share <= 1 or (self.dynamic_share and not self.objects):
            raise BadInputError(
                f"dynamic_share is {self.dynamic_share}; it has to be a share from 0 to 1, and wants objects"
            )
        self.model_fields()
        self.recipe()
        self.scene_recipe()

    def model_fields(self) -> dict[str, Any]:
        """The fields that go to the model's config."""
        return _mapping("model", self.model)

    def recipe(self) -> CropRecipe:
        """What training crops are made of."""
        return CropRecipe(**_known_fields("crops", self.crops, CropRecipe))

    def scene_recipe(self) -> SceneRecipe:
        """What dynamic scenes are like."""
        return SceneRecipe(**_known_fields("scenes", self.scenes, SceneRecipe))

    def record(self) -> dict[str, Any]:
        """All fields, with the nested ones parsed; folders by their last names only."""
        fields = dataclasses.asdict(self)
        for name in ("images", "validation_images", "objects", "label_maps"):
            fields[name] = [_last_names(folder) for folder in fields[name]]
        for name in ("start_from", "estimator"):
            fields[name] = fields[name] and _last_names(fields[name])
        del fields["output_dir"], fields["resume"]
        return {
            **fields,
            "model": self.model_fields(),
            "crops": dataclasses.asdict(self.recipe()),
            "scenes": dataclasses.asdict(self.scene_recipe()),
        }


def _last_names(folder: str) -> str:
    return "/".join(Path(folder).parts[-2:])


def _mapping(name: str, text: str | dict) -> dict[str, Any]:
    value = yaml.safe_load(text) if isinstance(text, str) else text
    if not isinstance(value, dict):
        raise BadInputError(f"{name} is {text!r}; it has to be a mapping such as '{{trajectory: quadratic}}'")
    return value


def _known_fields(name: str, text: str | dict, recipe: type) -> dict[str, Any]:
    given = _mapping(name, text)
    known = {entry.name for entry in dataclasses.fields(recipe)}
    for field_name in given:
        if field_name not in known:
            raise BadInputError(f"{name} has no field {field_name!r}; it has {', '.join(sorted(known))}")
    return given


def read_options(arguments: list[str]) -> TrainingOptions:
    """Read ``--config FILE`` if it is there, then the command line on top of it.

    Raises:
        BadInputError: the file is missing, not YAML, or has a field that does not exist.
    """
    arguments = list(arguments)
    from_file: list[str] = []
    if "--config" in arguments:
        place = arguments.index("--config")
        if place + 1 == len(arguments):
            raise BadInputError("--config wants a file, such as train/configs/etraj-quadratic.yaml")
        from_file = _as_arguments(Path(arguments[place + 1]))
        del arguments[place : place + 2]
    parser = HfArgumentParser(TrainingOptions, allow_abbrev=False)
    options, unknown = parser.parse_args_into_dataclasses(from_file + arguments, return_remaining_strings=True)
    if unknown:
        raise BadInputError(f"there is no option {unknown[0]!r}; train.py --help lists those there are")
    return options


def _as_arguments(path: Path) -> list[str]:
    try:
        fields = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); give a YAML config") from error
    except yaml.YAMLError as error:
        raise BadInputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if fields is not None and not isinstance(fields, dict):
        raise BadInputError(f"{path}: holds no mapping; give a YAML config of lines such as 'steps: 1000'")
    known = {entry.name for entry in dataclasses.fields(TrainingOptions)}
    arguments: list[str] = []
    for name, value in (fields or {}).items():
        if value is None:
            continue
        if name not in known:
            raise BadInputError(f"{path}: there is no field {name!r}; the fields are {', '.join(sorted(known))}")
        values = value if isinstance(value, list) else [yaml.safe_dump(value) if isinstance(value, dict) else value]
        arguments += [f"--{name}", *(str(item) for item in values)]
    return arguments

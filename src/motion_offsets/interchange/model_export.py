"""Models for programs without this package: ONNX for photos of any size, and ``torch.export`` programs.

The graphs hold standard operators only. An ONNX graph takes ``pixel_values`` ``(batch, 3, height, width)``, float32 in
[0, 1], and pads and crops by itself; a ``.pt2`` needs sides that are multiples of :func:`side_multiple`. With float16
the weights and what is computed from them are half precision; inputs, outputs and positions stay float32.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..errors import BadInputError
from ..io.atomic import whole_file
from ..models.configuration_etraj import is_estimator
from ..models.cores import DeblurrerCore, EstimatorCore, reduced_copy
from ..models.hub import resolve_name
from ..models.modeling_etraj import EtrajModel
from ..models.registry import MODELS
from ..runtime.extras import require

if TYPE_CHECKING:
    import onnx

FORMATS = (".onnx", ".pt2")
DTYPES = {"float32": torch.float32, "float16": torch.float16}
OPSET = 20  # the first in which GridSample's modes have their present names
IR_VERSION = 10  # what onnxruntime reads from 1.18 on
MIN_SIDE = 32
# Heights and widths, odd ones too, on which a written file is compared with its model.
CHECKED_SIZES = ((1, 64, 96), (2, 45, 37), (1, 83, 131))
# Largest differences allowed: of control points relative to the longest offset, and of a sharp frame.
TOLERANCES = {"float32": {"control_points": 1e-4, "sharp": 1e-3}, "float16": {"control_points": 0.02, "sharp": 0.02}}

Model = Any  # an estimator, or a deblurrer with the interface of models/deblurring.py


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far it is from the model: the largest absolute difference of each output.

    Args:
        path: the file.
        num_bytes: its length.
        differences: by name of the output, pixels for ``control_points``; empty where nothing could be compared.
    """

    path: Path
    num_bytes: int
    differences: dict[str, float]


def load_exportable(name: str | os.PathLike[str]) -> Model:
    """The estimator or the deblurrer of a bundled name, a folder, or ``org/name`` on the Hub.

    Raises:
        BadInputError: it is neither.
    """
    from transformers import PreTrainedConfig

    from ..models.hub import plain_errors

    source = resolve_name(name)
    with plain_errors(name):
        whole = (Path(source) / "model_index.json").is_file()
        kind = "pipeline" if whole else PreTrainedConfig.get_config_dict(source)[0].get("model_type")
    if kind not in MODELS:
        raise BadInputError(f"model '{os.fspath(name)}' is a {kind}; give an estimator or a deblurrer")
    found = MODELS[kind].model_class()
    if not getattr(found, "is_exportable", True):
        raise BadInputError(f"model '{os.fspath(name)}' is a {kind}, which cannot be exported; give another model")
    return found.from_pretrained(name).eval()


def side_multiple(model: Model) -> tuple[int, int]:
    """What height and width must be multiples of in a ``.pt2``."""
    if is_estimator(model):
        return EstimatorCore(cast(EtrajModel, model)).multiple
    rows, columns = DeblurrerCore(model, "linear").multiple
    if model.own_estimator is None:
        return rows, columns
    own = EstimatorCore(model.own_estimator).multiple
    return math.lcm(rows, own[0]), math.lcm(columns, own[1])


def export_model(model: Model, path: Path, dtype: str = "float32", control_points: bool = False) -> ExportReport:
    """Write a model as ``.onnx`` or ``.pt2``, whole or not at all, and compare the file with the model.

    Args:
        model: estimator (output ``control_points``) or deblurrer (``sharp``; motion-aware: ``control_points``, too).
        path: the file, ``.onnx`` or ``.pt2``.
        dtype: ``"float32"`` or ``"float16"``.
        control_points: the deblurrer takes them as a second input instead of asking its own estimator.

    Raises:
        BadInputError: another suffix or type, a missing package, or a place that cannot be written.
        RuntimeError: the file gives other results than the model; it is not kept.
    """
    check_export(path, dtype)
    _check_model(model, control_points)
    model = model.eval()
    reduced: Any = model if dtype == "float32" else reduced_copy(model, DTYPES[dtype])
    with whole_file(path) as partial, torch.no_grad(), _calm():
        if path.suffix.lower() == ".onnx":
            partial.write_bytes(onnx_model(reduced, control_points).SerializeToString())
            differences = _compare_onnx(partial, model, control_points)
        else:
            program = export_program(reduced, control_points)
            torch.export.save(program, partial)
            differences = _compare_program(partial, model, control_points)
        for name, (difference, scale) in differences.items():
            if not difference <= TOLERANCES[dtype][name] * scale:
                raise RuntimeError(f"{path}: {name} differs from the model by {difference:.2g}, so it was not kept")
        size = partial.stat().st_size
    return ExportReport(path, size, {name: difference for name, (difference, _) in differences.items()})


def check_export(path: Path, dtype: str) -> None:
    """Refuse a suffix or a type that is not offered, and ONNX without its packages."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise BadInputError(
            f"{path}: a model cannot be written in this format; use a name that ends in {' or '.join(FORMATS)}"
        )
    if dtype not in DTYPES:
        raise BadInputError(f"`dtype` {dtype!r} is not supported; give one of {', '.join(DTYPES)}")
    if suffix == ".onnx":
        require("ONNX", "onnx", "onnxscript")


def _check_model(model: Model, control_points: bool) -> None:
    if is_estimator(model):
        if control_points:
            raise BadInputError("only a deblurrer takes control points; leave `control_points` out")
        return
    if not model.uses_motion and control_points:
        raise BadInputError("this deblurrer uses no motion, so it takes no control points; leave `control_points` out")
    if model.uses_motion and not control_points:
        _estimator_of(model)
    _motion_of(model)


@contextmanager
def _calm() -> Iterator[None]:
    """Keep the exporters' notes about themselves off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


# --- torch.export


class _Whole(nn.Module):
    """A deblurrer with its own estimator; ``(B, 3, H, W)`` to sharp frame and control points."""

    def __init__(self, model: Model, trajectory: str) -> None:
        super().__init__()
        self.multiple = side_multiple(model)
        self.estimator, self.deblurrer = EstimatorCore(_estimator_of(model)), DeblurrerCore(model, trajectory)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        control_points = self.estimator(pixel_values)
        return self.deblurrer(pixel_values, control_points), control_points


def export_program(model: Model, control_points: bool = False) -> ExportedProgram:
    """A model as a ``torch.export`` program for any batch and sides that are multiples of :func:`side_multiple`.

    Its call takes ``pixel_values`` (and ``control_points``) and gives what :func:`output_names` lists, in that order.
    """
    if is_estimator(model):
        return _program(EstimatorCore(model), (3,))
    trajectory, channels = _motion_of(model)
    if channels and not control_points:
        return _program(_Whole(model, trajectory), (3,))
    alone = copy.deepcopy(model)
    alone.estimator = None  # which is not asked, and whose weights would be in the file
    return _program(DeblurrerCore(alone, trajectory), (3, channels) if channels else (3,))


def output_names(model: Model, control_points: bool = False) -> tuple[str, ...]:
    """The names of an exported model's outputs."""
    if is_estimator(model):
        return ("control_points",)
    return ("sharp", "control_points") if model.uses_motion and not control_points else ("sharp",)


def _estimator_of(model: Model) -> EtrajModel:
    if model.own_estimator is None:
        raise BadInputError(
            "this deblurrer carries no estimator; give one whose config has an estimator_config, or let the file take "
            "the motion as an input (`control_points`) if its config names a trajectory"
        )
    return model.own_estimator


def _motion_of(model: Model) -> tuple[str, int]:
    """Trajectory and number of channels of the control points that a deblurrer takes; 0 for one without motion."""
    if not model.uses_motion:
        return "linear", 0
    config = model.config if hasattr(model.config, "trajectory") else _estimator_of(model).config
    return config.trajectory, 2 * config.num_control_points


def _program(core: Any, channels: tuple[int, ...]) -> ExportedProgram:
    rows, columns = core.multiple
    most = 65536
    sizes = {
        0: Dim("batch", min=1, max=4096),
        2: rows * Dim("rows", min=max(1, MIN_SIDE // rows), max=most // rows),
        3: columns * Dim("columns", min=max(1, MIN_SIDE // columns), max=most // columns),
    }
    height, width = 3 * max(MIN_SIDE, rows), 4 * max(MIN_SIDE, columns)  # any sizes that differ
    inputs = tuple(torch.rand(2, count, height, width) for count in channels)
    return torch.export.export(core.eval(), inputs, dynamic_shapes=tuple(sizes for _ in inputs))


# --- ONNX


def onnx_model(model: Model, control_points: bool = False) -> onnx.ModelProto:
    """A model as an ONNX graph with dynamic ``batch``, ``height`` and ``width``, the weights inside."""
    from .onnx_graph import OnnxGraph

    graph = OnnxGraph(OPSET, IR_VERSION)
    photo = graph.input("pixel_values", 3)
    sizes = graph.sizes(photo)
    if is_estimator(model):
        graph.output(_add_estimator(graph, model, photo, sizes), "control_points", 2 * model.config.num_control_points)
        return graph.finish()
    trajectory, channels = _motion_of(model)
    core = DeblurrerCore(model, trajectory)
    inputs = [graph.pad(photo, sizes, core.multiple, core.padding)]
    points = ""
    if channels and control_points:
        points = graph.input("control_points", channels)
    elif channels:
        points = _add_estimator(graph, _estimator_of(model), photo, sizes)
    if points:
        inputs.append(graph.pad(points, sizes, core.multiple, core.padding))
    program = _program(core, (3, channels) if channels else (3,))
    graph.output(graph.crop(graph.add(_converted(program), "deblurrer", inputs), sizes), "sharp", 3)
    if points and not control_points:
        graph.output(points, "control_points", channels)
    return graph.finish()


def _add_estimator(graph: Any, model: EtrajModel, photo: str, sizes: str) -> str:
    core = EstimatorCore(model)
    padded = graph.pad(photo, sizes, core.multiple, core.padding)
    return graph.crop(graph.add(_converted(_program(core, (3,))), "estimator", [padded]), sizes)


def _converted(program: ExportedProgram) -> onnx.ModelProto:
    converted = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    assert converted is not None
    return converted.model_proto


# --- the comparison


def _photos(batch: int, height: int, width: int) -> Tensor:
    """Smooth noise: a photo has no checkerboards, whose motion is anybody's guess."""
    noise = torch.rand(batch, 3, height // 4 + 2, width // 4 + 2, generator=torch.Generator().manual_seed(height))
    return nn.functional.interpolate(noise, size=(height, width), mode="bilinear", align_corners=False)


def _points(model: Model, photos: Tensor) -> Tensor:
    """Control points: those of the deblurrer's own estimator, or a smooth motion of a few pixels."""
    if model.own_estimator is not None:
        return model.own_estimator(photos).control_points
    channels = _motion_of(model)[1]
    return 8 * photos[:, :1].sub(0.5) * torch.linspace(-1, 1, channels).view(1, -1, 1, 1)


def _expected(model: Model, photos: Tensor, points: Tensor | None) -> tuple[Tensor, ...]:
    """What the model itself says, with the plain twins, in the order of :func:`output_names`."""
    if is_estimator(model):
        return (model(photos, output_motion_offsets=False).control_points,)
    if points is not None:
        return (model.sharpen(photos, points, _motion_of(model)[0], as_exported=True),)
    sharp = model(photos).sharp
    return (sharp,) if model.own_estimator is None else (sharp, model.own_estimator(photos).control_points)


def _worst(
    model: Model, control_points: bool, sizes: tuple[tuple[int, int, int], ...], run: Any
) -> dict[str, tuple[float, float]]:
    """By name of the output: the largest difference, and what the tolerance is relative to."""
    names = output_names(model, control_points)
    worst = dict.fromkeys(names, (0.0, 1.0))
    for size in sizes:
        photos = _photos(*size)
        points = None
        if control_points and not is_estimator(model):
            points = _points(model, photos)
        inputs = [photos] if points is None else [photos, points]
        expected = _expected(model, photos, points)
        for name, wanted, found in zip(names, expected, run(inputs), strict=True):
            if found.shape != wanted.shape:
                raise RuntimeError(f"{name} has shape {tuple(found.shape)} and not {tuple(wanted.shape)}")
            difference = float((found - wanted).abs().max())
            scale = max(1.0, float(wanted.abs().max())) if name == "control_points" else 1.0
            if not difference <= worst[name][0]:  # so that NaN counts as the worst
                worst[name] = (difference, max(scale, worst[name][1]))
    return worst


def _compare_onnx(path: Path, model: Model, control_points: bool) -> dict[str, tuple[float, float]]:
    if importlib.util.find_spec("onnxruntime") is None:
        return {}
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: list[Tensor]) -> list[Tensor]:
        names = [each.name for each in session.get_inputs()]
        feed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return _worst(model, control_points, CHECKED_SIZES, run)


def _compare_program(path: Path, model: Model, control_points: bool) -> dict[str, tuple[float, float]]:
    program: Any = torch.export.load(path).module()
    rows, columns = side_multiple(model)
    sizes = tuple((batch, -(-h // rows) * rows, -(-w // columns) * columns) for batch, h, w in CHECKED_SIZES)

    def run(inputs: list[Tensor]) -> list[Tensor]:
        outputs = program(*inputs)
        return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]

    return _worst(model, control_points, sizes, run)

"""One switch for speed: fast copies of a pipeline's networks, reduced, channels last and compiled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInputError
from ..models.cores import (
    DeblurrerCore,
    EstimatorCore,
    pad_to_multiple,
    reduced_copy,
)
from ..models.modeling_etraj import EtrajModel
from ..runtime.allocation import keep_freed_memory
from ..runtime.devices import fast_dtype

_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class OptimizationReport:
    """What :meth:`BlurToVideoPipeline.optimize` did.

    Args:
        device: where the networks are.
        dtype: what they compute in; positions stay float32.
        channels_last: always: the layout in which convolutions are fast.
        compiled: whether they go through ``torch.compile``.
        cuda_graphs: whether a whole network is launched as one CUDA graph for each size of photo.
        keeps_memory: whether the process reuses what tensors on the CPU have freed, see :mod:`.allocation`.
    """

    device: str
    dtype: str
    channels_last: bool
    compiled: bool
    cuda_graphs: bool
    keeps_memory: bool


class OptimizedNetworks:
    """Fast copies of the networks of a pipeline, made once; both calls take photos of any size.

    Args:
        estimator: of the pipeline.
        deblurrer: of the pipeline, or ``None``.
        dtype: ``None`` chooses by the device, see :func:`fast_dtype`.
        compile: ``None`` compiles on CUDA.
        backend: of ``torch.compile``; CUDA graphs come with ``"inductor"`` alone.
        agree: whether the deblurrer carries the pipeline's own estimator.
    """

    def __init__(
        self,
        estimator: EtrajModel,
        deblurrer: Any,
        dtype: torch.dtype | None,
        compile: bool | None,
        backend: str,
        agree: bool,
    ) -> None:
        for model in (estimator, deblurrer):
            if hasattr(model, "_hf_hook"):
                raise BadInputError(
                    "this pipeline uses offloading, which fast copies do not support; optimize it without"
                )
        device = estimator.device
        dtype = fast_dtype(device) if dtype is None else dtype
        if dtype not in _TYPES:
            raise BadInputError(f"dtype is {dtype}; it must be one of {', '.join(map(str, _TYPES))}")
        compiled = device.type == "cuda" and importlib.util.find_spec("triton") is not None
        compiled = compiled if compile is None else compile
        self._graphs = compiled and device.type == "cuda" and backend == "inductor"
        self._options: dict[str, Any] | None = None
        if compiled:
            self._options = {"backend": backend, **({"mode": "reduce-overhead"} if self._graphs else {})}
        self.agree = agree
        trajectory = estimator.config.trajectory
        self._estimator = self._prepare(EstimatorCore(_fast_copy(estimator, dtype), uncertainty=True))
        self._own_estimator: Callable[..., Tensor] | None = None
        self._deblurrers: dict[str, Callable[..., Tensor]] = {}  # by the trajectory of the motion given
        if deblurrer is not None:
            own = deblurrer.own_estimator
            copied = _fast_copy(deblurrer, dtype)
            self._deblurrers[trajectory] = self._prepare(DeblurrerCore(copied, trajectory))
            if own is not None:
                self._own_estimator = self._prepare(EstimatorCore(copied.own_estimator))
                if own.config.trajectory != trajectory:
                    core = DeblurrerCore(copied, own.config.trajectory)
                    self._deblurrers[own.config.trajectory] = self._prepare(core)
        kept = device.type == "cpu" and keep_freed_memory()
        self.report = OptimizationReport(
            str(device), str(dtype).removeprefix("torch."), True, bool(compiled), bool(self._graphs), kept
        )

    def estimate(self, pixel_values: Tensor) -> Tensor:
        """Control points and uncertainty of photos ``(B, 3, H, W)``; see :func:`~motion_offsets.models.cores.
        estimated_maps`."""
        return self._estimator(pixel_values)

    def estimate_for_deblurrer(self, pixel_values: Tensor) -> Tensor:
        """Control points ``(B, 2K, H, W)`` by the estimator that the deblurrer carries."""
        assert self._own_estimator is not None
        return self._own_estimator(pixel_values)

    def deblur(self, pixel_values: Tensor, control_points: Tensor | None, trajectory: str) -> Tensor:
        """Sharp frames ``(B, 3, H, W)``, float32, not clamped; a deblurrer that uses no motion is given none."""
        inputs = [pixel_values] if control_points is None else [pixel_values, control_points]
        return self._deblurrers[trajectory](*inputs)

    def _prepare(self, core: EstimatorCore | DeblurrerCore) -> Callable[..., Tensor]:
        return _Prepared(core, self._options, self._graphs)


class _Prepared:
    """A network on photos of any size, compiled or not; another process gets it not yet compiled.

    Args:
        core: the network.
        options: of ``torch.compile``; ``None`` leaves it as it is.
        graphs: whether it is launched as CUDA graphs.
    """

    def __init__(self, core: Any, options: dict[str, Any] | None, graphs: bool) -> None:
        self.core, self.options, self.graphs = core, options, graphs
        # Sizes become dynamic at the second one: a camera's photos, all of one size, get code for just that.
        self.run: Callable[..., Tensor] = core if options is None else torch.compile(core, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.core, self.options, self.graphs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        height, width = inputs[0].shape[2:]
        padded = [pad_to_multiple(each, self.core.multiple, self.core.padding) for each in inputs]
        padded = [each.contiguous(memory_format=torch.channels_last) for each in padded]
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        result = self.run(*padded)[..., :height, :width]
        # A CUDA graph writes its next result over this one.
        return result.clone() if self.graphs else result


def _fast_copy(model: Any, dtype: torch.dtype) -> Any:
    copied: Any = reduced_copy(model, dtype)
    return copied.to(memory_format=torch.channels_last).requires_grad_(False)

"""The networks of a pipeline on photos of any size: in tiles that fit into memory, as they are or made fast."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import BadInputError
from ..exposure.blending import leave_still
from ..exposure.colour_means import keep_colour_means
from ..exposure.deconvolution import deconvolve
from ..exposure.octaves import estimate_in_octaves, sharpen_in_octaves
from ..exposure.trajectories import align_time_to
from ..models.cores import estimated_maps
from ..models.modeling_etraj import EtrajModel
from ..runtime.allocation import keep_freed_memory
from ..runtime.memory import (
    DECONVOLUTION_BYTES,
    DEFAULT_MAX_MEMORY,
    ESTIMATOR_BYTES,
    check_photo_fits,
    tile_pixels,
)
from ..runtime.tiling import DECONVOLUTION_MARGIN, run_tiled
from .exposure_steps import ExposureMixin
from .optimization import OptimizationReport, OptimizedNetworks

Progress = Callable[[int, int], None]
Pipeline = TypeVar("Pipeline", bound="TiledNetworksMixin")


class TiledNetworksMixin(ExposureMixin):
    """Estimator and deblurrer of a pipeline, which has them as attributes; put it before diffusers' class."""

    deblurrer: Any  # a DeblurrerMixin, or None
    _fast: OptimizedNetworks | None = None  # what optimize() made

    @torch.no_grad()
    def estimate_motion(
        self,
        pixel_values: Tensor,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        on_tile: Progress | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The motion in photos, by the estimator.

        Args:
            pixel_values: ``(B, 3, H, W)`` in [0, 1].
            max_memory, dtype: see :meth:`BlurToVideoPipeline.__call__`.
            on_tile: called with the number of tiles done and of all tiles.

        Returns:
            Control points ``(B, 2K, H, W)`` in pixels, float32, and their uncertainty ``(B, 1, H, W)`` in pixels: how
            far the ends of the paths are expected to be off; ``None`` if the estimator does not predict it.
        """

        fast = None if self._fast is None else self._fast.estimate
        found = self._estimated_maps(self.estimator, fast, pixel_values, max_memory, dtype, on_tile)
        channels = 2 * self.estimator.config.num_control_points
        return found[:, :channels], found[:, channels:] if self.estimator.config.predicts_uncertainty else None

    def _estimated_maps(
        self,
        estimator: EtrajModel,
        fast: Callable[[Tensor], Tensor] | None,
        pixel_values: Tensor,
        max_memory: float,
        dtype: torch.dtype | None,
        on_tile: Progress | None = None,
    ) -> Tensor:
        """What :func:`estimated_maps` gives, of photos of any size, by an estimator or its fast copy."""
        channels, trajectory = 2 * estimator.config.num_control_points, estimator.config.trajectory

        def motion(tile: Tensor) -> Tensor:
            if fast is not None and dtype is None:
                return fast(tile)
            with _autocast(tile, dtype):
                return estimated_maps(estimator, _network_input(tile, estimator))

        def agree(maps: Tensor, reference: Tensor) -> Tensor:
            # Two tiles may see one motion in opposite directions of time, and their mean would be no motion at all.
            points = align_time_to(maps[:, :channels], reference[:, :channels], trajectory)
            return torch.cat([points, maps[:, channels:]], 1)

        # While a reduced photo is looked at, the whole one is held.
        most = _tile_pixels(pixel_values, max_memory, ESTIMATOR_BYTES)

        def tiled(photos: Tensor) -> Tensor:
            told = _told(on_tile, photos.shape == pixel_values.shape)
            return run_tiled(motion, photos, most, estimator.tile_margin, told, agree)

        return estimate_in_octaves(tiled, pixel_values, channels, trajectory)

    def estimate(self, pixel_values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The control points alone of :meth:`estimate_motion`, which takes the same arguments."""
        return self.estimate_motion(pixel_values, *args, **kwargs)[0]

    @torch.no_grad()
    def deblur(
        self,
        pixel_values: Tensor,
        control_points: Tensor | None = None,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        on_tile: Progress | None = None,
    ) -> Tensor:
        """Sharp frames ``(B, 3, H, W)``, float32 in [0, 1], of photos ``(B, 3, H, W)``, whose mean colours they keep
        but for what leaves [0, 1].

        Along long paths they are made in the reduced photo, see :mod:`motion_offsets.exposure.octaves`; what stood
        still is left as it is, see :func:`~motion_offsets.exposure.blending.leave_still`. A deblurrer
        that carries its own estimator, fine-tuned with it, finds the motion by that unless ``control_points``, as
        :meth:`estimate` gives them, are handed over.
        """
        deblurrer = self.deblurrer
        if deblurrer is None:
            raise BadInputError("this pipeline has no deblurrer; load one that has")
        trajectory = self.trajectory
        if deblurrer.uses_motion and control_points is None:
            control_points, trajectory = self._motion_for_deblurrer(pixel_values, max_memory, dtype)

        def sharp(photo: Tensor, points: Tensor | None = None) -> Tensor:
            if self._fast is not None and dtype is None:
                return self._fast.deblur(photo, points, trajectory)
            with _autocast(photo, dtype):
                return deblurrer.sharpen(_network_input(photo, deblurrer), points, trajectory)

        # While a reduced photo is looked at, the whole one is held.
        most = _tile_pixels(pixel_values, max_memory, deblurrer.tile_bytes)

        def tiled(*maps: Tensor) -> Tensor:
            told = _told(on_tile, maps[0].shape == pixel_values.shape)
            return run_tiled(sharp, maps, most, deblurrer.tile_margin, told, alignment=deblurrer.tile_alignment)

        if not deblurrer.uses_motion or control_points is None:
            return keep_colour_means(pixel_values, tiled(pixel_values)).clamp_(0, 1)
        result = sharpen_in_octaves(tiled, pixel_values, control_points, trajectory)
        result = keep_colour_means(pixel_values, result).clamp_(0, 1)
        return leave_still(pixel_values, result, control_points, trajectory)

    def _motion_for_deblurrer(
        self, pixel_values: Tensor, max_memory: float, dtype: torch.dtype | None
    ) -> tuple[Tensor, str]:
        """Control points by the estimator that the deblurrer carries, else by the pipeline's, and their trajectory."""
        own = self.deblurrer.own_estimator
        if own is None:
            return self.estimate(pixel_values, max_memory, dtype), self.trajectory
        fast = None if self._fast is None else self._fast.estimate_for_deblurrer
        maps = self._estimated_maps(own, fast, pixel_values, max_memory, dtype)
        return maps[:, : 2 * own.config.num_control_points], own.config.trajectory

    def deconvolve(
        self,
        pixel_values: Tensor,
        control_points: Tensor,
        max_memory: float = DEFAULT_MAX_MEMORY,
        on_tile: Progress | None = None,
        **options: Any,
    ) -> Tensor:
        """Sharp frames ``(B, 3, H, W)`` without a network: the images that, blurred along ``control_points``, best
        explain the photos; options as in :func:`~motion_offsets.exposure.deconvolution.deconvolve`."""
        config = self.estimator.config
        light = {"padding_mode": config.padding_mode, "gamma": config.gamma, **options}
        basis = self.exposure_basis(control_points)
        tile_pixels = _tile_pixels(pixel_values, max_memory, DECONVOLUTION_BYTES)
        maps = [pixel_values, control_points]
        return run_tiled(partial(deconvolve, basis=basis, **light), maps, tile_pixels, DECONVOLUTION_MARGIN, on_tile)

    @property
    def estimators_agree(self) -> bool:
        """Whether the deblurrer carries the pipeline's own estimator, so that one run of it serves both."""
        if self._fast is not None:  # comparing weights makes a GPU wait
            return self._fast.agree
        carried = None if self.deblurrer is None else self.deblurrer.own_estimator
        if carried is None or carried.config.trajectory != self.trajectory or carried.device != self.estimator.device:
            return False
        if carried.config.scales != self.estimator.config.scales:
            return False
        one, other = carried.state_dict(), self.estimator.state_dict()
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    def optimize(
        self: Pipeline, dtype: torch.dtype | None = None, compile: bool | None = None, backend: str = "inductor"
    ) -> Pipeline:
        """Compute with fast copies of the networks from now on; :attr:`optimization` says what was done.

        The networks themselves, and so what ``save_pretrained`` writes, stay as they are; what is done to them later
        shows only after another call. Results differ by rounding. Compiling takes its time at the first photo, once
        more at the first of another size, and with CUDA graphs a little at each new size.

        Args:
            dtype: ``torch.bfloat16``, ``torch.float16`` or ``torch.float32``; by default bfloat16 on a GPU that has it
                and on a CPU with AMX or AVX512-BF16, else float32.
            compile: whether to use ``torch.compile``, on CUDA with CUDA graphs; by default on CUDA only.
            backend: of ``torch.compile``.

        Returns:
            The pipeline itself. :meth:`unoptimize` undoes it.
        """
        self._fast = None
        self._fast = OptimizedNetworks(self.estimator, self.deblurrer, dtype, compile, backend, self.estimators_agree)
        return self

    def unoptimize(self: Pipeline) -> Pipeline:
        """Compute with the networks as they are again."""
        if self._fast is not None and self._fast.report.keeps_memory:
            keep_freed_memory(False)
        self._fast = None
        return self

    @property
    def optimization(self) -> OptimizationReport | None:
        """What :meth:`optimize` did; ``None`` for a pipeline as it is."""
        return None if self._fast is None else self._fast.report

    def check_fits(self, max_memory: float, pixels: int, deblurs: bool = True) -> None:
        """Raise :class:`BadInputError` for a photo of this number of pixels if it would need more memory."""
        check_photo_fits(max_memory, pixels, self.tile_bytes if deblurs else ESTIMATOR_BYTES)

    @property
    def tile_bytes(self) -> float:
        """Memory that the larger of the networks needs at its peak, bytes per pixel of a tile."""
        return ESTIMATOR_BYTES if self.deblurrer is None else max(ESTIMATOR_BYTES, self.deblurrer.tile_bytes)


def _told(on_tile: Progress | None, is_whole: bool) -> Progress | None:
    """What is called after the tiles of the whole photo, or of a reduced one: with these, its own have not begun."""
    return on_tile if on_tile is None or is_whole else lambda done, total: on_tile(0, 1)


def _tile_pixels(pixel_values: Tensor, max_memory: float, network_bytes: float) -> int:
    batch, _, height, width = pixel_values.shape
    return tile_pixels(max_memory, height * width, network_bytes, batch, pixel_values.device.type == "cpu")


def _network_input(tile: Tensor, network: PreTrainedModel) -> Tensor:
    # On a CPU, convolutions on channels-last maps take about half the time.
    return tile.to(network.dtype).contiguous(memory_format=torch.channels_last)


def _autocast(tensor: Tensor, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast(tensor.device.type, dtype=dtype)

"""From one blurred photo to its trajectories, a sharp frame and a clip of any number of frames (§5.2, eq. 17)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import BadInputError, counted
from ..exposure.blending import blend_back
from ..exposure.blur import expose
from ..exposure.camera_modes import AUTO, check_camera_mode
from ..exposure.consistency import Consistency, assess
from ..exposure.deconvolution import deconvolve
from ..exposure.refinement import check_refine_steps, refine, working_scale
from ..exposure.trajectories import (
    align_time_to,
    check_timestamps,
    offsets_at,
    sample_times,
    samples_needed,
    trajectory_basis,
)
from ..models.cores import estimated_maps
from ..models.hub import plain_errors, resolve_name, snapshot
from ..models.hub_errors import PushToHubMixin, hub_errors
from ..models.image_processing_motion_offsets import OUTPUT_TYPES, MotionOffsetsImageProcessor
from ..models.modeling_etraj import EtrajModel
from ..models.remote_code import LIBRARY, write_pipeline_code
from ..runtime.allocation import keep_freed_memory
from ..runtime.memory import (
    DECONVOLUTION_BYTES,
    DEFAULT_MAX_MEMORY,
    ESTIMATOR_BYTES,
    check_photo_fits,
    tile_pixels,
)
from ..runtime.tiling import DECONVOLUTION_MARGIN, ESTIMATOR_MARGIN, run_tiled
from .answer import Answer, answer
from .loading import load_components
from .optimization import OptimizationReport, OptimizedNetworks
from .output import BlurToVideoOutput, as_list, frame_times, stack

Progress = Callable[[int, int], None]


class BlurToVideoPipeline(PushToHubMixin, DiffusionPipeline):
    """Estimator, deblurrer and image processor joined: blurred photo in; trajectories, sharp frame and clip out.

    One photo cannot tell a motion from its reversal, so the clip may run backwards; within a clip all regions run the
    same way. The frames are the sharp frame moved along the trajectories, so the frame at t = 0 is the sharp frame.

    Args:
        estimator: predicts the trajectories.
        deblurrer: any :class:`~motion_offsets.models.deblurring.DeblurrerMixin`, makes the sharp frame; without one,
            each call must bring ``sharp_image``.
        processor: turns photos into tensors and back; by default a new one.

    Example:
        >>> pipe = BlurToVideoPipeline.from_pretrained("blur-to-video")
        >>> result = pipe("photo.jpg", num_frames=15)
        >>> result.sharp[0].save("sharp.png")
    """

    estimator: EtrajModel
    deblurrer: Any  # a DeblurrerMixin, or None
    processor: MotionOffsetsImageProcessor

    model_cpu_offload_seq = "estimator->deblurrer"
    _fast: OptimizedNetworks | None = None  # what optimize() made
    camera: str = AUTO  # what becomes of the camera's own motion in answers that are not asked for anything else
    _optional_components = ["deblurrer", "processor"]

    def __init__(
        self,
        estimator: EtrajModel,
        deblurrer: Any = None,
        processor: MotionOffsetsImageProcessor | None = None,
    ) -> None:
        super().__init__()
        processor = MotionOffsetsImageProcessor() if processor is None else processor
        self.register_modules(estimator=estimator, deblurrer=deblurrer, processor=processor)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """The pipeline of a plain name (``"blur-to-video"`` needs no network), a folder, or ``org/name`` on the Hub.

        Args:
            pretrained_model_name_or_path: the name.
            kwargs: ``dtype`` or ``torch_dtype`` (float32), one for all or ``{"estimator": ..., "default": ...}``;
                ``device_map``, a device, ``"balanced"`` (the GPU where there is one) or ``{"estimator": ...}``;
                ``variant``, as given to ``save_pretrained``; ``estimator``, ``deblurrer`` or ``processor`` instead of
                the saved ones; for the Hub ``revision``, ``cache_dir``, ``token``, ``local_files_only``,
                ``force_download``. ``use_safetensors`` may be true, as nothing else is read.

        Raises:
            BadInputError: the name is unknown, the files are missing, unreadable or do not fit each other, or an
                option is not one of these.
        """
        with plain_errors(pretrained_model_name_or_path):
            folder = snapshot(resolve_name(pretrained_model_name_or_path), kwargs)
            components = load_components(folder, kwargs)
            if kwargs:
                raise BadInputError(f"{next(iter(kwargs))} is not an option of this pipeline; leave it out")
            return cls(**components)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in diffusers. With ``push_to_hub=True``, a failed upload is a :class:`BadInputError`."""
        folder = os.fspath(save_directory)
        repo = kwargs.get("repo_id", Path(folder).name)
        with hub_errors(f"push_to_hub {repo}") if kwargs.get("push_to_hub") else nullcontext():
            super().save_pretrained(folder, *args, **kwargs)

    def save_config(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """The last step of ``save_pretrained``; the code goes with it, for whoever has not installed this package."""
        components = {name: type(part) for name, part in self.components.items() if part is not None}
        self.register_to_config(**{name: (LIBRARY, cls.__name__) for name, cls in components.items()})
        super().save_config(save_directory, *args, **kwargs)
        write_pipeline_code(Path(save_directory), type(self), components)

    @property
    def trajectory(self) -> str:
        """Trajectory of the control points, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`."""
        return self.estimator.config.trajectory

    @property
    def num_samples(self) -> int:
        """N, the number of samples of an exposure."""
        return self.estimator.config.num_samples

    def optimize(
        self, dtype: torch.dtype | None = None, compile: bool | None = None, backend: str = "inductor"
    ) -> BlurToVideoPipeline:
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

    def unoptimize(self) -> BlurToVideoPipeline:
        """Compute with the networks as they are again."""
        if self._fast is not None and self._fast.report.keeps_memory:
            keep_freed_memory(False)
        self._fast = None
        return self

    @property
    def optimization(self) -> OptimizationReport | None:
        """What :meth:`optimize` did; ``None`` for a pipeline as it is."""
        return None if self._fast is None else self._fast.report

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """As in diffusers; a pipeline that was optimized must be optimized again for where it is then."""
        self.unoptimize()
        return super().to(*args, **kwargs)

    @property
    def estimators_agree(self) -> bool:
        """Whether the deblurrer carries the pipeline's own estimator, so that one run of it serves both."""
        if self._fast is not None:  # comparing weights makes a GPU wait
            return self._fast.agree
        carried = None if self.deblurrer is None else self.deblurrer.own_estimator
        if carried is None or carried.config.trajectory != self.trajectory or carried.device != self.estimator.device:
            return False
        one, other = carried.state_dict(), self.estimator.state_dict()
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        num_frames: int = 15,
        timestamps: Sequence[float] | None = None,
        sharp_image: Any = None,
        output_type: str = "pil",
        share_offsets: bool = False,
        refine_steps: int = 0,
        safe: bool = False,
        camera: str | None = None,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        return_dict: bool = True,
    ) -> BlurToVideoOutput | tuple[Any, ...]:
        """Extract the motion, the sharp frame and a clip of each photo.

        Args:
            image: a photo or a list of them: PIL picture, NumPy array ``(H, W, 3)``, tensor ``(3, H, W)``, path; an
                array or tensor with four dimensions is a batch. Sizes may differ.
            num_frames: T, the number of frames, at least 2, spread evenly from t = -1 to t = 1.
            timestamps: the times of the frames in [-1, 1] instead; ``num_frames`` is then ignored.
            sharp_image: the sharp frames from any other deblurrer, one per photo and of its size.
            output_type: ``"pil"``, ``"np"`` or ``"pt"``.
            share_offsets: hand the estimator's offsets to the deblurrer even if it carries another estimator.
            refine_steps: number of steps, such as 20, that fit the motion to the photo once the sharp frame is known;
                see :mod:`motion_offsets.exposure.refinement`.
            safe: blend the sharp frame back towards the photo where the motion does not explain it; see
                :mod:`motion_offsets.exposure.blending`.
            camera: ``"auto"``, as by default: paths are the camera's where its motion explains them or nothing is
                textured; ``"only"``: everywhere; ``"off"``: nowhere. See :mod:`motion_offsets.exposure.camera`.
            max_memory: bytes that a photo may need; a larger one is processed in overlapping tiles. The result is not
                counted: all its frames and their offsets are kept, T * (3 + 2) values per pixel.
            dtype: compute the networks under autocast to this type, ``torch.bfloat16`` say, passing by what
                :meth:`optimize` made; ``None``: as they are, or as that made them.
            return_dict: ``False`` gives the output's fields as a tuple.

        Raises:
            BadInputError: an argument or a photo cannot be used; the message says what would be right.
        """
        # 0. Refuse what cannot work before anything is computed
        times = frame_times(num_frames) if timestamps is None else [float(time) for time in timestamps]
        photos, sharps = as_list(image), None if sharp_image is None else as_list(sharp_image)
        self.check_inputs(photos, times, sharps, output_type)
        check_refine_steps(refine_steps)
        check_camera_mode(self.camera if camera is None else camera)

        found: dict[str, list[Any]] = {name: [] for name in BlurToVideoOutput.__dataclass_fields__}
        with self.progress_bar(total=len(photos) * (2 + len(times))) as progress:
            for index, photo in enumerate(photos):
                # 1. One photo at a time, so that no photo's answer depends on its neighbours in the batch
                pixel_values = self.preprocess(photo)
                self.check_fits(max_memory, pixel_values[0, 0].numel(), deblurs=sharps is None)
                # 2. Motion, sharp frame, one direction of time, and what both make of the photo
                given = None if sharps is None else self.preprocess_sharp(sharps[index], pixel_values)
                answer = self.answer(
                    pixel_values,
                    given,
                    share_offsets=share_offsets or self.estimators_agree,
                    refine_steps=refine_steps,
                    safe=safe,
                    camera=camera,
                    keep_reblurred=True,
                    max_memory=max_memory,
                    dtype=dtype,
                )
                sharp, control_points = answer.sharp, answer.control_points
                assert sharp is not None
                assert answer.reblurred is not None
                progress.update(2)
                # 3. Frames: the sharp frame moved along the trajectories
                frames = []
                for time in times:
                    frames += self.post_process(self.frame_at(sharp, control_points, time), output_type)
                    progress.update()
                # 4. Collect in the form asked for
                found["frames"].append(stack(frames, output_type))
                found["sharp"] += self.post_process(sharp, output_type)
                found["reblurred"] += self.post_process(answer.reblurred, output_type)
                found["consistency"] += answer.consistency
                found["cameras"] += answer.cameras or [None]
                found["control_points"].append(control_points[0])
                found["motion_offsets"].append(offsets_at(control_points, times, self.trajectory)[0])

        self.maybe_free_model_hooks()
        output = BlurToVideoOutput(**found)
        return output if return_dict else output.to_tuple()

    def answer(self, pixel_values: Tensor, sharp: Tensor | None = None, **options: Any) -> Answer:
        """Motion, sharp frame and their comparison with the photo, for photos of one size: what every command, every
        benchmark and the page ask for.

        Args:
            pixel_values: the photos, ``(B, 3, H, W)`` on the pipeline's device, in [0, 1].
            sharp: sharp frames from elsewhere, of the same shape.
            method: where the sharp frames come from if none are given: ``"network"``, the deblurrer; ``"map"``, a
                deconvolution along the motion; ``"none"``: none are made.
            share_offsets: whether the deblurrer gets the estimator's motion even if it carries an estimator; by
                default where both are the same.
            refine_steps, safe, camera, max_memory, dtype: see :meth:`__call__`.
            keep_reblurred: whether the answer holds ``reblurred``.
            on_step: called with the name of a step (:data:`.answer.STEPS`), how much of it is done and how much there
                is.
            part: a context manager for each step by name, to time it.

        Raises:
            BadInputError: a deblurrer is needed and missing, or an option cannot be used.
        """
        return answer(self, pixel_values, sharp, **options)

    def check_fits(self, max_memory: float, pixels: int, deblurs: bool = True) -> None:
        """Raise :class:`BadInputError` for a photo of this number of pixels if it would need more memory."""
        check_photo_fits(max_memory, pixels, self.tile_bytes if deblurs else ESTIMATOR_BYTES)

    @property
    def tile_bytes(self) -> float:
        """Memory that the larger of the networks needs at its peak, bytes per pixel of a tile."""
        return ESTIMATOR_BYTES if self.deblurrer is None else max(ESTIMATOR_BYTES, self.deblurrer.tile_bytes)

    def check_inputs(
        self, photos: list[Any], times: Sequence[float], sharps: list[Any] | None, output_type: str
    ) -> None:
        """Raise :class:`BadInputError` for arguments that cannot work."""
        if output_type not in OUTPUT_TYPES:
            raise BadInputError(f"output_type is {output_type!r}; it must be one of {', '.join(OUTPUT_TYPES)}")
        if not photos:
            raise BadInputError("image is an empty list; give at least one photo")
        if not times:
            raise BadInputError("timestamps are empty; give at least one time from -1 to 1")
        check_timestamps(times)
        if sharps is not None and len(sharps) != len(photos):
            given, wanted = counted(len(sharps), "picture"), counted(len(photos), "photo")
            raise BadInputError(f"sharp_image has {given} for {wanted}; give one per photo")
        if sharps is None and self.deblurrer is None:
            raise BadInputError("this pipeline has no deblurrer; give sharp_image, or load one with a deblurrer")

    def preprocess(self, photo: Any) -> Tensor:
        """A photo as ``(1, 3, H, W)`` float32 on the pipeline's device, values in [0, 1]."""
        return self.processor([photo], return_tensors="pt")["pixel_values"].to(self._execution_device)

    def preprocess_sharp(self, sharp_image: Any, pixel_values: Tensor) -> Tensor:
        """A sharp frame that was made elsewhere, like :meth:`preprocess`; it must have the photo's size."""
        sharp = self.preprocess(sharp_image)
        if sharp.shape != pixel_values.shape:
            raise BadInputError(
                f"sharp_image is {sharp.shape[3]}x{sharp.shape[2]} and its photo {pixel_values.shape[3]}x"
                f"{pixel_values.shape[2]}; both must be of one size"
            )
        return sharp

    def post_process(self, pixel_values: Tensor, output_type: str = "pil") -> list[Any]:
        """``(B, 3, H, W)`` as a list of B pictures of the output type."""
        return self.processor.post_process(pixel_values, output_type=output_type)

    @torch.no_grad()
    def estimate(
        self,
        pixel_values: Tensor,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        on_tile: Progress | None = None,
    ) -> Tensor:
        """Control points ``(B, 2K, H, W)`` in pixels, float32, of photos ``(B, 3, H, W)``; see :meth:`__call__`."""
        return self.estimate_motion(pixel_values, max_memory, dtype, on_tile)[0]

    @torch.no_grad()
    def estimate_motion(
        self,
        pixel_values: Tensor,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        on_tile: Progress | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Control points, as :meth:`estimate` gives them, and their uncertainty ``(B, 1, H, W)`` in pixels: how far
        the ends of the paths are expected to be off; ``None`` if the estimator does not predict it."""

        def motion(tile: Tensor) -> Tensor:
            if self._fast is not None and dtype is None:
                return self._fast.estimate(tile)
            with _autocast(tile, dtype):
                return estimated_maps(self.estimator, _network_input(tile, self.estimator))

        channels = 2 * self.estimator.config.num_control_points

        def agree(maps: Tensor, reference: Tensor) -> Tensor:
            # Two tiles may see one motion in opposite directions of time, and their mean would be no motion at all.
            points = align_time_to(maps[:, :channels], reference[:, :channels], self.trajectory)
            return torch.cat([points, maps[:, channels:]], 1)

        tile_pixels = _tile_pixels(pixel_values, max_memory, ESTIMATOR_BYTES)
        found = run_tiled(motion, pixel_values, tile_pixels, ESTIMATOR_MARGIN, on_tile, agree)
        return found[:, :channels], found[:, channels:] if self.estimator.config.predicts_uncertainty else None

    @torch.no_grad()
    def deblur(
        self,
        pixel_values: Tensor,
        control_points: Tensor | None = None,
        max_memory: float = DEFAULT_MAX_MEMORY,
        dtype: torch.dtype | None = None,
        on_tile: Progress | None = None,
    ) -> Tensor:
        """Sharp frames ``(B, 3, H, W)``, float32 in [0, 1], of photos ``(B, 3, H, W)``.

        A deblurrer that carries its own estimator, fine-tuned with it, finds the motion itself unless
        ``control_points``, as :meth:`estimate` gives them, are handed over. One without must be given them.
        """
        deblurrer = self.deblurrer
        if deblurrer is None:
            raise BadInputError("this pipeline has no deblurrer; load one that has")
        if not deblurrer.uses_motion:
            control_points = None
        elif control_points is None and deblurrer.own_estimator is None:
            control_points = self.estimate(pixel_values, max_memory, dtype)

        def sharp(photo: Tensor, points: Tensor | None = None) -> Tensor:
            if self._fast is not None and dtype is None:
                return self._fast.deblur(photo, points)
            with _autocast(photo, dtype):
                return deblurrer.sharpen(_network_input(photo, deblurrer), points, self.trajectory)

        maps = [pixel_values] if control_points is None else [pixel_values, control_points]
        margin = deblurrer.tile_margin(motion_given=control_points is not None)
        most = _tile_pixels(pixel_values, max_memory, deblurrer.tile_bytes)
        result = run_tiled(sharp, maps, most, margin, on_tile, alignment=deblurrer.tile_alignment)
        return result.clamp_(0, 1)

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

    @torch.no_grad()
    def blend_back(self, pixel_values: Tensor, sharp: Tensor, reblurred: Tensor) -> Tensor:
        """The sharp frames ``(B, 3, H, W)``, closer to the photos where ``reblurred`` differs from them; see
        :mod:`motion_offsets.exposure.blending`."""
        return blend_back(pixel_values, sharp, reblurred)

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
    def assess(self, pixel_values: Tensor, sharp: Tensor, reblurred: Tensor, control_points: Tensor) -> Consistency:
        """The consistency of one answer; see :mod:`motion_offsets.exposure.consistency`."""
        return assess(pixel_values, sharp, reblurred, control_points, self.trajectory, self.num_samples)


def _tile_pixels(pixel_values: Tensor, max_memory: float, network_bytes: float) -> int:
    batch, _, height, width = pixel_values.shape
    return tile_pixels(max_memory, height * width, network_bytes, batch, pixel_values.device.type == "cpu")


def _network_input(tile: Tensor, network: PreTrainedModel) -> Tensor:
    # On a CPU, convolutions on channels-last maps take about half the time.
    return tile.to(network.dtype).contiguous(memory_format=torch.channels_last)


def _autocast(tensor: Tensor, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast(tensor.device.type, dtype=dtype)

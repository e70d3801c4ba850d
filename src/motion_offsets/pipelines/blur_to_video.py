"""From one blurred photo to its trajectories, a sharp frame and a clip of any number of frames (§5.2, eq. 17)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from ..errors import BadInputError, counted
from ..exposure.camera_modes import AUTO, check_camera_mode
from ..exposure.refine_steps import REFINE_STEPS, check_refine_steps
from ..exposure.trajectories import check_timestamps, offsets_at
from ..models.hub import plain_errors, resolve_name, snapshot
from ..models.hub_errors import PushToHubMixin, hub_errors
from ..models.image_processing_motion_offsets import OUTPUT_TYPES, MotionOffsetsImageProcessor
from ..models.modeling_etraj import EtrajModel
from ..models.remote_code import LIBRARY, write_pipeline_code
from ..runtime.memory import DEFAULT_MAX_MEMORY
from .answer import Answer, answer
from .loading import load_components
from .output import BlurToVideoOutput, as_list, frame_times, stack
from .tiled_networks import TiledNetworksMixin


class BlurToVideoPipeline(TiledNetworksMixin, PushToHubMixin, DiffusionPipeline):
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

    processor: MotionOffsetsImageProcessor

    model_cpu_offload_seq = "estimator->deblurrer"
    camera: str = AUTO  # what becomes of the camera's own motion in answers that are not asked for anything else
    _optional_components = ["deblurrer", "processor"]

    def __init__(
        self,
        estimator: EtrajModel,
        deblurrer: Any = None,
        processor: MotionOffsetsImageProcessor | None = None,
    ) -> None:
        _check_networks(estimator, deblurrer)
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

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """As in diffusers; a pipeline that was optimized must be optimized again for where it is then."""
        self.unoptimize()
        return super().to(*args, **kwargs)

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        num_frames: int = 15,
        timestamps: Sequence[float] | None = None,
        sharp_image: Any = None,
        output_type: str = "pil",
        share_offsets: bool = False,
        refine_steps: int = REFINE_STEPS,
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
            refine_steps: number of steps of each fit of the motion to the photo once there is a sharp frame, which is
                then made again; 0 for none, which is faster. See
                :mod:`motion_offsets.exposure.blind_refinement`, or, with ``sharp_image`` or a deblurrer that uses no
                motion, :mod:`motion_offsets.exposure.refinement`.
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
            control_points: motion from elsewhere, ``(B, 2K, H, W)`` in pixels, of the pipeline's trajectory: taken as
                it is by every step, in place of the estimate and of the camera's motion in it.
            method: where the sharp frames come from if none are given: ``"network"``, the deblurrer; ``"map"``, a
                deconvolution along the motion; ``"none"``: none are made.
            share_offsets: whether the deblurrer gets the estimator's motion even if it carries an estimator; by
                default where both are the same.
            refine_steps: see :meth:`__call__`; 0 by default.
            safe, camera, max_memory, dtype: see :meth:`__call__`.
            keep_reblurred: whether the answer holds ``reblurred``.
            on_step: called with the name of a step (:data:`.answer.STEPS`), how much of it is done and how much there
                is.
            part: a context manager for each step by name, to time it.

        Raises:
            BadInputError: a deblurrer is needed and missing, or an option cannot be used.
        """
        return answer(self, pixel_values, sharp, **options)

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


def _check_networks(estimator: Any, deblurrer: Any) -> None:
    """Refuse a name or a model of the other kind. Not by class: code of the Hub has classes of its own."""
    if not hasattr(getattr(estimator, "config", None), "trajectory") or hasattr(estimator, "sharpen"):
        raise BadInputError(f"estimator is of class {type(estimator).__name__}; give an EtrajModel")
    if deblurrer is not None and not hasattr(deblurrer, "sharpen"):
        raise BadInputError(
            f"deblurrer is of class {type(deblurrer).__name__}; give one such as MaDmphnForImageDeblurring, or none"
        )

"""Photos to network input and back, under transformers' image-processor conventions and without torchvision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from ..errors import BadInputError
from ..io.images import load_array, load_image
from ..io.photo_sources import MAX_PIXELS, ImageSource
from ..visualization.flow import draw_flow
from ..visualization.paths import draw_trajectories
from .remote_code import SavedWithCodeMixin

OUTPUT_TYPES = ("pil", "np", "pt")


class MotionOffsetsImageProcessorKwargs(ImagesKwargs):
    """Settings beyond those of every image processor."""

    max_pixels: int | None


class MotionOffsetsImageProcessor(SavedWithCodeMixin, BaseImageProcessor):
    """Turns photos into ``pixel_values`` for the estimator and the deblurrer, and their output back into photos.

    Nothing is resized or normalised: motion is measured in pixels of the photo as it is. Photos of different sizes
    share a batch by replicating their last row and column; ``original_sizes`` lets :meth:`post_process` cut that off.

    Args:
        max_pixels: refuse photos with more pixels than this (default 179 megapixels, Pillow's own limit).

    Example:
        >>> processor = MotionOffsetsImageProcessor()
        >>> inputs = processor(["one.jpg", "two.png"])
        >>> photos = processor.post_process(inputs["pixel_values"], inputs["original_sizes"])
    """

    valid_kwargs = MotionOffsetsImageProcessorKwargs
    auto_class_name = "AutoImageProcessor"

    def __init__(self, max_pixels: int = MAX_PIXELS, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise BadInputError(f"max_pixels: {max_pixels!r}; give a whole number of pixels above 0")
        self.max_pixels = max_pixels

    @property
    def backend(self) -> str:
        """How transformers calls image processors that need Pillow and NumPy only."""
        return "pil"

    def preprocess(
        self,
        images: ImageSource | Sequence[ImageSource],
        return_tensors: str | None = "pt",
        max_pixels: int | None = None,
    ) -> BatchFeature:
        """Prepare one photo or several; calling the processor does the same.

        Args:
            images: one image source or a list of them: path, PIL image, NumPy array ``(H, W[, C])`` or torch tensor
                ``(C, H, W)``; a 4-dimensional array or tensor is a batch. See :mod:`motion_offsets.io.images`.
            return_tensors: ``"pt"`` (also for ``None``) or ``"np"``.
            max_pixels: this call's own limit on the pixels of a photo.

        Returns:
            ``pixel_values``, float32 ``(B, 3, H, W)``, RGB in ``[0, 1]``, H and W the largest in the batch, and
            ``original_sizes``, a list of ``(height, width)``.

        Raises:
            BadInputError: an image cannot be used; the message names it.
        """
        if return_tensors not in ("pt", "np", None):
            raise BadInputError(f"return_tensors: {return_tensors!r} is not supported; give 'pt' or 'np'")
        arrays = [load_array(source, max_pixels or self.max_pixels) for source in _as_list(images)]
        sizes = [(array.shape[0], array.shape[1]) for array in arrays]
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        batch = np.empty((len(arrays), 3, height, width), dtype=np.float32)
        for target, array in zip(batch, arrays, strict=True):
            _fill_replicating(target, array)
        pixel_values = batch if return_tensors == "np" else torch.from_numpy(batch)
        return BatchFeature(data={"pixel_values": pixel_values, "original_sizes": sizes})

    def post_process(
        self,
        pixel_values: torch.Tensor | np.ndarray,
        original_sizes: Iterable[Sequence[int]] | torch.Tensor | None = None,
        output_type: str = "pil",
    ) -> list[Image.Image] | list[np.ndarray] | list[torch.Tensor]:
        """Turn network output back into photos of the original sizes.

        Args:
            pixel_values: ``(B, 3, H, W)``, RGB; values outside ``[0, 1]`` are clipped.
            original_sizes: ``(height, width)`` for each of the B pictures; ``None`` keeps ``(H, W)``.
            output_type: ``"pil"`` for 8-bit RGB pictures, rounded to the nearest level; ``"np"`` for float32 arrays
                ``(h, w, 3)``; ``"pt"`` for tensors ``(3, h, w)`` of the input's dtype and device.

        Returns:
            A list of B pictures.

        Raises:
            BadInputError: the shapes or the output type do not fit.
        """
        if output_type not in OUTPUT_TYPES:
            raise BadInputError(
                f"output_type: {output_type!r} is not supported; give one of {', '.join(OUTPUT_TYPES)}"
            )
        tensor = torch.as_tensor(pixel_values)
        if tensor.ndim != 4 or tensor.shape[1] != 3:
            raise BadInputError(f"pixel_values: shape {tuple(tensor.shape)}; give (B, 3, H, W)")
        sizes = _checked_sizes(original_sizes, tensor.shape)
        pictures = [
            picture[:, :height, :width].detach() for picture, (height, width) in zip(tensor, sizes, strict=True)
        ]
        if output_type == "pt":
            return [picture.clamp(0, 1) for picture in pictures]
        if output_type == "np":
            return [picture.clamp(0, 1).float().permute(1, 2, 0).contiguous().cpu().numpy() for picture in pictures]
        return [_to_picture(picture) for picture in pictures]

    def draw_trajectories(
        self, image: ImageSource, motion_offsets: torch.Tensor | np.ndarray, **kwargs: Any
    ) -> Image.Image:
        """Draw the trajectories over the photo: :func:`motion_offsets.visualization.paths.draw_trajectories`."""
        return draw_trajectories(load_image(image, self.max_pixels), motion_offsets, **kwargs)

    def draw_flow(self, motion: torch.Tensor | np.ndarray, **kwargs: Any) -> Image.Image:
        """Draw the motion of the whole exposure in colours: :func:`motion_offsets.visualization.paths.draw_flow`."""
        return draw_flow(motion, **kwargs)


def _to_picture(pixels: torch.Tensor) -> Image.Image:
    """``(3, H, W)`` as 8-bit RGB; in place, as a large photo's frames are not to be in memory several times."""
    levels = pixels.clamp(0, 1).float().mul_(255).round_().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


def _as_list(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    if isinstance(images, (list, tuple)) or (isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4):
        if len(images) == 0:
            raise BadInputError("images: an empty list; give at least one picture")
        return list(images)
    return [cast(ImageSource, images)]


def _fill_replicating(target: np.ndarray, image: np.ndarray) -> None:
    """Write (h, w, 3) into the upper left of (3, H, W), and its last column and row into what remains."""
    height, width = image.shape[:2]
    target[:, :height, :width] = image.transpose(2, 0, 1)
    target[:, :height, width:] = target[:, :height, width - 1 : width]
    target[:, height:] = target[:, height - 1 : height]


def _checked_sizes(
    original_sizes: Iterable[Sequence[int]] | torch.Tensor | None, shape: torch.Size
) -> list[tuple[int, int]]:
    count, _, height, width = shape
    if original_sizes is None:
        return [(height, width)] * count
    sizes = [(int(size[0]), int(size[1])) for size in original_sizes]
    if len(sizes) != count:
        raise BadInputError(f"original_sizes: {len(sizes)} sizes for {count} pictures; give one (height, width) each")
    for size in sizes:
        if not (0 < size[0] <= height and 0 < size[1] <= width):
            raise BadInputError(f"original_sizes: {size} does not lie within the pictures' {height}x{width}")
    return sizes

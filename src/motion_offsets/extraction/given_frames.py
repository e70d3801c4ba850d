"""Sharp frames that another program made, used in place of the deblurrer's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import BadInputError
from ..io.images import size_of
from ..io.path_names import as_path
from ..io.photo_files import find_photos
from ..io.photo_sources import MAX_PIXELS, EncodedPhoto, describe
from ..models.image_processing_motion_offsets import MotionOffsetsImageProcessor
from .sources import PhotoSources


@dataclass(frozen=True)
class GivenFrames:
    """Where the sharp frame of each photo is.

    Args:
        file: the sharp frame of the only photo.
        folder: the folder of the sharp frames.
        by_stem: the pictures of ``folder`` by file stem.
    """

    file: Path | None = None
    folder: Path | None = None
    by_stem: Mapping[str, Sequence[Path]] | None = None

    def of(self, photo: Path | EncodedPhoto) -> Path:
        """The sharp frame of a photo.

        Raises:
            BadInputError: the folder has no picture with the photo's stem, or several.
        """
        if self.file is not None:
            return self.file
        stem = Path(describe(photo)).stem
        found = (self.by_stem or {}).get(stem, ())
        if not found:
            raise BadInputError(
                f"{describe(photo)}: {self.folder} holds no sharp frame for it; add a picture named {stem}"
            )
        if len(found) > 1:
            names = " and ".join(path.name for path in found[:2])
            raise BadInputError(f"{describe(photo)}: {self.folder} holds {names} for it; keep one of them")
        return found[0]


def find_given_frames(
    sources: PhotoSources, sharp: str | None = None, sharp_folder: str | None = None
) -> GivenFrames | None:
    """The sharp frames for the photos of a run; ``None`` if none are given.

    Args:
        sources: the photos.
        sharp: the sharp frame of the only photo.
        sharp_folder: a folder of sharp frames, each with the file stem of its photo.

    Raises:
        BadInputError: both are given, ``sharp`` with more than one photo, either with a data set, a folder that does
            not exist or holds no pictures, or photos that share a file stem.
    """
    if sharp is None and sharp_folder is None:
        return None
    if sharp is not None and sharp_folder is not None:
        raise BadInputError("`sharp` and `sharp_folder` are both given; give one of them")
    if sources.shards:
        raise BadInputError(
            f"{'`sharp_folder`' if sharp is None else '`sharp`'} is for photo files; {sources.shards[0].name} is a "
            "data set"
        )
    if sharp is not None:
        if len(sources.photos) > 1:
            raise BadInputError(f"`sharp` is for one photo and there are {len(sources.photos)}; give `sharp_folder`")
        return GivenFrames(file=as_path(sharp))
    assert sharp_folder is not None  # one of the two is
    folder = as_path(sharp_folder)
    if not folder.is_dir():
        raise BadInputError(f"`sharp_folder` {folder}: no such folder; give a folder of sharp frames")
    shared = [stem for stem, count in Counter(photo.stem for photo in sources.photos).items() if count > 1]
    if shared:
        raise BadInputError(
            f"several photos are named {shared[0]}, and `sharp_folder` matches sharp frames by name; extract these "
            "photos in separate runs"
        )
    by_stem: dict[str, list[Path]] = {}
    for path in find_photos([str(folder)]):
        by_stem.setdefault(path.stem, []).append(path)
    return GivenFrames(folder=folder, by_stem=by_stem)


def check_given_frame(
    sharp: Path, photo: Path | EncodedPhoto, photo_size: tuple[int, int], max_pixels: int = MAX_PIXELS
) -> None:
    """Refuse a sharp frame by its header, before anything is decoded: photos may still be turned upright.

    Args:
        sharp: the file.
        photo: its photo, for errors.
        photo_size: (width, height).
        max_pixels: see :func:`~motion_offsets.io.images.size_of`.

    Raises:
        BadInputError: the file is missing, not a picture, or of another size.
    """
    size = size_of(sharp, max_pixels)
    if sorted(size) != sorted(photo_size):
        raise _other_size(sharp, size, photo, photo_size)


def load_given_frame(
    processor: MotionOffsetsImageProcessor, sharp: Path, photo: Path | EncodedPhoto, pixel_values: Tensor
) -> Tensor:
    """A sharp frame, read as photos are: upright and in sRGB.

    Args:
        processor: reads pictures.
        sharp: the file.
        photo: its photo, for errors.
        pixel_values: the photo, ``(1, 3, H, W)``.

    Returns:
        ``(1, 3, H, W)`` in [0, 1].

    Raises:
        BadInputError: the file is missing, unreadable or of another size than the photo.
    """
    height, width = pixel_values.shape[-2:]
    check_given_frame(sharp, photo, (width, height), processor.max_pixels)
    frame: Tensor = processor([sharp], return_tensors="pt")["pixel_values"]
    if frame.shape != pixel_values.shape:
        raise _other_size(sharp, (frame.shape[3], frame.shape[2]), photo, (width, height))
    return frame


def _other_size(
    sharp: Path, size: tuple[int, int], photo: Path | EncodedPhoto, wanted: tuple[int, int]
) -> BadInputError:
    return BadInputError(
        f"{sharp}: is {size[0]}x{size[1]}, and {describe(photo)} is {wanted[0]}x{wanted[1]}; give a sharp frame of "
        "the photo's size"
    )

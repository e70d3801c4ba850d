"""From an answer to pictures, clips and files; no network runs here."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import BadInputError
from ..exposure.trajectories import offsets_at, sample_times
from ..extraction.result import DRAWN_STRIDE
from ..io.motion_files import SavedMotion, save_motion
from ..io.photo_metadata import PhotoMetadata
from ..io.picture_saving import save_picture
from ..io.video import ping_pong, write_animation, write_video
from ..pipelines.blur_to_video import frame_times
from ..visualization.flow import draw_flow
from ..visualization.paths import draw_trajectories
from .answers import Answer
from .jobs import check_current
from .limits import Limits
from .networks import pipeline

MIN_FRAMES = 2
MIN_FPS, MAX_FPS = 2, 60
MIN_DENSITY, MAX_DENSITY = 0.5, 2
DRAWN_SIDE = 1280
POINT_SIDE = 560
GIF_SIDE = 640
PATH_STEPS = 61


@dataclass(frozen=True)
class ClipSettings:
    """How the clip is made.

    Args:
        frames: frames of one pass through the exposure.
        fps: frames per second.
        back_and_forth: whether it also runs backwards, from the end to the start.
        seconds: shortest length of the video file, which repeats the clip; 0 for one pass.
    """

    frames: int = 15
    fps: float = 15
    back_and_forth: bool = True
    seconds: float = 0

    def check(self, limits: Limits) -> None:
        """Raise :class:`BadInputError` for what the page does not offer; a call from outside may hold anything."""
        _in_range("frames", self.frames, MIN_FRAMES, limits.frames, whole=True)
        _in_range("fps", self.fps, MIN_FPS, MAX_FPS)
        _in_range("seconds", self.seconds, 0, limits.clip_seconds)

    @property
    def times(self) -> list[float]:
        """The times of one loop."""
        times = frame_times(int(self.frames))
        return ping_pong(times) if self.back_and_forth else times

    @property
    def repeats(self) -> int:
        return max(1, math.ceil(self.seconds * self.fps / len(self.times)))


def _in_range(name: str, value: object, low: float, high: float, whole: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (whole and value != int(value)):  # type: ignore[operator, call-overload]
        kind = "a whole number" if whole else "a number"
        raise BadInputError(f"{name}: give {kind} from {low:g} to {high:g}")


class Workplace:
    """A folder of files for visitors; each call gets a folder of its own."""

    def __init__(self, parent: Path | None, keep_seconds: float) -> None:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix="motion-offsets-", dir=parent))
        self._keep_seconds = keep_seconds

    def new_folder(self) -> Path:
        folder = self.root / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def sweep(self) -> None:
        """Delete the folders that are too old."""
        oldest = time.time() - self._keep_seconds
        for folder in self.root.iterdir():
            try:
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
            except FileNotFoundError:  # the server is closing
                continue

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def frames(answer: Answer, times: Sequence[float]) -> Iterator[np.ndarray]:
    """The frames at several times, uint8 ``(H, W, 3)``, one by one (eq. 17)."""
    pipe = pipeline(answer.model)
    for frame in pipe.frames(_pixel_values(answer.sharp), answer.points(), times):
        check_current()
        yield _uint8(frame)


def _pixel_values(picture: np.ndarray) -> Tensor:
    """uint8 ``(H, W, 3)`` as ``(1, 3, H, W)`` in [0, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float().div_(255)


def _uint8(frame: Tensor) -> np.ndarray:
    return frame[0].mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def clip(answer: Answer, settings: ClipSettings, folder: Path) -> Path:
    """One loop of the clip as MP4."""
    return write_video(frames(answer, settings.times), folder / "clip.mp4", settings.fps)


def long_clip(answer: Answer, settings: ClipSettings, folder: Path) -> Path:
    """The clip as MP4, repeated up to the length asked for."""
    return write_video(frames(answer, settings.times * settings.repeats), folder / "motion-clip.mp4", settings.fps)


def gif(answer: Answer, settings: ClipSettings, folder: Path) -> Path:
    """One loop of the clip as GIF."""
    scale = min(1.0, GIF_SIDE / max(answer.width, answer.height))
    size = max(1, round(answer.width * scale)), max(1, round(answer.height * scale))
    small = (Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in frames(answer, settings.times))
    return write_animation(small, folder / "motion-clip.gif", settings.fps, max_side=GIF_SIDE)


def frames_zip(answer: Answer, settings: ClipSettings, folder: Path, location: bool = False) -> Path:
    """The frames of one pass as PNGs in a ZIP, with the photo's date and camera, and its place if wanted."""
    metadata = answer.metadata.options(location)
    path = folder / "motion-frames.zip"
    with zipfile.ZipFile(path, "w") as archive:  # PNGs are compressed as they are
        for number, frame in enumerate(frames(answer, frame_times(int(settings.frames))), start=1):
            archive.writestr(f"frame-{number:04d}.png", _png(frame, metadata))
    return path


def _png(frame: np.ndarray, metadata: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1, **metadata)
    return buffer.getvalue()


def sharp_png(answer: Answer, folder: Path, location: bool = False) -> Path:
    """The sharp frame, with the photo's date and camera, and its place if wanted."""
    path = folder / "sharp.png"
    save_picture(Image.fromarray(answer.sharp), path, **answer.metadata.options(location))
    return path


def upload_png(picture: np.ndarray, folder: Path, metadata: PhotoMetadata) -> Path:
    """An upload, uint8 ``(H, W, 3)``, in a format that every browser shows, with all of its metadata."""
    path = folder / "photo.png"
    path.write_bytes(_png(picture, metadata.options()))
    return path


def offsets_npz(answer: Answer, settings: ClipSettings, folder: Path) -> Path:
    path = folder / "motion_offsets.npz"
    times = frame_times(int(settings.frames))
    uncertainty = None if answer.uncertainty is None else torch.from_numpy(answer.uncertainty)[None]
    save_motion(path, SavedMotion(answer.points(), answer.trajectory, answer.num_samples, uncertainty), times)
    return path


def before_after(answer: Answer, folder: Path) -> tuple[Path, Path]:
    """Photo and sharp frame as the page shows them; JPEGs, because a phone must load them."""
    paths = folder / "photo.jpg", folder / "sharp.jpg"
    for path, picture in zip(paths, (answer.photo, answer.sharp), strict=True):
        save_picture(Image.fromarray(picture), path)
    return paths


def drawn_scale(height: int, width: int) -> float:
    """How much larger than the photo its trajectories are drawn; small photos are enlarged, for fine curves."""
    return DRAWN_SIDE / max(height, width)


def trajectories(
    photo: np.ndarray,
    control_points: np.ndarray,
    model: str,
    density: float,
    folder: Path,
    legend: bool = True,
    uncertainty: np.ndarray | None = None,
) -> Path:
    """The paths ``(2K, H, W)`` over the photo, coloured by time, fading where they are uncertain, ``(1, H, W)``;
    ``density`` 1 is as many as can be told apart."""
    _in_range("density", density, MIN_DENSITY, MAX_DENSITY)
    pipe = pipeline(model)
    height, width = photo.shape[:2]
    scale = drawn_scale(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
    # The drawing looks up a value for each cell of a coarse grid.
    grid = torch.from_numpy(control_points[:, ::DRAWN_STRIDE, ::DRAWN_STRIDE].astype(np.float32))[None] * scale
    offsets = offsets_at(grid, sample_times(pipe.num_samples), pipe.trajectory)[0]
    path = folder / "trajectories.jpg"
    spread = None if uncertainty is None else uncertainty[0, ::DRAWN_STRIDE, ::DRAWN_STRIDE].astype(np.float32) * scale
    drawn = draw_trajectories(picture, offsets, uncertainty=spread, density=density, legend=legend, mirror=True)
    save_picture(drawn, path)
    return path


def flow(answer: Answer, folder: Path) -> Path:
    """Where each pixel went, as colours."""
    ends = answer.offsets([-1.0, 1.0])
    path = folder / "flow.png"
    save_picture(draw_flow(ends[0] - ends[1]), path)
    return path


def clicked_pixel(answer: Answer, index: object) -> tuple[int, int]:
    """The photo's pixel under a click on the picture of the trajectories, which has a size of its own."""
    if not isinstance(index, (list, tuple)) or len(index) != 2:
        raise BadInputError("Click on a point of the picture")
    scale = drawn_scale(answer.height, answer.width)
    try:
        x, y = int(float(index[0]) / scale), int(float(index[1]) / scale)
    except (TypeError, ValueError, OverflowError):
        raise BadInputError("Click on a point of the picture") from None
    return min(max(x, 0), answer.width - 1), min(max(y, 0), answer.height - 1)


def point_picture(answer: Answer, x: int, y: int) -> tuple[Image.Image, np.ndarray]:
    """The surroundings of a pixel enlarged, with its own path; and that path, ``(T, 2)`` offsets."""
    path = answer.path_at(x, y, frame_times(PATH_STEPS))
    reach = float(np.abs(path).max())
    radius = int(min(max(12.0, 1.5 * reach), 400.0))
    rows = np.clip(np.arange(y - radius, y + radius + 1), 0, answer.height - 1)
    columns = np.clip(np.arange(x - radius, x + radius + 1), 0, answer.width - 1)
    scale = POINT_SIDE / (2 * radius + 1)
    around = Image.fromarray(answer.photo[np.ix_(rows, columns)])
    enlarged = around.resize((POINT_SIDE, POINT_SIDE), Image.Resampling.BICUBIC)
    offsets = (path * scale)[:, :, None, None]
    drawn = draw_trajectories(
        enlarged, offsets, cell=POINT_SIDE, line_width=7, backdrop=0.75, legend=False, mirror=True
    )
    return drawn, path

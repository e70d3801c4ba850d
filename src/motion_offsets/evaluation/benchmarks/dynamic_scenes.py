"""``bsd-dynamic``: shaken cameras, depth and moving objects, with exact trajectories that are no straight lines.

Each sharp photo is the background of one scene; its name decides about everything in it. What is rendered is kept in a
cache, so that the next run starts at once; the checksum tells whether two runs saw the same images.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ...data.crops.augmentation import degrade
from ...data.scenes.cutouts import Cutout, load_objects
from ...data.scenes.dynamic_scenes import GAMMA, Scene, Window, render, true_offsets
from ...data.scenes.scene_sampling import SceneRecipe, sample_scene
from ...errors import BadInputError
from ...exposure.blur import expose
from ...exposure.refinement import check_refine_steps
from ...exposure.trajectories import offsets_at, sample_times, trajectory_basis
from ...io.atomic import whole_file
from ...io.photo_files import read_photo
from ..feature_tracks import check_opencv, follow_features, track_figures, where_valid
from ..flat_regions import flat_regions, mean_length
from ..metrics import psnr, ssim, trajectory_error, video_psnr
from .base import (
    Asked,
    Benchmark,
    Declaration,
    Example,
    Progress,
    Row,
    Score,
    data_sha256,
    image_sha256,
    means,
    photo_generator,
    photos_of,
    run_benchmark,
)
from .costs import Stopwatch
from .sharp_frame import sharp_method

if TYPE_CHECKING:
    from ...pipelines.blur_to_video import BlurToVideoPipeline

VERSION = 1  # of the scenes; another one does not use this one's cache
MARGIN = 24  # pixels of the photo that the camera can turn towards
SMALLEST = 160  # shortest side of a photo, pixels
SAMPLES, FRAMES = 15, 7
FRAME_TIMES = sample_times(FRAMES)
RECIPE = SceneRecipe(lights_share=0.15)
NOISE = (1.0, 0.01, 0.5)  # every image has some noise, half of them are JPEG files
CACHE_VARIABLE = "MOTION_OFFSETS_CACHE"
# What a photo without a flat region or a track has no figure of.
PARTLY = ("flat_length", "flat_length_true", "track_distance", "track_distance_zero", "track_distance_true")


@dataclass(frozen=True)
class DynamicCase:
    """One scene as a camera sees it, and the truth about it.

    Args:
        blurred: ``(1, 3, H, W)`` in [0, 1], of 8 bits' precision, with noise and JPEG as the case may be.
        sharp: ``(1, 3, H, W)``, the frame at t = 0.
        frames: ``(1, 7, 3, H, W)``, evenly over the exposure.
        offsets: ``(1, 15, 2, H, W)``, the true motion offsets, pixels.
        valid: ``(1, 1, H, W)`` bool, where they are defined all the time.
        depth_effect: mean length in pixels of what depth adds to the offsets at both ends of the exposure.
    """

    blurred: Tensor
    sharp: Tensor
    frames: Tensor
    offsets: Tensor
    valid: Tensor
    depth_effect: float

    @property
    def bend(self) -> float:
        """Median over the valid pixels of how far a path departs from the line between its ends, pixels."""
        path = self.offsets[0]
        chord = path[-1] - path[0]
        away = path - path[:1]
        across = (away[:, 0] * chord[1] - away[:, 1] * chord[0]).abs() / chord.norm(dim=0).clamp(min=1e-6)
        return float(across.amax(0)[self.valid[0, 0]].median()) if self.valid.any() else 0.0

    def offsets_of_frames(self) -> Tensor:
        """``(1, 7, 2, H, W)``, the true offsets at the times of the frames, on straight lines between the samples."""
        return offsets_at(self.offsets.flatten(1, 2), FRAME_TIMES, "zero-constraint")


def dynamic_case(photo: np.ndarray, name: str, objects: Sequence[Cutout]) -> DynamicCase:
    """The scene that a photo's name decides on.

    Args:
        photo: ``(H, W, 3)`` uint8.
        name: its file name.
        objects: what may move before it.

    Raises:
        BadInputError: the photo is too small.
    """
    height, width = photo.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadInputError(
            f"{name}: is {width}x{height} pixels; give photos with sides of at least {SMALLEST} pixels"
        )
    generator = photo_generator(name)
    window = Window(MARGIN, MARGIN, height - 2 * MARGIN, width - 2 * MARGIN)
    scene = sample_scene(photo, objects, window, generator, RECIPE)
    shot = render(scene, window)
    frames = render(scene, window, FRAMES, keep_frames=True).frames
    assert frames is not None
    return DynamicCase(
        blurred=degrade(shot.blurred[0], *NOISE, generator)[None],
        sharp=_eight_bits(shot.sharp),
        frames=_eight_bits(frames),
        offsets=true_offsets(scene, window, sample_times(SAMPLES), shot.layer),
        valid=shot.valid,
        depth_effect=_depth_effect(scene, window, shot.layer, shot.valid),
    )


def _eight_bits(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round() / 255


def _depth_effect(scene: Scene, window: Window, seen: Tensor, valid: Tensor) -> float:
    ends = torch.tensor([-1.0, 1.0])
    deep = true_offsets(scene, window, ends, seen)
    scene.motion.plane = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand_as(scene.motion.plane)
    length = (deep - true_offsets(scene, window, ends, seen)).norm(dim=2).mean(1, keepdim=True)
    return float(length[valid].mean()) if valid.any() else 0.0


class DynamicCases:
    """The cases of a folder's photos, rendered once and kept in a cache.

    Args:
        images: folder of sharp photos.
        objects: folders to cut objects from; by default the photos themselves.
        label_maps: label maps of these, a folder for each.
        limit: only the first so many photos.
        cache: folder of the cache; by default ``$MOTION_OFFSETS_CACHE`` or ``~/.cache/motion-offsets``.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        objects: Sequence[str | os.PathLike[str]] = (),
        label_maps: Sequence[str | os.PathLike[str]] = (),
        limit: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ):
        self.photos = photos_of(images, limit)
        self.objects = load_objects(
            [Path(folder) for folder in objects or [images]], [Path(maps) for maps in label_maps]
        )
        self.cache = Path(cache or os.environ.get(CACHE_VARIABLE) or "~/.cache/motion-offsets").expanduser()
        try:
            (self.cache / "bsd-dynamic").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(
                f"{self.cache}: cannot be made ({error.strerror}); name a folder for the cache in {CACHE_VARIABLE}"
            ) from None
        digest = hashlib.sha256(f"{VERSION} {RECIPE} {NOISE} {MARGIN}".encode())
        for cutout in self.objects:
            digest.update(cutout.colour.tobytes() + cutout.alpha.tobytes())
        self._objects_digest = digest.digest()

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[DynamicCase]:
        for photo in self.photos:
            yield self.case(photo)

    def case(self, photo: Path) -> DynamicCase:
        """The case of one photo, from the cache if it is there."""
        key = hashlib.sha256(self._objects_digest + os.fsencode(photo.name) + photo.read_bytes()).hexdigest()[:20]
        kept = self.cache / "bsd-dynamic" / f"{photo.stem}-{key}.npz"
        if kept.is_file():
            try:
                return _read_case(kept)
            except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile):
                kept.unlink()  # damaged: it is made again
        case = dynamic_case(read_photo(photo), photo.name, self.objects)
        with whole_file(kept, (".npz",)) as partial:
            _write_case(partial, case)
        return case


def _write_case(path: Path, case: DynamicCase) -> None:
    pictures = {name: (getattr(case, name) * 255).round().byte().numpy() for name in ("blurred", "sharp", "frames")}
    with path.open("wb") as file:
        np.savez(
            file,
            **pictures,
            offsets=case.offsets.numpy(),
            valid=np.packbits(case.valid.numpy()),
            depth_effect=case.depth_effect,
        )


def _read_case(path: Path) -> DynamicCase:
    with np.load(path, allow_pickle=False) as kept:
        pictures = {name: torch.from_numpy(kept[name]).float() / 255 for name in ("blurred", "sharp", "frames")}
        height, width = pictures["sharp"].shape[2:]
        valid = np.unpackbits(kept["valid"], count=height * width).astype(bool).reshape(1, 1, height, width)
        offsets = torch.from_numpy(kept["offsets"])
        return DynamicCase(
            **pictures, offsets=offsets, valid=torch.from_numpy(valid), depth_effect=float(kept["depth_effect"])
        )


@dataclass(frozen=True)
class _Answer:
    offsets: Tensor
    offsets_of_frames: Tensor
    reblurred: Tensor
    deblurred: Tensor | None
    frames: Tensor | None
    consistency: float | None
    explained: float | None
    seconds: dict[str, float | None]


def _answer(
    case: DynamicCase,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None,
    refine_steps: int,
    safe: bool,
    deconvolve: bool,
) -> _Answer:
    blurred = pipeline.preprocess(case.blurred[0])
    watch = Stopwatch(blurred.device)
    found = pipeline.answer(
        blurred,
        method=sharp_method(pipeline, deconvolve),
        refine_steps=refine_steps,
        safe=safe,
        dtype=dtype,
        part=watch.part,
    )
    points, deblurred = found.control_points, found.sharp
    frames = consistency = explained = None
    if deblurred is not None:
        consistency, explained = found.consistency[0].reblur_psnr, found.consistency[0].explained
        with watch.part("clip"):
            clip = torch.stack(list(pipeline.frames(deblurred, points, FRAME_TIMES.tolist())), 1)
        frames, deblurred = clip.float().cpu(), deblurred.float().cpu()
    basis = trajectory_basis(pipeline.trajectory, sample_times(SAMPLES), pipeline.num_samples)
    # The truth was averaged in linear light, whatever the estimator was trained with.
    reblurred = expose(case.sharp.to(points.device), points, basis.to(points.device), gamma=GAMMA)
    offsets = offsets_at(points, sample_times(SAMPLES), pipeline.trajectory)
    of_frames = offsets_at(points, FRAME_TIMES, pipeline.trajectory).float().cpu()
    made = (offsets.float().cpu(), of_frames, reblurred.float().cpu(), deblurred, frames)
    return _Answer(*made, consistency, explained, watch.figures())


def _score(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    still, deblurred = torch.zeros_like(case.offsets), answer.deblurred
    scores: dict[str, float | None] = {
        "trajectory_error": float(trajectory_error(answer.offsets, case.offsets, valid=case.valid)),
        "trajectory_error_zero": float(trajectory_error(still, case.offsets, valid=case.valid)),
        "reblur_psnr": float(psnr(answer.reblurred, case.blurred)),
        "reblur_ssim": float(ssim(answer.reblurred, case.blurred)),
        "blurred_psnr": float(psnr(case.blurred, case.sharp)),
        "blurred_ssim": float(ssim(case.blurred, case.sharp)),
        "video_psnr_blurred": video_psnr(case.blurred[:, None].expand_as(case.frames), case.frames),
    }
    if deblurred is not None and answer.frames is not None:
        scores["deblur_psnr"] = float(psnr(deblurred, case.sharp))
        scores["deblur_ssim"] = float(ssim(deblurred, case.sharp))
        scores["video_psnr"] = video_psnr(answer.frames, case.frames)
        scores["video_psnr_repeated"] = video_psnr(deblurred[:, None].expand_as(case.frames), case.frames)
    else:
        scores |= dict.fromkeys(("deblur_psnr", "deblur_ssim", "video_psnr", "video_psnr_repeated"))
    facts = {
        "valid_share": float(case.valid.float().mean()),
        "bend": case.bend,
        "depth_effect": case.depth_effect,
        "consistency_psnr": answer.consistency,
        "explained": answer.explained,
        "megapixels": case.blurred.shape[2] * case.blurred.shape[3] / 1e6,
    }
    return {**scores, **_score_tracks(case, answer), **_score_flat(case, answer), **facts, **answer.seconds}


def _score_tracks(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    # Where the truth is not known all the time, it could not tell how good a track is.
    tracks = where_valid(follow_features(case.frames[0]), case.valid)
    return track_figures(tracks, answer.offsets_of_frames[0], case.offsets_of_frames()[0])


def _score_flat(case: DynamicCase, answer: _Answer) -> dict[str, float | None]:
    flat = flat_regions(case.blurred) & case.valid[:, 0]
    found, true = (offsets[:, -1] - offsets[:, 0] for offsets in (answer.offsets, case.offsets))
    return {"flat_length": mean_length(found, flat), "flat_length_true": mean_length(true, flat)}


class DynamicBenchmark:
    """``bsd-dynamic``, one row a scene.

    Args:
        cases: the scenes.
        refine_steps: of the motion on each photo, as
            :class:`~motion_offsets.pipelines.blur_to_video.BlurToVideoPipeline` takes it.
        safe: likewise.
        deconvolve: see :func:`~.sharp_frame.sharp_method`.
    """

    rows_each = 1

    def __init__(self, cases: DynamicCases, refine_steps: int = 0, safe: bool = False, deconvolve: bool = False):
        self.cases, self.refine_steps, self.safe = cases, check_refine_steps(refine_steps), safe
        self.deconvolve = deconvolve

    def __len__(self) -> int:
        return len(self.cases)

    def name(self, number: int) -> str:
        return self.cases.photos[number].name

    def scores(self, number: int, pipeline: BlurToVideoPipeline, dtype: torch.dtype | None) -> Iterator[Score]:
        case = self.cases.case(self.cases.photos[number])
        answer = _answer(case, pipeline, dtype, self.refine_steps, self.safe, self.deconvolve)
        yield partial(_row, self.name(number), case, answer)

    def example(self, number: int, pipeline: BlurToVideoPipeline) -> Example:
        case = self.cases.case(self.cases.photos[number])
        return Example(case.blurred, case.sharp, GAMMA, case.offsets, case.frames, case.valid)

    def figures(self, rows: Sequence[Row]) -> dict[str, Any]:
        """``images``; the means over all scenes of ``trajectory_error`` in pixels, PSNR and SSIM reblurred and
        deblurred, ``video_psnr`` of seven frames, each beside what doing nothing scores (``..._zero``,
        ``blurred_...``, the deblurred or the blurred frame repeated); ``consistency_psnr``, the mean PSNR of the
        pipeline's own check, and ``explained``, the mean share of its changes that it accounts for; the rank
        correlations of the former with the trajectory error and of the latter with that error's share of no motion's,
        both of which are to be negative; ``track_distance`` in pixels from the ``tracks`` of feature points
        through the true frames (Fig. 9), beside that of no motion and of the truth; ``flat_length``, the estimated
        displacement's length in pixels where the photo is flat, beside the true one's there; median seconds a photo of
        ``megapixels``; and what the scenes are like: ``valid_share``, median ``bend`` of the paths, ``depth_effect``
        and ``motion_length`` in pixels, ``data_sha256``. What needs a deblurrer is ``None`` without one."""
        figures: dict[str, Any] = means(rows, PARTLY)
        figures["tracks"] = sum(row["tracks"] for row in rows)
        figures["bend"] = float(np.median([row["bend"] for row in rows]))
        errors = [row["trajectory_error"] for row in rows]
        shares = [row["trajectory_error"] / max(row["trajectory_error_zero"], 1e-6) for row in rows]
        for name, key, values in (("consistency", "consistency_psnr", errors), ("explained", "explained", shares)):
            figures[f"{name}_rank_correlation"] = _rank_correlation([row[key] for row in rows], values)
        return {"images": len(rows), **figures, "data_sha256": data_sha256(rows)}


def _row(name: str, case: DynamicCase, answer: _Answer) -> Row:
    ends = (case.offsets[:, -1] - case.offsets[:, 0]).norm(dim=1)[case.valid[:, 0]]
    length = float(ends.mean()) if len(ends) else 0.0
    return {
        "photo": name,
        **_score(case, answer),
        "motion_length": length,
        "image_sha256": image_sha256(case.blurred),
    }


def evaluate_dynamic(
    cases: DynamicCases,
    pipeline: BlurToVideoPipeline,
    dtype: torch.dtype | None = None,
    on_case: Progress | None = None,
) -> dict[str, Any]:
    """Run :class:`DynamicBenchmark`; ``on_case`` is called with the number of cases done and of all."""
    return run_benchmark(DynamicBenchmark(cases), pipeline, dtype, on_case)


def _rank_correlation(sure: Sequence[float | None], wrong: Sequence[float]) -> float | None:
    if len(wrong) < 3 or None in sure or len(set(sure)) < 2 or len(set(wrong)) < 2:
        return None
    return float(stats.spearmanr(sure, wrong).statistic)


def _start(asked: Asked) -> Benchmark:
    check_opencv()
    cases = DynamicCases(asked.images, [asked.images], [str(asked.label_maps)], asked.limit)
    return DynamicBenchmark(cases, asked.refine_steps, asked.safe, asked.deconvolve)


BENCHMARK = Declaration(
    "bsd-dynamic",
    _start,
    {
        "label_maps": "the folder of PNG label maps of the photos; it cuts its objects out by them",
        "refine_steps": "the motion is fitted with a sharp frame",
        "safe": "it blends the photo with a sharp frame",
    },
    needs=("label_maps",),
)

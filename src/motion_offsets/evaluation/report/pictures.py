"""The paper's pictures for chosen photos of a benchmark: Fig. 4-5, 6, 7 and 9."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage
from torch import Tensor

from ...errors import BadInputError
from ...exposure.blur import expose
from ...exposure.trajectories import offsets_at, reverse_time, sample_times, trajectory_basis
from ...io.atomic import whole_file
from ...io.picture_saving import save_picture
from ...pipelines.blur_to_video import BlurToVideoPipeline
from ...pipelines.from_names import load_pipeline
from ...visualization.flow import draw_flow
from ...visualization.paths import draw_trajectories
from ..benchmarks.base import Benchmark, Example
from ..benchmarks.sharp_frame import DECONVOLUTION, NETWORK, NO_DEBLURRER
from ..feature_tracks import follow_features, paths_beside, track_distance, where_valid
from ..metrics import psnr, ssim
from .panels import Panel, draw_panels

SAMPLES = (5, 9, 15, 45)
SIDE, CROP_SIDE, TRACKS_SIDE = 560, 300, 1100  # pixels: long side of a panel, side of a crop, long side of the tracks
CURVES_ACROSS = 14  # trajectories along a square picture
MOST_TRACKS = 60
BOXES = ((255, 196, 0), (0, 200, 255))
TRACK, PATH = (255, 255, 255), (255, 128, 0)


def chosen_photos(benchmark: Benchmark, names: str | None, default: int = 3) -> list[int]:
    """The numbers of photos by their names, joined by commas; without names the first few.

    Raises:
        BadInputError: a name is none of the benchmark's.
    """
    if names is None:
        return list(range(min(default, len(benchmark))))
    known = {benchmark.name(number): number for number in range(len(benchmark))}
    for name in names.split(","):
        if name not in known:
            raise BadInputError(
                f"`picture_photos` {name}: is none of the {len(known)} photos of this run; give names such as "
                f"{next(iter(known))}"
            )
    return [known[name] for name in names.split(",")]


def load_compared(names: Sequence[str], model: str, device: torch.device) -> dict[str, BlurToVideoPipeline | None]:
    """A pipeline for each deblurrer that is compared, ``None`` for the deconvolution."""
    return {name: None if name == DECONVOLUTION else load_pipeline(model, name).to(device) for name in names}


@dataclass(frozen=True)
class Answer:
    """What a picture shows of an answer: control points ``(1, 2K, H, W)`` and the sharp frames by deblurrer."""

    points: Tensor
    deblurred: Mapping[str, Tensor]


def draw_pictures(
    benchmark: Benchmark,
    numbers: Sequence[int],
    pipeline: BlurToVideoPipeline,
    deblurrer: str | None,
    compared: Mapping[str, BlurToVideoPipeline | None],
    folder: Path,
    dtype: torch.dtype | None,
) -> None:
    """Write ``NAME-motion.png``, ``NAME-samples.png``, ``NAME-deblurred.png`` and, with frames, ``NAME-tracks.png``.

    Args:
        benchmark: whose photos they are.
        numbers: which of them.
        pipeline: what is measured.
        deblurrer: the name of its deblurrer, if it has one.
        compared: more deblurrers, see :func:`load_compared`.
        folder: where to write.
        dtype: autocast type of the networks.
    """
    deblurrers = {**({} if deblurrer is None else {deblurrer: pipeline}), **compared}
    for number in numbers:
        example = benchmark.example(number, pipeline)
        answer = _answer(example, pipeline, deblurrers, dtype)
        pictures = {
            "motion": motion_picture(example, answer, pipeline),
            "samples": samples_picture(example, answer, pipeline),
            "deblurred": deblurred_picture(example, answer),
            "tracks": tracks_picture(example, answer, pipeline),
        }
        name = str(PurePath(benchmark.name(number)).with_suffix("")).replace("/", "-")
        for kind, picture in pictures.items():
            if picture is not None:
                with whole_file(folder / f"{name}-{kind}.png", (".png",)) as partial:
                    save_picture(picture, partial)


def _answer(
    example: Example,
    pipeline: BlurToVideoPipeline,
    deblurrers: Mapping[str, BlurToVideoPipeline | None],
    dtype: torch.dtype | None,
) -> Answer:
    blurred = pipeline.preprocess(example.blurred[0])
    points, deblurred = None, {}
    for name, network in deblurrers.items():
        found = (network or pipeline).answer(blurred, method=NETWORK if network else DECONVOLUTION, dtype=dtype)
        assert found.sharp is not None
        deblurred[name] = found.sharp.float().cpu()
        points = found.control_points if network in (None, pipeline) else points
    if points is None:
        points = pipeline.answer(blurred, method=NO_DEBLURRER, dtype=dtype).control_points
    points = points.float().cpu()
    if example.offsets is not None:
        # A photo cannot tell which way time ran: shown is the way that is closer to the truth.
        ends = offsets_at(points, [-1.0, 1.0], pipeline.trajectory)
        true = example.offsets[:, [0, -1]]
        if (ends - true).square().mean() > (ends.flip(1) - true).square().mean():
            points = reverse_time(points, pipeline.trajectory)
    return Answer(points, deblurred)


def motion_picture(example: Example, answer: Answer, pipeline: BlurToVideoPipeline) -> Image.Image:
    """Fig. 4-5: blurred, reblurred, the motion as trajectories and as flow; below what each is to be compared with."""
    found = offsets_at(answer.points, sample_times(pipeline.num_samples), pipeline.trajectory)[0]
    flow = found[-1] - found[0]
    longest = max(1.0, float(flow.norm(dim=0).quantile(0.995)))  # a few outliers would pale all the rest
    reblurred = _reblurred(example, answer, pipeline, pipeline.num_samples)
    deblurred: Panel = ("", Image.new("RGB", (1, 1), "white"))
    for name, image in list(answer.deblurred.items())[:1]:
        deblurred = _scored(f"deblurred, {_short(name)}", image, example.sharp)
    columns: list[tuple[Panel, Panel]] = [
        (
            _panel("blurred", example.blurred),
            _scored("true sharp frame; the blurred one is at", example.blurred, example.sharp, shown=example.sharp),
        ),
        (_scored("reblurred from the true sharp frame", reblurred, example.blurred), deblurred),
    ]
    trajectories = ("our trajectories", _trajectories(example.blurred, found))
    if example.offsets is None:
        columns.append((trajectories, ("our flow over the exposure", _fitted(draw_flow(flow, longest)))))
    else:
        true = example.offsets[0]
        longest = max(longest, float((true[-1] - true[0]).norm(dim=0).amax()))
        columns.append((trajectories, ("true trajectories", _trajectories(example.blurred, true))))
        ours = ("our flow over the exposure", _fitted(draw_flow(flow, longest, wheel=False)))
        columns.append((ours, ("true flow", _fitted(draw_flow(true, longest)))))
    return draw_panels(list(zip(*columns, strict=True)))


def samples_picture(example: Example, answer: Answer, pipeline: BlurToVideoPipeline) -> Image.Image:
    """Fig. 6: how many samples an exposure takes, with the same control points, in two crops."""
    columns = {"blurred photo": example.blurred}
    for samples in SAMPLES:
        columns[f"reblurred, N = {samples}"] = _reblurred(example, answer, pipeline, samples)
    return _crops(example, columns, reference=example.blurred, title="The effect of the number of samples")


def deblurred_picture(example: Example, answer: Answer) -> Image.Image:
    """Fig. 7: two crops blurred, deblurred by each deblurrer, and sharp."""
    deblurred = {_short(name): image for name, image in answer.deblurred.items()}
    columns = {"blurred": example.blurred, **deblurred, "true sharp frame": example.sharp}
    return _crops(example, columns, reference=example.sharp, title="Deblurred")


def tracks_picture(example: Example, answer: Answer, pipeline: BlurToVideoPipeline) -> Image.Image | None:
    """Fig. 9: feature tracks through the true frames, and where our motion takes the same points."""
    if example.frames is None:
        return None
    tracks = follow_features(example.frames[0])
    tracks = tracks if example.valid is None else where_valid(tracks, example.valid)
    offsets = offsets_at(answer.points, sample_times(len(tracks)), pipeline.trajectory)[0]
    paths = paths_beside(tracks, offsets)
    still, ours = (track_distance(tracks, field) for field in (torch.zeros_like(offsets), offsets))
    figures = "no track" if ours is None else f"{ours:.2f} px apart on average; no motion at all: {still:.2f} px"
    label = f"White: feature tracks through the true frames.\nOrange: our trajectories of these points, {figures}."
    return draw_panels([[(label, _curves(example.blurred, tracks, paths))]])


def _curves(photo: Tensor, tracks: Tensor, paths: Tensor) -> Image.Image:
    """Some of the tracks and the paths beside them, drawn twice as large and scaled down."""
    picture = _fitted(_image(photo), 2 * TRACKS_SIDE)
    zoom = picture.width / photo.shape[3]
    picture = Image.blend(picture, Image.new("RGB", picture.size), 0.35)
    draw = ImageDraw.Draw(picture)
    for number in _spread(tracks):
        for curve, colour in ((tracks[:, number], TRACK), (paths[:, number], PATH)):
            points = [tuple(point) for point in ((curve + 0.5) * zoom).tolist()]
            draw.line(points, fill=(0, 0, 0), width=11, joint="curve")
            draw.line(points, fill=colour, width=6, joint="curve")
        x, y = points[len(points) // 2]
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=TRACK, outline=(0, 0, 0), width=2)
    return picture.reduce(2)


def _spread(tracks: Tensor) -> list[int]:
    """The longest tracks that do not lie on each other, by number."""
    middle, extents = tracks[len(tracks) // 2], (tracks.amax(0) - tracks.amin(0)).norm(dim=1)
    kept: list[int] = []
    for number in extents.argsort(descending=True).tolist():
        apart = 0.8 * float(extents[number]) + 6
        if all(float((middle[number] - middle[other]).norm()) > apart for other in kept):
            kept.append(number)
        if len(kept) == MOST_TRACKS:
            break
    return kept


def _reblurred(example: Example, answer: Answer, pipeline: BlurToVideoPipeline, samples: int) -> Tensor:
    basis = trajectory_basis(pipeline.trajectory, sample_times(samples), pipeline.num_samples)
    return expose(example.sharp, answer.points, basis, pipeline.estimator.config.padding_mode, example.gamma)


def _crops(example: Example, columns: Mapping[str, Tensor], reference: Tensor, title: str) -> Image.Image:
    """The whole photo, blurred and sharp, with two places marked; there each of the columns, larger."""
    places = _telling_places(example)
    rows: list[list[Panel]] = []
    wholes = (("blurred", example.blurred), ("sharp", example.sharp))
    for (x, y, side), colour, (name, whole) in zip(places, BOXES, wholes, strict=True):
        row: list[Panel] = [(f"{name}, whole", _marked(whole, places))]
        for label, image in columns.items():
            crop = _fitted(_image(image[..., y : y + side, x : x + side]), CROP_SIDE)
            scored = not rows and image is not reference
            text = f"{label}\n{_figures(image, reference)}" if scored else label
            row.append((text, ImageOps.expand(crop, 3, colour)))
        rows.append(row)
    return draw_panels(rows, f"{title} (figures are of the whole photo)")


def _telling_places(example: Example) -> list[tuple[int, int, int]]:
    """The two squares ``(x, y, side)`` in which the photo has lost most."""
    height, width = example.blurred.shape[2:]
    side = min(max(96, min(height, width) // 4), height, width)
    lost = (example.blurred - example.sharp)[0].square().mean(0).numpy()
    loss = ndimage.uniform_filter(lost, side)[
        side // 2 : height - (side - 1) // 2, side // 2 : width - (side - 1) // 2
    ]
    places = []
    for _ in range(2):
        y, x = (int(index) for index in np.unravel_index(loss.argmax(), loss.shape))
        places.append((x, y, side))
        loss[max(0, y - side) : y + side, max(0, x - side) : x + side] = -1
    return places


def _marked(image: Tensor, places: Sequence[tuple[int, int, int]]) -> Image.Image:
    picture = _image(image)
    height = CROP_SIDE + 6  # as high as a crop in its frame
    zoom = height / picture.height
    picture = picture.resize((round(picture.width * zoom), height), Image.Resampling.LANCZOS)
    for (x, y, side), colour in zip(places, BOXES, strict=True):
        box = (x * zoom, y * zoom, (x + side) * zoom, (y + side) * zoom)
        ImageDraw.Draw(picture).rectangle(box, outline=colour, width=3)
    return picture


def _trajectories(photo: Tensor, offsets: Tensor) -> Image.Image:
    picture = _fitted(_image(photo))
    cell = math.sqrt(picture.width * picture.height) / CURVES_ACROSS
    zoom = picture.width / photo.shape[3]
    return draw_trajectories(picture, offsets * zoom, cell=cell, line_width=2.4, mirror=True)


def _short(name: str) -> str:
    """A model's name without the folders above its own and the one that holds it."""
    return "/".join(PurePath(name).parts[-2:])


def _panel(label: str, image: Tensor) -> Panel:
    return label, _fitted(_image(image))


def _scored(label: str, image: Tensor, reference: Tensor, shown: Tensor | None = None) -> Panel:
    return _panel(f"{label}\n{_figures(image, reference)}", image if shown is None else shown)


def _figures(image: Tensor, reference: Tensor) -> str:
    return f"{float(psnr(image, reference)):.2f} dB, SSIM {float(ssim(image, reference)):.3f}"


def _image(image: Tensor) -> Image.Image:
    return Image.fromarray((image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def _fitted(picture: Image.Image, side: int = SIDE) -> Image.Image:
    """The picture with this long side."""
    zoom = side / max(picture.size)
    size = (round(picture.width * zoom), round(picture.height * zoom))
    return picture.resize(size, Image.Resampling.BICUBIC)

"""``from_pretrained`` with what diffusers documents, and pipelines on their way to other processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from motion_offsets import BlurToVideoPipeline, EtrajModel, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError


@pytest.fixture(scope="module")
def pipe(models: Path) -> BlurToVideoPipeline:
    made = BlurToVideoPipeline(
        estimator=EtrajModel.from_pretrained(models / "motion"),
        deblurrer=MaDmphnForImageDeblurring.from_pretrained(models / "sharp"),
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def saved(pipe: BlurToVideoPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    pipe.save_pretrained(folder)
    return folder


def types(pipe: BlurToVideoPipeline) -> tuple[torch.dtype, torch.dtype]:
    assert pipe.deblurrer is not None
    return pipe.estimator.dtype, pipe.deblurrer.dtype


@pytest.mark.parametrize("word", ["dtype", "torch_dtype"])
def test_precision(saved: Path, word: str) -> None:
    half, full = torch.bfloat16, torch.float32
    assert types(BlurToVideoPipeline.from_pretrained(saved)) == (full, full)
    assert types(BlurToVideoPipeline.from_pretrained(saved, **{word: half})) == (half, half)
    mixed = {"deblurrer": half, "default": full}
    assert types(BlurToVideoPipeline.from_pretrained(saved, **{word: mixed})) == (full, half)


@pytest.mark.parametrize("device_map", ["cpu", "balanced", torch.device("cpu"), {"": "cpu"}])
def test_device_map(saved: Path, device_map: object) -> None:
    expected = "cuda" if device_map == "balanced" and torch.cuda.is_available() else "cpu"
    pipe = BlurToVideoPipeline.from_pretrained(saved, device_map=device_map, low_cpu_mem_usage=True)
    assert pipe.estimator.device.type == pipe.device.type == expected


def test_variant(pipe: BlurToVideoPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "estimator" / "model.fp16.safetensors").is_file()
    loaded = BlurToVideoPipeline.from_pretrained(tmp_path, variant="fp16", use_safetensors=True)
    for name in ("estimator", "deblurrer"):
        before, after = getattr(pipe, name).state_dict(), getattr(loaded, name).state_dict()
        torch.testing.assert_close(after, before)


@pytest.mark.parametrize(("options", "words"), [
    ({"variant": "fp8"}, "fp8"),
    ({"use_safetensors": False}, "use_safetensors is False"),
    ({"device_map": "nowhere"}, "device_map is 'nowhere'"),
    ({"dtype": {"decoder": torch.float16}}, "'decoder' is not part of this pipeline"),
    ({"safety": 1}, "safety is not an option"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(saved: Path, options: dict, words: str) -> None:
    with pytest.raises(BadInputError, match=words) as caught:
        BlurToVideoPipeline.from_pretrained(saved, **options)
    assert "\n" not in str(caught.value)


def test_an_optimized_pipeline_can_be_sent_to_another_process(saved: Path) -> None:
    pipe = BlurToVideoPipeline.from_pretrained(saved).optimize(dtype=torch.float32, compile=False)
    pipe.set_progress_bar_config(disable=True)
    try:
        again = pickle.loads(pickle.dumps(pipe))
        photo = torch.rand(3, 24, 32)
        one, other = pipe(photo, num_frames=3, output_type="pt"), again(photo, num_frames=3, output_type="pt")
        torch.testing.assert_close(other.frames, one.frames)
        assert again.optimization == pipe.optimization
        compiled = pipe.optimize(dtype=torch.float32, compile=True, backend="eager")
        sent = pickle.loads(pickle.dumps(compiled))
        torch.testing.assert_close(sent(photo, num_frames=3, output_type="pt").frames, one.frames)
    finally:
        pipe.unoptimize()


def test_answers_can_be_trained_on(pipe: BlurToVideoPipeline) -> None:
    """They are ordinary tensors, not those of inference mode, which nothing may be done to."""
    photo = torch.rand(3, 24, 32)
    result = pipe(photo, num_frames=3, output_type="pt", safe=True)
    offsets = result.motion_offsets[0].requires_grad_()
    (offsets * 2).sum().backward()
    assert torch.equal(offsets.grad, torch.full_like(offsets, 2))
    points = pipe.estimate(photo[None])
    sharp = pipe.deblur(photo[None], points)
    reblurred = pipe.reblur(sharp, points)
    for tensor in (*result.frames, *result.sharp, *result.control_points, points, sharp, reblurred,
                   pipe.frame_at(sharp, points, 0.5), pipe.blend_back(photo[None], sharp, reblurred),
                   pipe.refine(photo[None], sharp, points, 1), pipe.deconvolve(photo[None], points)):  # fmt: skip
        assert not tensor.is_inference()
        tensor.add_(1)

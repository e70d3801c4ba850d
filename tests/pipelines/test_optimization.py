"""The switch for speed: same answers, plain weights, and few compilations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.errors import BadInputError


@pytest.fixture
def pipe() -> BlurToVideoPipeline:
    """A motion-aware deblurrer with an estimator of its own, and offsets of a few pixels."""
    torch.manual_seed(0)
    carried = EtrajConfig(base_channels=4).to_dict()
    config = MaDmphnConfig(levels=(1,), base_channels=4, alpha=1.0, estimator_config=carried)
    pipe = BlurToVideoPipeline(
        EtrajModel(EtrajConfig(base_channels=4)).eval(), MaDmphnForImageDeblurring(config).eval()
    )
    for estimator, length in ((pipe.estimator, 3.0), (pipe.deblurrer.estimator, 2.0)):
        estimator.network.head.bias.data = torch.tensor([-length, 1.0, length, -1.0])
    torch.nn.init.normal_(pipe.deblurrer.networks[0].decoder_lv1.layer24.weight, std=0.05)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def photo(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width)


def answers(pipe: BlurToVideoPipeline, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    points = pipe.estimate(image)
    return points, pipe.deblur(image), pipe.deblur(image, points)


def test_compiled_and_plain_agree(pipe: BlurToVideoPipeline) -> None:
    images = [photo(*size) for size in ((48, 64), (51, 37))]
    plain = [answers(pipe, image) for image in images]
    torch._dynamo.reset()
    assert pipe.optimize(dtype=torch.float32, compile=True, backend="eager") is pipe
    for image, expected in zip(images, plain, strict=True):
        for found, wanted in zip(answers(pipe, image), expected, strict=True):
            assert found.shape == wanted.shape
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    whole = pipe(images[1][0], num_frames=3, output_type="pt")
    again = pipe.unoptimize()(images[1][0], num_frames=3, output_type="pt")
    assert pipe.optimization is None
    torch.testing.assert_close(whole.frames[0], again.frames[0], rtol=0, atol=1e-3)


def test_a_second_size_compiles_for_all_further_ones(pipe: BlurToVideoPipeline) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    pipe.optimize(dtype=torch.float32, compile=True, backend=counter)
    pipe.estimate(photo(48, 64))
    pipe.estimate(photo(48, 64))
    assert counter.frame_count == 1
    for height, width in ((56, 80), (72, 120), (67, 50), (101, 64)):
        pipe.estimate(photo(height, width))
    assert counter.frame_count <= 3  # one size; another; and where only one side had changed before


def test_the_report_tells_what_was_done_and_twice_is_once(pipe: BlurToVideoPipeline) -> None:
    assert pipe.optimization is None
    first = pipe.optimize().optimization
    assert first is not None
    assert (first.device, first.channels_last) == ("cpu", True)
    assert not first.compiled  # on a CPU only if asked to
    assert first.dtype in ("float32", "bfloat16")
    assert pipe.optimize().optimization == first
    with pytest.raises(BadInputError, match=r"torch\.int8"):
        pipe.optimize(dtype=torch.int8)
    assert pipe.optimize().to("cpu").optimization is None


def test_saving_writes_plain_weights(pipe: BlurToVideoPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "plain")
    image = photo(48, 64)
    pipe.optimize(dtype=torch.bfloat16).estimate(image)
    pipe.save_pretrained(tmp_path / "optimized")
    for part in ("estimator", "deblurrer"):
        plain, optimized = (load_file(tmp_path / name / part / "model.safetensors") for name in ("plain", "optimized"))
        assert plain.keys() == optimized.keys()
        assert all(torch.equal(plain[name], optimized[name]) for name in plain)
    again = BlurToVideoPipeline.from_pretrained(tmp_path / "optimized")
    torch.testing.assert_close(again.estimate(image), pipe.unoptimize().estimate(image))


def test_bfloat16_stays_close_and_keeps_positions(pipe: BlurToVideoPipeline) -> None:
    image = photo(48, 64)
    points, sharp, _ = answers(pipe, image)
    pipe.optimize(dtype=torch.bfloat16)
    fast_points, fast_sharp, _ = answers(pipe, image)
    assert fast_points.dtype == fast_sharp.dtype == torch.float32
    torch.testing.assert_close(fast_points, points, rtol=0, atol=0.05)
    torch.testing.assert_close(fast_sharp, sharp, rtol=0, atol=0.02)


def test_under_tiling(pipe: BlurToVideoPipeline) -> None:
    image = photo(512, 640)
    plain = pipe.estimate(image, max_memory=2e8), pipe.deblur(image, max_memory=3.4e8)
    pipe.optimize(dtype=torch.float32)
    steps: list[int] = []
    points = pipe.estimate(image, max_memory=2e8, on_tile=lambda done, total: steps.append(total))
    assert steps[0] > 1
    torch.testing.assert_close(points, plain[0], rtol=0, atol=1e-3)
    torch.testing.assert_close(pipe.deblur(image, max_memory=3.4e8), plain[1], rtol=0, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU: nothing to wait for")
def test_networks_and_frames_do_not_make_the_gpu_wait(pipe: BlurToVideoPipeline) -> None:
    pipe.to("cuda").optimize()
    image = photo(64, 96).cuda()

    def run() -> None:
        points = pipe.estimate(image)
        sharp = pipe.deblur(image, points if pipe.estimators_agree else None)
        list(pipe.frames(sharp, points, [-1.0, -0.5, 0.0, 0.5, 1.0]))
        pipe.reblur(sharp, points)

    for _ in range(3):  # compiling and recording may wait
        run()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")

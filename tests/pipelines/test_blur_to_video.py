"""The pipeline on networks whose answer is known: an estimator of constant motion, an idle deblurrer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motion_offsets import (
    BlurToVideoPipeline,
    EtrajConfig,
    EtrajModel,
    MaDmphnConfig,
    MaDmphnForImageDeblurring,
    create_blur,
    offsets_at,
)
from motion_offsets.errors import BadInputError
from motion_offsets.exposure.blending import leave_still
from motion_offsets.exposure.trajectories import sample_times
from motion_offsets.models import hub
from motion_offsets.pipelines.blur_to_video import frame_times

RIGHT = (-4.0, 0.0, 4.0, 0.0)  # offsets (4t, 0)


def estimator_of(motion: tuple[float, ...]) -> EtrajModel:
    """An estimator that answers the same control points everywhere."""
    model = EtrajModel(EtrajConfig(base_channels=4)).eval()
    torch.nn.init.zeros_(model.network.head.weight)
    model.network.head.bias.data = torch.tensor(motion)
    return model


def deblurrer_that_keeps(**config: object) -> MaDmphnForImageDeblurring:
    """A deblurrer whose residual is zero."""
    torch.manual_seed(0)
    model = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, **config)).eval()
    for name, parameter in model.named_parameters():
        if "decoder_lv1.layer24" in name:
            torch.nn.init.zeros_(parameter)
    return model


@pytest.fixture
def pipe() -> BlurToVideoPipeline:
    pipe = BlurToVideoPipeline(estimator_of(RIGHT), deblurrer_that_keeps(motion_aware=False))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def photo(height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def test_frames_are_the_photo_moved_along_the_motion(pipe: BlurToVideoPipeline) -> None:
    image = photo()
    result = pipe(image, num_frames=5, refine_steps=0, output_type="pt")
    columns = torch.arange(64)
    # t = -1, -0.5, 0, 0.5, 1: the frame at p is the sharp frame at p + (4t, 0), borders repeated.
    for frame, shift in zip(result.frames[0], (-4, -2, 0, 2, 4), strict=True):
        torch.testing.assert_close(frame, image[:, :, (columns + shift).clamp(0, 63)])
    assert torch.equal(result.sharp[0], result.frames[0][2])
    torch.testing.assert_close(result.motion_offsets[0][:, 0, 7, 9], torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0]))
    assert result.motion_offsets[0][:, 1].abs().max() == 0
    assert result.control_points[0].shape == (4, 48, 64)
    expected = create_blur(image[None], offsets_at(result.control_points[0][None], sample_times(15), "quadratic"))
    torch.testing.assert_close(result.reblurred[0], expected[0], rtol=0, atol=1e-5)


def test_frame_times_are_even_and_symmetric() -> None:
    assert frame_times(2) == [-1, 1]
    assert frame_times(5) == [-1, -0.5, 0, 0.5, 1]
    assert 0.0 not in frame_times(4)


@pytest.mark.parametrize("count", [1, 0, -3, 2.5, True, "15"])
def test_too_few_frames_are_refused(pipe: BlurToVideoPipeline, count: object) -> None:
    with pytest.raises(BadInputError, match="at least 2"):
        pipe(photo(), num_frames=count)


def test_timestamps_replace_the_number_of_frames(pipe: BlurToVideoPipeline) -> None:
    image = photo()
    frames = pipe(image, timestamps=[0.25, 0], refine_steps=0, output_type="pt").frames[0]
    torch.testing.assert_close(frames[0], image[:, :, (torch.arange(64) + 1).clamp(0, 63)])
    assert torch.equal(frames[1], image)


def test_output_types_hold_the_same_pictures(pipe: BlurToVideoPipeline) -> None:
    image = photo()
    tensors, arrays, pictures = (pipe(image, num_frames=3, output_type=kind) for kind in ("pt", "np", "pil"))
    assert tensors.frames[0].shape == (3, 3, 48, 64)
    np.testing.assert_array_equal(arrays.frames[0], tensors.frames[0].permute(0, 2, 3, 1).numpy())
    assert [frame.size for frame in pictures.frames[0]] == [(64, 48)] * 3
    levels = np.rint(arrays.sharp[0] * 255).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(pictures.sharp[0]), levels)
    assert isinstance(pictures.reblurred[0], Image.Image)


def test_photos_of_a_batch_do_not_touch_each_other(pipe: BlurToVideoPipeline) -> None:
    first, second = photo(48, 64, 1), photo(33, 47, 2)
    together = pipe([first, second], num_frames=2, output_type="pt")
    for index, alone in enumerate((first, second)):
        single = pipe(alone, num_frames=2, output_type="pt")
        assert torch.equal(together.frames[index], single.frames[0])
        assert together.consistency[index] == single.consistency[0]
    stacked = pipe(torch.stack([first, first]), num_frames=2, output_type="pt")
    assert torch.equal(stacked.sharp[1], together.sharp[0])


def test_sharp_image_from_elsewhere_is_the_sharp_frame() -> None:
    pipe = BlurToVideoPipeline(estimator_of(RIGHT))
    pipe.set_progress_bar_config(disable=True)
    sharp = photo(seed=3)
    result = pipe(photo(), num_frames=3, sharp_image=sharp, output_type="pt")
    assert torch.equal(result.frames[0][1], sharp)
    with pytest.raises(BadInputError, match="no deblurrer"):
        pipe(photo())
    with pytest.raises(BadInputError, match="of one size"):
        pipe(photo(), sharp_image=photo(48, 60))
    with pytest.raises(BadInputError, match="1 picture for 2 photos"):
        pipe([photo(), photo()], sharp_image=sharp)


def test_bad_arguments_are_refused(pipe: BlurToVideoPipeline, tmp_path: Path) -> None:
    for arguments, said in (
        ({"output_type": "jpeg"}, "pil, np, pt"),
        ({"timestamps": [0, 1.5]}, "outside the exposure"),
        ({"timestamps": []}, "timestamps are empty"),
    ):
        with pytest.raises(BadInputError, match=said):
            pipe(photo(), **arguments)
    with pytest.raises(BadInputError, match="empty list"):
        pipe([])
    with pytest.raises(BadInputError, match=r"missing\.png"):
        pipe(tmp_path / "missing.png")


def test_consistency_of_a_true_answer_and_of_doing_nothing(astronaut: Tensor) -> None:
    pipe = BlurToVideoPipeline(estimator_of((-12.0, 0.0, 12.0, 0.0)), deblurrer_that_keeps(motion_aware=False))
    pipe.set_progress_bar_config(disable=True)
    sharp = astronaut[..., :192, 160:384].contiguous()
    motion = torch.tensor((-12.0, 0.0, 12.0, 0.0)).view(1, 4, 1, 1).expand(1, 4, 192, 224).contiguous()
    blurred = create_blur(sharp, offsets_at(motion, sample_times(25), "quadratic"))  # 24 pixels long
    true = pipe(blurred, num_frames=2, sharp_image=sharp, refine_steps=0, output_type="pt").consistency[0]
    assert true.reblur_psnr == 100
    assert true.mean_offset_length == pytest.approx(12 * 8 / 15)  # mean of |12t| over the 15 samples
    assert true.sharpness_gain > 1.5
    assert not true.unchanged
    idle = pipe(blurred, num_frames=2, refine_steps=0, output_type="pt").consistency[0]
    assert idle.sharpness_gain == pytest.approx(1)
    assert idle.unchanged
    assert dict(idle)["unchanged"] is True
    json.dumps(dict(idle))


def test_refined_motion_explains_the_photo_better(astronaut: Tensor) -> None:
    sharp = astronaut[..., 60:188, 120:280]
    true = torch.tensor([-4.0, 2.0, 4.0, 1.0]).view(1, 4, 1, 1).expand(1, 4, 128, 160)
    blurred = create_blur(sharp, offsets_at(true, sample_times(15), "quadratic"))[0]
    pipe = BlurToVideoPipeline(estimator_of(RIGHT))
    pipe.set_progress_bar_config(disable=True)
    plain, refined = (
        pipe(blurred, 3, sharp_image=sharp[0], refine_steps=steps, output_type="pt") for steps in (0, 15)
    )
    assert refined.consistency[0].reblur_psnr > plain.consistency[0].reblur_psnr + 1
    errors = [(found.control_points[0] - true[0]).abs().mean() for found in (plain, refined)]
    assert errors[1] < 0.9 * errors[0]
    with pytest.raises(BadInputError, match="refine_steps is -1"):
        pipe(blurred, refine_steps=-1, sharp_image=sharp[0])


def test_safe_takes_back_what_the_motion_does_not_explain(astronaut: Tensor) -> None:
    image = astronaut[0, :, 60:188, 120:280]
    wrong = (image + 0.3 * (image - image.roll(4, 2))).clamp(0, 1)
    pipe = BlurToVideoPipeline(estimator_of(RIGHT))
    pipe.set_progress_bar_config(disable=True)
    plain, safe = (
        pipe(image, 3, sharp_image=wrong, refine_steps=0, safe=kept, output_type="pt") for kept in (False, True)
    )
    assert plain.consistency[0].doubtful
    assert (safe.sharp[0] - image).abs().mean() < 0.4 * (plain.sharp[0] - image).abs().mean()
    assert torch.equal(safe.frames[0][1], safe.sharp[0])


def test_deblurrer_without_estimator_gets_the_offsets() -> None:
    deblurrer = deblurrer_that_keeps()
    pipe = BlurToVideoPipeline(estimator_of(RIGHT), deblurrer)
    image = photo()[None]
    deblurrer.networks[0].decoder_lv1.layer24.bias.data.fill_(0.05)
    points = pipe.estimate(image)
    assert torch.equal(pipe.deblur(image), pipe.deblur(image, points))
    with torch.inference_mode():
        direct = deblurrer(image, motion_offsets=offsets_at(points, deblurrer.config.tap_times, "quadratic")).sharp
    kept = direct + image.mean((2, 3), keepdim=True) - direct.mean((2, 3), keepdim=True)
    torch.testing.assert_close(pipe.deblur(image), kept.clamp(0, 1))


def test_a_deblurrer_that_darkens_and_tints_loses_no_light() -> None:
    """Whole and in tiles, every photo of a batch for itself."""
    deblurrer = deblurrer_that_keeps(motion_aware=False)
    pipe = BlurToVideoPipeline(EtrajModel(EtrajConfig(base_channels=4)).eval(), deblurrer)
    deblurrer.networks[0].decoder_lv1.layer24.bias.data = torch.tensor([-0.02, -0.01, 0.03])
    small, large = (0.2 + 0.6 * torch.rand(shape) for shape in ((2, 3, 24, 32), (1, 3, 512, 544)))
    torch.testing.assert_close(pipe.deblur(small), small, rtol=0, atol=1e-6)
    tiles: list[int] = []
    sharp = pipe.deblur(large, max_memory=3.2e8, on_tile=lambda done, total: tiles.append(total))
    assert tiles[-1] > 1
    torch.testing.assert_close(sharp, large, rtol=0, atol=1e-5)


def test_deblurrer_with_estimator_uses_its_own_unless_asked() -> None:
    torch.manual_seed(0)
    config = MaDmphnConfig(base_channels=4, estimator_config=EtrajConfig(base_channels=4).to_dict())
    deblurrer = MaDmphnForImageDeblurring(config).eval()
    with torch.no_grad():
        deblurrer.estimator.network.head.weight.mul_(30)  # paths of some pixels
    pipe = BlurToVideoPipeline(estimator_of((-40.0, 0.0, 40.0, 0.0)), deblurrer)
    pipe.set_progress_bar_config(disable=True)
    image = photo()
    own = pipe(image, num_frames=2, refine_steps=0, output_type="pt").sharp[0]
    with torch.inference_mode():
        made = deblurrer(image[None]).sharp[0]
    kept = made + image.mean((1, 2), keepdim=True) - made.mean((1, 2), keepdim=True)
    with torch.inference_mode():
        points = deblurrer.estimator(image[None]).control_points
    moving = leave_still(image[None], kept.clamp(0, 1)[None], points, "quadratic")[0]
    assert not torch.equal(moving, image)
    torch.testing.assert_close(own, moving)
    shared = pipe(image, num_frames=2, refine_steps=0, output_type="pt", share_offsets=True).sharp[0]
    assert not torch.equal(own, shared)


def test_an_estimator_that_both_hold_runs_once() -> None:
    torch.manual_seed(0)
    config = MaDmphnConfig(base_channels=4, estimator_config=EtrajConfig(base_channels=4).to_dict())
    deblurrer = MaDmphnForImageDeblurring(config).eval()
    estimator = EtrajModel(EtrajConfig(base_channels=4)).eval()
    pipe = BlurToVideoPipeline(estimator, deblurrer)
    pipe.set_progress_bar_config(disable=True)
    assert not pipe.estimators_agree
    apart = pipe(photo(), num_frames=2, output_type="pt").sharp[0]
    estimator.load_state_dict(deblurrer.estimator.state_dict())
    assert pipe.estimators_agree
    runs: list[str] = []
    estimator.register_forward_hook(lambda *_: runs.append("pipeline's"))
    deblurrer.estimator.register_forward_hook(lambda *_: runs.append("deblurrer's"))
    torch.testing.assert_close(pipe(photo(), num_frames=2, output_type="pt").sharp[0], apart)
    assert runs == ["pipeline's"]


def test_a_large_photo_is_tiled_and_agrees_with_the_whole() -> None:
    torch.manual_seed(0)
    pipe = BlurToVideoPipeline(
        EtrajModel(EtrajConfig(base_channels=4)).eval(), deblurrer_that_keeps(motion_aware=False)
    )
    image = torch.nn.functional.interpolate(photo(40, 90)[None], size=(512, 960), mode="bicubic").clamp(0, 1)
    steps: list[tuple[int, int]] = []
    tiled = pipe.estimate(image, max_memory=2.4e8, on_tile=lambda done, total: steps.append((done, total)))
    assert len(steps) > 1
    whole = pipe.estimate(image)
    error = (tiled - whole).square().mean()
    assert 10 * torch.log10(whole.var() / error) > 30
    torch.testing.assert_close(pipe.deblur(image, max_memory=4.1e8), pipe.deblur(image))


def test_uncertainty_comes_whole_in_tiles_and_optimized(astronaut: Tensor) -> None:
    torch.manual_seed(0)
    config = EtrajConfig(
        backbone="pyramid",
        widths=[8, 12],
        encoder_blocks=[0, 0],
        decoder_blocks=[0],
        direction="doubled-angle",
        predicts_uncertainty=True,
    )
    pipe = BlurToVideoPipeline(EtrajModel(config).eval())
    photo = torch.nn.functional.interpolate(astronaut, size=(512, 768), mode="bilinear", align_corners=False)
    whole = pipe.answer(photo, method="none")
    expected = pipe.estimator(photo).uncertainty
    torch.testing.assert_close(whole.uncertainty, expected, rtol=1e-4, atol=1e-3)
    tiled = pipe.answer(photo, method="none", max_memory=2.4e8)
    # The network sees no further than the margin of a tile, so that tiles agree with the whole.
    torch.testing.assert_close(tiled.uncertainty, expected, rtol=1e-3, atol=1e-2)
    assert not torch.equal(tiled.uncertainty, expected)
    torch.testing.assert_close(pipe.estimate(photo), pipe.estimator(photo).control_points, rtol=1e-4, atol=1e-3)
    pipe.optimize(dtype=torch.float32, compile=False)
    torch.testing.assert_close(pipe.answer(photo, method="none").uncertainty, expected, rtol=1e-4, atol=1e-3)
    assert whole.photo(0).uncertainty.shape == (1, 1, 512, 768)


def test_bfloat16_autocast_stays_close(pipe: BlurToVideoPipeline) -> None:
    """Positions keep their precision: bfloat16 would round 20.3 pixels to 20.25."""
    pipe.estimator.network.head.bias.data = torch.tensor([-20.3, 0.1, 20.3, -0.1])
    image = photo()[None]
    estimated = pipe.estimate(image, dtype=torch.bfloat16)
    assert estimated.dtype == torch.float32
    torch.testing.assert_close(estimated, pipe.estimate(image), rtol=0, atol=1e-4)


def test_save_and_load_as_one_folder(pipe: BlurToVideoPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = BlurToVideoPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    image = photo()
    expected, found = (each(image, num_frames=3, output_type="pt") for each in (pipe, again))
    assert torch.equal(expected.frames[0], found.frames[0])
    assert again.processor.max_pixels == pipe.processor.max_pixels
    assert BlurToVideoPipeline.from_pretrained(tmp_path, deblurrer=None).deblurrer is None
    config = json.loads((tmp_path / "estimator" / "config.json").read_text())
    (tmp_path / "estimator" / "config.json").write_text(json.dumps({**config, "trajectory": "linear"}))
    with pytest.raises(BadInputError, match="do not fit"):
        BlurToVideoPipeline.from_pretrained(tmp_path)


def test_bundled_pipeline_is_composed_of_bundled_models(
    pipe: BlurToVideoPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_bundle_roots", lambda: [tmp_path])
    pipe.estimator.save_pretrained(tmp_path / "motion")
    pipe.deblurrer.save_pretrained(tmp_path / "sharp")
    (tmp_path / "both").mkdir()
    index = {"bundled_components": {"estimator": "motion", "deblurrer": "sharp"}}
    (tmp_path / "both" / "model_index.json").write_text(json.dumps(index))
    both = BlurToVideoPipeline.from_pretrained("both")
    assert both.estimator.dtype == torch.float32
    assert both.deblurrer is not None
    assert BlurToVideoPipeline.from_pretrained("both", deblurrer=None).deblurrer is None
    with pytest.raises(BadInputError, match=r"bundled name \(both, motion, sharp\)"):
        BlurToVideoPipeline.from_pretrained("neither")


def test_the_camera_s_motion_is_followed_where_nothing_is_textured_unless_it_is_switched_off(
    pipe: BlurToVideoPipeline,
) -> None:
    flat = torch.full((3, 48, 64), 0.5)
    followed = pipe([flat, photo()], num_frames=2, refine_steps=0)
    assert followed.control_points[0].abs().max() == 0
    assert not followed.cameras[0].moved
    assert followed.cameras[1].moved
    assert followed.cameras[1].explained == pytest.approx(1)
    assert followed.cameras[1].path([1.0])[0].abs().tolist() == pytest.approx([4, 0], abs=1e-4)
    as_estimated = pipe(flat, num_frames=2, camera="off", refine_steps=0)
    assert as_estimated.cameras == [None]
    assert as_estimated.control_points[0].abs().amax((1, 2)).tolist() == [4, 0, 4, 0]
    pipe.camera = "off"
    assert pipe(flat, num_frames=2).cameras == [None]


def test_a_camera_mode_that_does_not_exist_is_refused(pipe: BlurToVideoPipeline) -> None:
    with pytest.raises(BadInputError, match="`camera` is 'tripod'; it must be one of auto, off, only"):
        pipe(photo(), camera="tripod")
    with pytest.raises(BadInputError, match="`camera` is 'tripod'"):
        pipe.answer(photo()[None], camera="tripod")


def test_a_deblurrer_with_an_estimator_of_its_own_gets_the_estimates_as_they_are(pipe: BlurToVideoPipeline) -> None:
    given: list[Tensor | None] = []

    def deblur(pixel_values: Tensor, control_points: Tensor | None, *rest: object) -> Tensor:
        given.append(control_points)
        return pixel_values

    pipe.deblur = deblur  # type: ignore[method-assign]
    flat = torch.full((1, 3, 48, 64), 0.5)
    assert pipe.answer(flat, share_offsets=True).control_points.abs().max() == 0
    pipe.deblurrer = deblurrer_that_keeps(estimator_config=EtrajConfig(base_channels=4))
    pipe.answer(flat, share_offsets=True)
    pipe.answer(flat, share_offsets=False)
    assert given[0] is not None
    assert given[0].abs().max() == 0
    assert given[1] is not None
    assert given[1].abs().max() == 4
    assert given[2] is None


def test_models_of_another_kind_are_refused() -> None:
    estimator, deblurrer = (
        EtrajModel(EtrajConfig(base_channels=2)),
        MaDmphnForImageDeblurring(MaDmphnConfig(levels=(1,))),
    )
    for networks, said in (
        ((deblurrer, estimator), "estimator is of class MaDmphnForImageDeblurring; give an EtrajModel"),
        ((None, deblurrer), "estimator is of class NoneType; give"),
        (("etraj-quadratic", deblurrer), "estimator is of class str; give"),
        ((estimator, estimator), "deblurrer is of class EtrajModel; give one such as MaDmphnForImageDeblurring"),
        ((estimator, "ma-dmphn"), "deblurrer is of class str; give"),
    ):
        with pytest.raises(BadInputError, match=said) as raised:
            BlurToVideoPipeline(*networks)
        assert "\n" not in str(raised.value)

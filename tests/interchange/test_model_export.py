"""Exported models give what the models give, at sizes that the export never saw, and without this package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from motion_offsets import (
    EtrajConfig,
    EtrajModel,
    MaDmphnConfig,
    MaDmphnForImageDeblurring,
    MotionGuidedConfig,
    MotionGuidedForImageDeblurring,
)
from motion_offsets.cli.app import app
from motion_offsets.errors import BadInputError
from motion_offsets.interchange import model_export
from motion_offsets.interchange.model_export import ExportReport, export_model, load_exportable, side_multiple

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra export)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra export)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra export)")


def deblurrer(levels: tuple[int, ...] = (1,)) -> MaDmphnForImageDeblurring:
    """Motion-aware; its motion is a few pixels, so that the offsets matter."""
    torch.manual_seed(0)
    carried = EtrajConfig(base_channels=4)
    config = MaDmphnConfig(
        levels=levels, base_channels=4, alpha=1.0, motion_padding_mode="border", estimator_config=carried
    )
    model = MaDmphnForImageDeblurring(config).eval()
    model.estimator.network.head.bias.data = torch.tensor([-3.0, 1.0, 2.0, -1.0])
    torch.nn.init.normal_(model.networks[0].decoder_lv1.layer24.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, ExportReport]:
    """The deblurrer as ONNX, asking its own estimator and taking control points; its graph is traced once."""
    folder = tmp_path_factory.mktemp("onnx")
    traced: dict[type, object] = {}
    convert, program = model_export._converted, model_export._program

    def converted(given: tuple) -> object:
        kind = type(given[0])
        if kind not in traced:
            traced[kind] = convert(program(*given))
        return traced[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_export, "_program", lambda core, channels: (core, channels))
        patch.setattr(model_export, "_converted", converted)
        reports = {}
        for points in (False, True):
            (folder / str(points)).mkdir()
            path = folder / str(points) / "deblurrer.onnx"
            reports[points] = export_model(deblurrer(), path, control_points=points)
    return reports


@pytest.fixture
def exported(both: dict[bool, ExportReport]) -> ExportReport:
    return both[False]


def motion_guided(**values: object) -> MotionGuidedForImageDeblurring:
    config = MotionGuidedConfig(
        widths=(4, 8),
        encoder_blocks=(0, 1),
        decoder_blocks=(1,),
        deconvolution_steps=(1,),
        path_distances=(2.0,),
        num_samples=3,
        **values,
    )
    model = MotionGuidedForImageDeblurring(config).eval()
    torch.nn.init.normal_(model.stages[0].unet.head.weight, std=0.05)
    return model


def test_a_motion_guided_deblurrer_takes_the_motion(tmp_path: Path) -> None:
    """What is written is compared with the model at sizes that are no multiples of its strides."""
    report = export_model(motion_guided(), tmp_path / "guided.onnx", control_points=True)
    assert report.differences["sharp"] < 1e-4
    with pytest.raises(BadInputError, match="carries no estimator"):
        export_model(motion_guided(), tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["guided.onnx"]


def test_a_deblurrer_as_onnx_gives_the_models_results(exported: ExportReport) -> None:
    model = deblurrer()
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, 32, 32), (2, 51, 70), (1, 64, 33)):
        photos = torch.rand(batch, 3, height, width)
        sharp, points = session.run(["sharp", "control_points"], {"pixel_values": photos.numpy()})
        with torch.no_grad():
            expected = model(photos)
            motion = model.estimator(photos).control_points
        np.testing.assert_allclose(sharp, expected.sharp.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(points, motion.numpy(), rtol=0, atol=1e-4)
    assert set(exported.differences) == {"sharp", "control_points"}
    assert 0 < exported.differences["sharp"] < 1e-3


def test_the_graph_is_one_file_of_standard_operators(exported: ExportReport) -> None:
    model = onnx.load(exported.path, load_external_data=False)
    assert {node.domain for node in model.graph.node} == {""}
    assert [opset.domain for opset in model.opset_import] == [""]
    assert "GridSample" in {node.op_type for node in model.graph.node}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert [path.name for path in exported.path.parent.iterdir()] == ["deblurrer.onnx"]
    sizes = [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "height", "width"]


def test_onnxruntime_alone_runs_it(exported: ExportReport) -> None:
    """Neither this package nor PyTorch is imported."""
    code = (
        "import sys, numpy, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(exported.path)!r}, providers=['CPUExecutionProvider'])\n"
        "sharp = session.run(['sharp'], {'pixel_values': numpy.zeros((1, 3, 40, 50), numpy.float32)})[0]\n"
        "print(sharp.shape, 'torch' in sys.modules, 'motion_offsets' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(1, 3, 40, 50) False False"


def test_the_program_of_the_guide_runs(
    exported: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``docs/guides/gpus.md`` prints it for ``ma-dmphn``, whose graph is built like that of a deblurrer this small."""
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "gpus.md").read_text(encoding="utf-8")
    (program,) = [code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "onnxruntime" in code]
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (50, 40), "gray").save("photo.jpg")
    shutil.copy(exported.path, "deblurrer.onnx")
    exec(compile(program, "gpus.md", "exec"), {})
    with Image.open("sharp.png") as sharp:
        assert sharp.size == (50, 40)


def test_half_precision_is_half_the_file_and_close(tmp_path: Path) -> None:
    model = EtrajModel(EtrajConfig(base_channels=16)).eval()
    model.network.head.bias.data = torch.tensor([-20.3, 0.1, 20.3, -0.1])
    report = export_model(model, tmp_path / "half.onnx", "float16")
    types = {tensor.data_type for tensor in onnx.load(report.path).graph.initializer if len(tensor.dims) == 4}
    assert types == {onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT}  # the last layer is float32
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert report.num_bytes < 2.5 * weights
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    photos = torch.rand(1, 3, 50, 41)
    (points,) = session.run(None, {"pixel_values": photos.numpy()})
    assert points.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_allclose(points, model(photos).control_points.numpy(), rtol=0, atol=0.05)


def test_motion_from_outside(both: dict[bool, ExportReport]) -> None:
    model = deblurrer()
    session = onnxruntime.InferenceSession(str(both[True].path), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["pixel_values", "control_points"]
    assert [each.name for each in session.get_outputs()] == ["sharp"]
    photos, points = torch.rand(2, 3, 57, 41), 4 * torch.randn(2, 4, 57, 41)
    (sharp,) = session.run(None, {"pixel_values": photos.numpy(), "control_points": points.numpy()})
    with torch.no_grad():
        offsets = model.estimator.offsets_at(points, model.config.tap_times)
        expected = model(photos, motion_offsets=offsets).sharp
        still = model(photos, motion_offsets=torch.zeros_like(offsets)).sharp
    np.testing.assert_allclose(sharp, expected.numpy(), rtol=0, atol=1e-4)
    assert float((still - expected).abs().max()) > 0.01  # the motion matters


def test_all_three_levels(tmp_path: Path) -> None:
    """What the patches of an odd-sized photo are padded to differs from level to level."""
    model = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=2, motion_aware=False)).eval()
    report = export_model(model, tmp_path / "levels.onnx")
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    photos = torch.rand(2, 3, 57, 41)
    (sharp,) = session.run(None, {"pixel_values": photos.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(sharp, model(photos).sharp.numpy(), rtol=0, atol=1e-4)


def test_a_torch_export_program_takes_any_multiple(tmp_path: Path) -> None:
    model = motion_guided(estimator_config={"base_channels": 4})
    report = export_model(model, tmp_path / "model.pt2", control_points=True)
    assert max(report.differences.values()) < 1e-3
    program = torch.export.load(report.path)
    assert not [node for node in program.graph.nodes if "motion_offsets" in str(node.target)]
    assert not any("estimator" in name for name in program.state_dict)
    rows, columns = side_multiple(model)
    photos = torch.rand(3, 3, 32 + 5 * rows, 32 + 7 * columns)
    with torch.no_grad():
        points = model.estimator(photos).control_points
        found = program.module()(photos, points)
        torch.testing.assert_close(
            found, model.sharpen(photos, points, "quadratic", as_exported=True), rtol=0, atol=1e-4
        )


def test_a_file_that_differs_is_not_kept(
    exported: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = onnx.load(exported.path)
    tensor = next(each for each in damaged.graph.initializer if len(each.dims) == 4)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.5, tensor.name))
    monkeypatch.setattr(model_export, "onnx_model", lambda *_: damaged)
    (tmp_path / "old.onnx").write_text("what was there")
    with pytest.raises(RuntimeError, match="differs from the model"):
        export_model(deblurrer(), tmp_path / "old.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_text() == "what was there"


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1
        return result.output

    assert ".onnx or .pt2" in refused("etraj-quadratic", "-o", tmp_path / "model.tflite")
    assert "--dtype 'bfloat16'" in refused("etraj-quadratic", "-o", tmp_path / "m.onnx", "--dtype", "bfloat16")
    assert "give an estimator or a deblurrer" in refused("blur-to-video", "-o", tmp_path / "m.onnx")
    assert "'nothing' not found" in refused("nothing", "-o", tmp_path / "m.onnx")
    assert "leave --control-points out" in refused("etraj-linear", "-o", tmp_path / "m.onnx", "--control-points")
    assert "gone does not exist" in refused("etraj-linear", "-o", tmp_path / "gone" / "m.onnx")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    assert "is a file" in refused(tmp_path / "photo.jpg", "-o", tmp_path / "m.onnx")
    (tmp_path / "m.npz").write_bytes(b"x")
    assert "are for models" in refused(tmp_path / "m.npz", "-o", tmp_path / "m.flo", "--dtype", "float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "photo.jpg"]
    bare = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4))
    with pytest.raises(BadInputError, match="carries no estimator"):
        export_model(bare, tmp_path / "bare.onnx")


def test_a_bundled_name_on_the_command_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "etraj-linear", "-o", str(tmp_path / "m.pt2")])
    assert result.exit_code == 0, result.output
    assert "largest difference from the model: control_points" in result.output
    assert isinstance(load_exportable("etraj-linear"), EtrajModel)


def test_an_estimator_of_two_scales(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = EtrajModel(EtrajConfig(base_channels=4, predicts_uncertainty=True, scales=[1, 2])).eval()
    report = export_model(model, tmp_path / "estimator.onnx")
    session = onnxruntime.InferenceSession(str(report.path))
    for height, width in ((16, 20), (70, 97)):
        photo = torch.rand(1, 3, height, width)
        (points,) = session.run(None, {"pixel_values": photo.numpy()})
        with torch.no_grad():
            expected = model(photo).control_points
        torch.testing.assert_close(torch.from_numpy(points), expected, atol=1e-3, rtol=1e-3)

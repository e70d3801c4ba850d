"""Names, folders and mismatches: what can be loaded, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel, MotionOffsetsImageProcessor
from motion_offsets.errors import BadInputError
from motion_offsets.models import hub
from motion_offsets.models.hub import is_pipeline, pipeline_components, resolve_name


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    EtrajModel(EtrajConfig(base_channels=4)).half().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture
def bundle(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that bundles the tiny model."""
    monkeypatch.setattr(hub, "_bundle_roots", lambda: [saved.parent])
    return saved


def test_bundled_name_wins_over_a_folder(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_name("tiny") == str(bundle)
    assert Path(resolve_name("./tiny")).resolve() == tmp_path / "tiny"


def test_paths_and_hub_names_pass(saved: Path) -> None:
    assert resolve_name(saved) == str(saved)
    assert resolve_name("some-org/some-model") == "some-org/some-model"


@pytest.mark.parametrize("name", ["nothing", "./nothing", "/no/such/folder", "a/b/c", "~/no-such-folder", ""])
def test_unknown_names_list_what_is_bundled(name: str, bundle: Path) -> None:
    with pytest.raises(BadInputError, match=r"not found: give a bundled name \(tiny\)"):
        resolve_name(name)


def test_a_file_is_no_model(saved: Path) -> None:
    with pytest.raises(BadInputError, match="is a file: give the folder"):
        resolve_name(saved / "config.json")


def test_models_load_by_plain_name_in_float32(bundle: Path) -> None:
    model = EtrajModel.from_pretrained("tiny")
    assert model.dtype == torch.float32
    assert not model.training
    assert EtrajModel.from_pretrained("tiny", dtype=torch.float16).dtype == torch.float16
    assert EtrajConfig.from_pretrained("tiny").base_channels == 4


def test_auto_classes_load_our_folders(saved: Path) -> None:
    assert isinstance(AutoConfig.from_pretrained(saved), EtrajConfig)
    assert isinstance(AutoModel.from_pretrained(saved), EtrajModel)


def test_auto_image_processor_loads_ours_without_torchvision(copy: Path) -> None:
    MotionOffsetsImageProcessor(max_pixels=1000).save_pretrained(copy)
    try:
        processor = AutoImageProcessor.from_pretrained(copy)
    except ImportError as error:
        if "AutoImageProcessor requires the Torchvision library" not in str(error):
            raise
        pytest.skip("the Auto class of this transformers version (5.17 is one) always needs torchvision")
    assert isinstance(processor, MotionOffsetsImageProcessor)
    assert processor.max_pixels == 1000


def test_loading_info_is_still_given(saved: Path) -> None:
    model, info = EtrajModel.from_pretrained(saved, output_loading_info=True)
    assert isinstance(model, EtrajModel)
    assert not info["missing_keys"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_channels": 8}, r"is \(32,\) instead of \(64,\).* and \d+ more"),
        ({"trajectory": "linear"}, r"network.head.bias is \(4,\) instead of \(2,\)"),
        ({"trajectory": "circular"}, "circular"),
        ({"num_samples": 14}, "odd"),
    ],
)
def test_config_that_does_not_fit_is_refused(copy: Path, changes: dict[str, object], said: str) -> None:
    edit_config(copy, **changes)
    with pytest.raises(BadInputError, match=said) as caught:
        EtrajModel.from_pretrained(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_unexpected_weights_are_named(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["stranger"] = weights.pop("network.head.bias")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInputError, match="missing network.head.bias; unexpected stranger"):
        EtrajModel.from_pretrained(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{ nonsense"])
def test_unreadable_files_are_one_line(copy: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    with pytest.raises(BadInputError, match="cannot be loaded") as caught:
        EtrajModel.from_pretrained(copy)
    assert "\n" not in str(caught.value)


def test_offline_hub_name_says_what_would_do(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInputError, match=r"give a bundled name \(tiny\), which needs no network"):
        EtrajModel.from_pretrained("no-such-org-here/no-such-model")


def test_pipeline_folders(tmp_path: Path, saved: Path) -> None:
    assert not is_pipeline(saved)
    assert pipeline_components(saved) == {}
    index = {"_class_name": "BlurToVideoPipeline", "bundled_components": {"estimator": "tiny"}}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert is_pipeline(tmp_path)
    assert pipeline_components(tmp_path) == {"estimator": "tiny"}
    with pytest.raises(BadInputError, match="is a whole pipeline"):
        EtrajModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model_index.json", "{"),
        ("model_index.json", '{"bundled_components": {"painter": "etraj-quadratic"}}'),
        ("config.json", "[]"),
        ("config.json", '{"model_type": "etraj", "num_samples": "15"}'),
    ],
)
def test_folders_of_nonsense_are_bad_input(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    load = BlurToVideoPipeline.from_pretrained if file == "model_index.json" else EtrajModel.from_pretrained
    with pytest.raises(BadInputError, match=f"^model '{tmp_path}'") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)

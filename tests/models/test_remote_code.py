"""Code saved with models: flattened from folders, and loaded from a folder without the package or beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from motion_offsets import BlurToVideoPipeline, EtrajConfig, MotionOffsetsImageProcessor
from motion_offsets.models.carried_estimator import CarriedEstimatorMixin
from motion_offsets.models.hub import bundled_models
from motion_offsets.models.registry import MODELS
from motion_offsets.models.remote_code import flattened

SMALL = {
    "etraj": {"base_channels": 4},
    "ma-dmphn": {"base_channels": 4, "levels": (1,)},
    "motion-guided": {"widths": (4, 4), "encoder_blocks": (0, 1), "decoder_blocks": (1,)},
    "maxim": {"base_channels": 4, "block_sizes": (4, 2, 2), "num_stages": 1, "num_blocks": 1},
}
HIDDEN = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "motion_offsets":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
LOAD = """
import json, sys
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel

processor, photo, *folders = sys.argv[1:]
try:
    loaded = AutoImageProcessor.from_pretrained(processor, trust_remote_code=True, backend="pil")
    shape = list(loaded(torch.rand(3, 24, 32))["pixel_values"].shape)
    print(json.dumps([type(loaded).__module__.partition(".")[0], loaded.max_pixels, shape]))
except ImportError as error:  # the Auto class of transformers 5.17 always needs torchvision
    assert "requires the Torchvision library" in str(error), error
    print(json.dumps("needs torchvision"))
for folder in folders:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    model.save_pretrained(folder + "-again")
    again = AutoModel.from_pretrained(folder + "-again", trust_remote_code=True).eval()
    print(json.dumps({
        "module": type(model).__module__.partition(".")[0],
        "one_config_class": type(config) is type(model.config),
        "estimator": getattr(model, "estimator", None) is not None,
        "weights": [float(sum(value.double().sum() for value in one.state_dict().values())) for one in (model, again)],
    }))
    with torch.no_grad():
        torch.save(model(torch.load(photo)).to_tuple()[0], folder + "/answer.pt")
"""


@pytest.mark.parametrize("cls", [entry.model_class() for entry in MODELS.values()] + [MotionOffsetsImageProcessor])
def test_code_lies_side_by_side(cls: type) -> None:
    code = flattened(cls)
    assert cls.__module__.rpartition(".")[2] in code
    for stem, text in code.items():
        compile(text, stem, "exec")
        imported = re.findall(r"^\s*from (\.+)([\w.]*) import", text, re.MULTILINE)
        assert all(dots == "." and name in code for dots, name in imported), (stem, imported)


def test_the_code_of_a_pipeline_has_one_file_of_each_name() -> None:
    """``flattened`` refuses two modules of one name."""
    assert {"blur_to_video", "answer", "modeling_etraj"} < flattened(BlurToVideoPipeline).keys()


@pytest.mark.parametrize("hidden", [True, False], ids=["without the package", "beside the package"])
def test_folders_load_with_their_own_code(hidden: bool, tmp_path: Path) -> None:
    """All in one process; deblurrers with their estimators, whose config used to be taken for another class's."""
    totals, answers, photo = {}, {}, torch.rand(1, 3, 24, 32)
    torch.save(photo, tmp_path / "photo.pt")
    MotionOffsetsImageProcessor(max_pixels=1000).save_pretrained(tmp_path / "processor")
    for kind, values in SMALL.items():
        config_class = MODELS[kind].config_class()
        carries = issubclass(config_class, CarriedEstimatorMixin)
        estimator = {"estimator_config": EtrajConfig(base_channels=4)} if carries else {}
        model = MODELS[kind].model_class()(config_class(**values, **estimator)).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # layers that begin as zeros would hide others
                parameter.add_(0.01 * torch.randn_like(parameter))
            answers[kind] = model(photo).to_tuple()[0]
        model.save_pretrained(tmp_path / kind)
        totals[kind] = float(sum(value.double().sum() for value in model.state_dict().values()))
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    given = [tmp_path / name for name in ("processor", "photo.pt", *SMALL)]
    command = [sys.executable, "-c", HIDDEN * hidden + LOAD, *map(str, given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    processor, *loaded = [json.loads(line) for line in done.stdout.splitlines() if line[0] in '{["']
    assert processor in ("needs torchvision", ["transformers_modules", 1000, [1, 3, 24, 32]])
    for (kind, total), said in zip(totals.items(), loaded, strict=True):
        assert said["module"] == "transformers_modules", kind
        assert said["one_config_class"], kind
        assert said["estimator"] == issubclass(MODELS[kind].config_class(), CarriedEstimatorMixin), kind
        assert said["weights"] == pytest.approx([total, total]), kind
        torch.testing.assert_close(torch.load(tmp_path / kind / "answer.pt"), answers[kind])


@pytest.mark.parametrize(
    "name", [name for name, folder in bundled_models().items() if (folder / "config.json").is_file()]
)
def test_a_bundled_folder_loads_when_its_code_is_trusted(name: str) -> None:
    model = AutoModel.from_pretrained(str(bundled_models()[name]), trust_remote_code=True)
    assert type(model).__module__.startswith("motion_offsets.models.")
    assert getattr(model, "estimator", None) is not None or type(model).__name__ == "EtrajModel"

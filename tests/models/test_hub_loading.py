"""``from_pretrained`` of what was published, by clients in processes of their own, from a Hub over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hub_server import Hub, User
from PIL import Image
from tiny_checkout import make_checkout

from motion_offsets import __version__
from motion_offsets.models.hub import bundled_models

ROOT = Path(__file__).resolve().parents[2]
TAG = f"v{__version__}"

Client = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The tiny models, published in two versions; lab/secret is private."""
    with Hub() as hub:
        hub.users = {"alices": User("alice", ("lab",)), "bobs": User("bob")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            for seed, options in ((0, ()), (1, ("--tag", "v2"))):
                root = make_checkout(tmp_path_factory.mktemp("checkout"), seed)
                _publish(hub, root, patch, *options)
            (root / "hub" / "models" / "motion").rename(root / "hub" / "models" / "secret")
            (root / "model_cards" / "motion.md").rename(root / "model_cards" / "secret.md")
            _publish(hub, root, patch, "secret", "--private", "--collection", "")
        yield hub


def _publish(hub: Hub, root: Path, patch: pytest.MonkeyPatch, *options: str) -> None:
    patch.setattr("motion_offsets.models.hub._bundle_roots", lambda: [root / "hub" / "models"])
    access = ("--org", "lab", "--endpoint", hub.endpoint, "--token", "alices")
    done = run("publish", "--root", root, *access, *options)
    assert done.exit_code == 0, done.output


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Runs a program against the Hub, with an empty cache at first; it puts what it found into ``said``."""

    def started(program: str, **environment: str) -> dict[str, Any]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.endpoint}
        tail = "\nimport json\nprint('SAID' + json.dumps(said))\n"
        done = subprocess.run(
            [sys.executable, "-c", "said = {}\n" + program + tail],
            env={**inherited, **home, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("SAID")[2])

    return started


LOADING = """
import sys, torch
from pathlib import Path
from motion_offsets import BadInputError, BlurToVideoPipeline, EtrajConfig, EtrajModel
from motion_offsets.pipelines.from_names import load_pipeline
from transformers import AutoModel

def refusal(name, cls=EtrajModel, **options):
    try:
        cls.from_pretrained(name, **options)
    except BadInputError as error:
        return str(error)

def weight(model):
    return model.network.head.weight.flatten()[0].item()

said["local_only"] = refusal("lab/motion", local_files_only=True)
said["local_only_pipeline"] = refusal("lab/both", BlurToVideoPipeline, local_files_only=True)
said["main"] = weight(EtrajModel.from_pretrained("lab/motion", cache_dir="elsewhere"))
said["in_cache_dir"] = Path("elsewhere/models--lab--motion").is_dir()
said["still_local_only"] = refusal("lab/motion", local_files_only=True)
said["tag"] = weight(EtrajModel.from_pretrained("lab/motion", revision=TAG))
said["no_tag"] = refusal("lab/motion", revision="v7")
said["auto"] = type(AutoModel.from_pretrained("lab/motion")).__module__
said["again"] = weight(EtrajModel.from_pretrained("lab/motion", local_files_only=True))
said["missing"] = refusal("lab/missing")
said["config_of_missing"] = refusal("lab/missing", EtrajConfig)
said["without_token"] = refusal("lab/secret")
said["other_token"] = refusal("lab/secret", token="bobs")
said["wrong_token"] = refusal("lab/secret", token="stolen")
said["token"] = weight(EtrajModel.from_pretrained("lab/secret", token="alices"))
pipe = BlurToVideoPipeline.from_pretrained("lab/both", revision=TAG)
said["pipeline"] = weight(pipe.estimator)
said["for_the_commands"] = weight(load_pipeline("lab/both").estimator)
said["pipeline_as_model"] = refusal("lab/both")
said["missing_pipeline"] = refusal("lab/missing", BlurToVideoPipeline)
"""

OFFLINE = """
from motion_offsets import BadInputError, BlurToVideoPipeline, EtrajModel

said["cached"] = EtrajModel.from_pretrained("lab/motion").network.head.weight.flatten()[0].item()
said["pipeline"] = BlurToVideoPipeline.from_pretrained("lab/both").estimator.network.head.weight.flatten()[0].item()
for name, cls in (("lab/sharp", EtrajModel), ("lab/elsewhere", BlurToVideoPipeline)):
    try:
        cls.from_pretrained(name)
    except BadInputError as error:
        said[name] = str(error)
"""


def test_names_on_the_hub(hub: Hub, client: Client) -> None:
    said = client(f"TAG = {TAG!r}\n" + LOADING)
    assert said["main"] != said["tag"] == said["pipeline"]
    assert said["main"] == said["again"] == said["token"] == said["for_the_commands"]
    assert said["auto"] == "motion_offsets.models.modeling_etraj"
    assert said["in_cache_dir"]
    for name in ("local_only", "local_only_pipeline", "still_local_only"):
        assert "give a bundled name (" in said[name], name
        assert ", ".join(bundled_models()) in said[name]
    for name in ("missing", "config_of_missing", "without_token", "other_token", "wrong_token", "missing_pipeline"):
        assert re.match(r"model 'lab/\w+' could not be fetched .* for a private one, the token", said[name]), name
    assert "v7" in said["no_tag"]
    assert "model 'lab/both'" in said["pipeline_as_model"]
    assert all("\n" not in str(line) for line in said.values())

    hub.requests.clear()
    offline = client(OFFLINE, HF_HUB_OFFLINE="1")
    assert offline["cached"] == offline["pipeline"] == said["main"]
    assert all("which needs no network" in offline[name] for name in ("lab/sharp", "lab/elsewhere"))
    assert hub.requests == []


WITHOUT_PACKAGE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "motion_offsets":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    import motion_offsets
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package is there")
import torch
"""

REMOTE_MODELS = """
from transformers import AutoConfig, AutoImageProcessor, AutoModel

photo = torch.rand(1, 3, 32, 48)
said["config"] = AutoConfig.from_pretrained("lab/motion", trust_remote_code=True).trajectory
model = AutoModel.from_pretrained("lab/motion", trust_remote_code=True)
said["offsets"] = list(model(photo).motion_offsets.shape)
said["weight"] = model.network.head.weight.flatten()[0].item()
said["sharp"] = list(AutoModel.from_pretrained("lab/sharp", trust_remote_code=True)(photo).sharp.shape)
said["module"] = type(model).__module__.partition(".")[0]
try:
    processor = AutoImageProcessor.from_pretrained("lab/motion", trust_remote_code=True, backend="pil")
    said["pixels"] = list(processor(photo)["pixel_values"].shape)
except ImportError as error:  # the Auto class of transformers 5.17 always needs torchvision
    assert "requires the Torchvision library" in str(error), error
model.save_pretrained("again")
said["saved"] = AutoModel.from_pretrained("./again", trust_remote_code=True).network.head.weight.flatten()[0].item()
"""

REMOTE_PIPELINE = """
from diffusers import DiffusionPipeline

def load(name):
    return DiffusionPipeline.from_pretrained(name, custom_pipeline="pipeline", trust_remote_code=True)

pipe = load("lab/both")
said["module"] = type(pipe).__module__.partition(".")[0]
said["weight"] = pipe.estimator.network.head.weight.flatten()[0].item()
result = pipe(torch.rand(3, 32, 48), num_frames=3, output_type="pt")
said["frames"] = list(result.frames[0].shape)
pipe.save_pretrained("saved")
said["saved"] = load("./saved").estimator.network.head.weight.flatten()[0].item()
"""


def test_models_load_without_the_package(client: Client) -> None:
    said = client(WITHOUT_PACKAGE + REMOTE_MODELS)
    assert said["module"] == "transformers_modules"
    assert said["config"] == "quadratic"
    assert (said["offsets"], said["sharp"]) == ([1, 15, 2, 32, 48], [1, 3, 32, 48])
    assert said.get("pixels", [1, 3, 32, 48]) == [1, 3, 32, 48]
    assert said["saved"] == said["weight"]


def test_the_pipeline_loads_without_the_package(hub: Hub, client: Client) -> None:
    hub.requests.clear()
    said = client(WITHOUT_PACKAGE + REMOTE_PIPELINE)
    assert said["module"] == "diffusers_modules"
    assert said["frames"] == [3, 3, 32, 48]
    assert said["saved"] == said["weight"]
    files = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert len(hub.requests) < 4 * len(files)  # diffusers asks several times for each file of code


PUSH = """
from motion_offsets import EtrajConfig, EtrajModel, MotionOffsetsImageProcessor

EtrajModel(EtrajConfig(base_channels=4)).save_pretrained("pushed", push_to_hub=True, repo_id="alice/pushed")
MotionOffsetsImageProcessor().save_pretrained("pushed", push_to_hub=True, repo_id="alice/pushed")
"""


def test_what_people_push(hub: Hub, client: Client, tmp_path: Path) -> None:
    """The guide's script as a newcomer pastes it: load, run on a photo, push under one's own name, load that; and
    ``save_pretrained`` with ``push_to_hub``, which uploads the code. One process does both."""
    section = (ROOT / "docs" / "guides" / "hub.md").read_text()
    (script,) = [code for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if "push_to_hub" in code]
    with Image.open(ROOT / "examples" / "cat.png") as photo:
        photo.convert("RGB").crop((100, 100, 196, 180)).save(tmp_path / "photo.jpg")
    client(f"{script.replace('your-name', 'alice')}\n{PUSH}", HF_TOKEN="alices")
    with Image.open(tmp_path / "sharp.png") as sharp:
        assert sharp.size == (96, 80)
    pushed = hub.head("alice/blur-to-video")
    assert {"README.md", "model_index.json", "pipeline.py", "estimator/model.safetensors"} < pushed.keys()
    pushed = hub.head("alice/pushed").keys()
    assert {"config.json", "model.safetensors", "modeling_etraj.py", "trajectories.py"} < pushed
    assert {"preprocessor_config.json", "image_processing_motion_offsets.py"} < pushed

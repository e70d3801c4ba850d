"""``push_to_hub`` that cannot work, told in one line: each tried by a client in a process of its own, over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, User

from motion_offsets import BadInputError
from motion_offsets.models.hub_errors import hub_errors

PUSHES = """
import json, sys
from motion_offsets import BadInputError, BlurToVideoPipeline, EtrajConfig, EtrajModel, MotionOffsetsImageProcessor

config = EtrajConfig(base_channels=4)
model = EtrajModel(config)
said = []
for repo, token in json.loads(sys.argv[1]):
    said.append({})
    for part in (config, model, MotionOffsetsImageProcessor(), BlurToVideoPipeline(model)):
        name = type(part).__name__
        upload = {"push_to_hub": True, "repo_id": repo, "token": token}
        for way, push in {
            "push_to_hub": lambda: part.push_to_hub(repo, token=token),
            "save_pretrained": lambda: part.save_pretrained(f"saved-{name}", **upload),
        }.items():
            try:
                push()
            except BadInputError as error:
                said[-1][f"{name}.{way}"] = str(error)
print("SAID" + json.dumps(said))
"""
EVERY_WAY = {
    f"{name}.{way}"
    for name in ("EtrajConfig", "EtrajModel", "MotionOffsetsImageProcessor", "BlurToVideoPipeline")
    for way in ("push_to_hub", "save_pretrained")
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.users = {"alices": User("alice")}
        yield hub


def pushed(folder: Path, endpoint: str, *tries: tuple[str, str | None], **environment: str) -> list[dict[str, str]]:
    """What each way of pushing was refused with, for each ``(repository, token)``."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    done = subprocess.run(
        [sys.executable, "-c", PUSHES, json.dumps(tries)],
        env={**inherited, "HF_HOME": str(folder / "home"), "HF_ENDPOINT": endpoint, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.rpartition("SAID")[2])


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_network(tmp_path: Path) -> None:
    (said,) = pushed(tmp_path, f"http://127.0.0.1:{closed_port()}", ("alice/mine", "alices"))
    assert said.keys() == EVERY_WAY
    for line in said.values():
        assert line.startswith("push_to_hub alice/mine: the connection to the Hub broke (")
        assert "Connection refused" in line
        assert "\n" not in line
    assert not list(tmp_path.glob("saved-*"))


def test_offline(hub: Hub, tmp_path: Path) -> None:
    (said,) = pushed(tmp_path, hub.endpoint, ("alice/mine", "alices"), HF_HUB_OFFLINE="1")
    assert said == dict.fromkeys(EVERY_WAY, "push_to_hub alice/mine: HF_HUB_OFFLINE is set; unset it to upload")
    assert hub.requests == []


def test_tokens_rights_and_names(hub: Hub, tmp_path: Path) -> None:
    tries = [("alice/mine", None), ("alice/mine", "stolen"), ("bob/his", "alices"), ("alice/a b", "alices")]
    nobody, stolen, others, no_name, allowed = pushed(tmp_path, hub.endpoint, *tries, ("alice/mine", "alices"))
    line = "push_to_hub alice/mine: nobody is logged in; run hf auth login, or set HF_TOKEN"
    assert nobody == dict.fromkeys(EVERY_WAY, line)
    assert stolen.keys() == others.keys() == no_name.keys() == EVERY_WAY
    for line in stolen.values():
        assert line.startswith("push_to_hub alice/mine: the Hub does not accept this token; log in again")
    for line in others.values():
        assert line.startswith("push_to_hub bob/his: the Hub refused (You don't have the rights to create a model")
        assert line.endswith("give a token that may write there, or another repository")
    for line in no_name.values():
        assert line.startswith("push_to_hub alice/a b: the Hub does not allow this name (")
    assert allowed == {}
    files = {"config.json", "model_index.json", "hub_errors.py", "estimator/model.safetensors"}
    assert files < hub.head("alice/mine").keys()
    assert len(hub.repos) == 1


def test_local_errors_are_not_blamed_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), hub_errors("alice/mine"):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(OSError, match="No space left"), hub_errors("alice/mine"):
        Path("/dev/full").write_bytes(b"x")
    with pytest.raises(BadInputError, match="alice/mine: the connection to the Hub broke"), hub_errors("alice/mine"):
        socket.create_connection(("127.0.0.1", closed_port()))

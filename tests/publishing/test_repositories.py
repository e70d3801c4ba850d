"""``motion-offsets publish`` by the unmodified client of the Hub, against a Hub over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import Result
from commands import assert_refused, run
from hub_server import Hub, User
from huggingface_hub import DatasetCard, ModelCard
from tiny_checkout import make_checkout
from transformers import PreTrainedModel

from motion_offsets import (
    MaDmphnConfig,
    MaDmphnForImageDeblurring,
    MaximConfig,
    MaximForImageDeblurring,
    __version__,
)

ROOT = Path(__file__).parents[2]

TAG = f"v{__version__}"


@pytest.fixture(scope="module")
def tiny_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def checkout(tiny_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(tiny_checkout, tmp_path / "checkout"))
    monkeypatch.setattr("motion_offsets.models.hub._bundle_roots", lambda: [root / "hub" / "models"])
    return root


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Hub() as hub:
        hub.users = {"alices": User("alice", ("lab",)), "bobs": User("bob")}
        yield hub


def publish(hub: Hub, root: Path, *arguments: object, org: str = "lab", token: str | None = "alices") -> Result:
    access = () if token is None else ("--token", token)
    return run("publish", "--root", root, "--org", org, "--endpoint", hub.endpoint, *access, *arguments)


def test_dry_run_shows_files_and_sizes_and_asks_nobody(hub: Hub, checkout: Path) -> None:
    result = publish(hub, checkout, "--dry-run", token=None)
    assert result.exit_code == 0, result.output
    size = (checkout / "hub" / "models" / "motion" / "model.safetensors").stat().st_size
    assert f"{size / 1000:.1f} kB  model.safetensors" in result.stdout
    assert all(f"lab/{name} (model, " in result.stdout for name in ("motion", "sharp", "both"))
    assert hub.requests == []


def test_publish_and_publish_again(hub: Hub, checkout: Path) -> None:
    result = publish(hub, checkout)
    assert result.exit_code == 0, result.output
    models = checkout / "hub" / "models"
    for name in ("motion", "sharp"):
        head = hub.head(f"lab/{name}")
        assert head["model.safetensors"] == (models / name / "model.safetensors").read_bytes()
        assert {"README.md", "config.json", "preprocessor_config.json", "evaluation.json", "hub.py"} < head.keys()
        assert hub.repo(f"lab/{name}").messages == ["initial commit", f"{name} {TAG}"]
        assert hub.repo(f"lab/{name}").refs[TAG] == hub.repo(f"lab/{name}").refs["main"]
        assert not hub.repo(f"lab/{name}").private
    both = hub.head("lab/both")
    assert both["estimator/model.safetensors"] == (models / "motion" / "model.safetensors").read_bytes()
    assert both["deblurrer/model.safetensors"] == (models / "sharp" / "model.safetensors").read_bytes()
    items = [(item["id"], item["type"]) for item in hub.collections["lab/motion-offsets-0123"]["items"]]
    assert sorted(items) == [("lab/both", "model"), ("lab/motion", "model"), ("lab/sharp", "model")]
    # The pipeline's weights are those of the models, so that storage has each once.
    assert len(hub.lfs) == 2

    hub.uploaded.clear()
    again = publish(hub, checkout)
    assert again.exit_code == 0, again.output
    assert again.stdout.count("nothing had changed") == 3
    assert hub.uploaded == []
    assert len(hub.repo("lab/motion").messages) == 2
    assert len(hub.collections["lab/motion-offsets-0123"]["items"]) == 3


def test_the_published_card(hub: Hub, checkout: Path) -> None:
    publish(hub, checkout, "motion")
    card = ModelCard(hub.head("lab/motion")["README.md"].decode(), ignore_metadata_errors=False)
    assert card.data.model_name == "motion"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("psnr", 31.256)
    assert result.dataset_type == "bsd-motion-flow"
    assert "| `reblur_psnr` | 31.26 |" in card.text
    assert 'AutoModel.from_pretrained("lab/motion")' in card.text


def test_only_what_changed_is_uploaded_and_versions_stay(hub: Hub, checkout: Path) -> None:
    publish(hub, checkout, "motion")
    hub.uploaded.clear()
    card = checkout / "model_cards" / "motion.md"
    card.write_text(card.read_text() + "\nMore words.\n")
    (checkout / "hub" / "models" / "motion" / "training.json").write_text("{}")
    assert_refused(publish(hub, checkout, "motion"), "lab/motion", f"tag {TAG} already exists")
    assert hub.uploaded == []
    assert publish(hub, checkout, "motion", "--tag", "v9").exit_code == 0
    assert sorted(hub.uploaded) == ["README.md", "training.json"]
    (checkout / "hub" / "models" / "motion" / "training.json").unlink()
    assert "0 files written, 1 removed" in publish(hub, checkout, "motion", "--tag", "v10").stdout
    repo = hub.repo("lab/motion")
    assert "training.json" in repo.files[repo.refs["v9"]]
    assert "training.json" not in repo.files[repo.refs["v10"]]
    assert ".gitattributes" in repo.files[repo.refs["v10"]]


def test_an_interrupted_upload_is_taken_up_again(hub: Hub, checkout: Path) -> None:
    hub.uploads_to_accept = 1
    assert_refused(publish(hub, checkout, "both"), "lab/both", "run the command again")
    assert hub.repo("lab/both").messages == ["initial commit"]
    sent = list(hub.uploaded)
    hub.uploads_to_accept, hub.commits_to_drop = None, 1
    assert_refused(publish(hub, checkout, "both"), "lab/both", "the connection to the Hub broke")
    assert hub.repo("lab/both").messages == ["initial commit"]
    assert publish(hub, checkout, "both").exit_code == 0
    assert hub.repo("lab/both").messages == ["initial commit", f"both {TAG}"]
    assert len(sent) == 1
    assert hub.uploaded.count(sent[0]) == 1  # sent once, whatever came between


def test_a_missing_tag_is_made_up_for(hub: Hub, checkout: Path) -> None:
    publish(hub, checkout, "motion")
    del hub.repo("lab/motion").refs[TAG]
    assert publish(hub, checkout, "motion").exit_code == 0
    assert hub.repo("lab/motion").refs[TAG] == hub.repo("lab/motion").refs["main"]


def test_private_and_public(hub: Hub, checkout: Path) -> None:
    publish(hub, checkout, "motion", "--private")
    assert hub.repo("lab/motion").private
    publish(hub, checkout, "motion")
    assert hub.repo("lab/motion").private
    publish(hub, checkout, "motion", "--public")
    assert not hub.repo("lab/motion").private


def test_what_the_hub_would_not_take_is_refused_before_anything_is_uploaded(hub: Hub, checkout: Path) -> None:
    assert_refused(publish(hub, checkout, token=None), "no token for the Hub; log in")
    assert_refused(publish(hub, checkout, token="stolen"), "does not accept this token")
    assert_refused(
        publish(hub, checkout, token="bobs"), "lab: this token has no write permission there; give --org bob"
    )
    assert_refused(publish(hub, checkout, org="l ab"), "'l ab/both' is not a name that the Hub allows")
    assert_refused(publish(hub, checkout, "--max-size", "0.001MB"), "lab/both", "1.0 kB allowed")
    assert_refused(publish(hub, checkout, "--max-size", "much"), "--max-size 'much'")
    assert_refused(publish(hub, checkout, "mution"), "mution: is not in", "both, motion, sharp")
    assert_refused(publish(hub, checkout.parent / "elsewhere"), "elsewhere: holds no folder hub")
    assert hub.repos == {}
    hub.create(hub.users["alices"], json.dumps({"organization": "lab", "name": "sharp", "type": "dataset"}).encode())
    # The one that cannot be published keeps the others from being published half.
    assert_refused(publish(hub, checkout), "lab/sharp: is a data set on the Hub", "give it another name")
    assert list(hub.repos) == [("datasets", "lab/sharp")]
    assert hub.uploaded == []


def test_what_must_not_be_published_is_refused(hub: Hub, checkout: Path) -> None:
    motion, card = checkout / "hub" / "models" / "motion", checkout / "model_cards" / "motion.md"
    (motion / "pytorch_model.bin").write_bytes(b"")
    assert_refused(publish(hub, checkout), motion / "pytorch_model.bin", "does not belong there")
    (motion / "pytorch_model.bin").unlink()
    evaluation = json.loads((motion / "evaluation.json").read_text())
    for text, said in (
        (json.dumps({**evaluation, "checkpoints": {"estimator": "0" * 64}}), "results are of other weights"),
        (json.dumps({"benchmark": "x", "images": 3}), "motion: has no results for its card"),
        (json.dumps({**evaluation, "reblur_psnr": None, "blurred_psnr": 2.0}), "shows 'reblur_psnr', which was not"),
        ("31 dB", "evaluation.json: holds no figures"),
    ):
        (motion / "evaluation.json").write_text(text)
        assert_refused(publish(hub, checkout, "motion"), said)
    (motion / "evaluation.json").unlink()
    assert_refused(publish(hub, checkout, "motion"), "motion: has no results for its card")
    (motion / "evaluation.json").write_text(json.dumps(evaluation))
    for text, said in (("# motion", "has no YAML head"), ("---\n{\n---\n", "is not a card"), (None, "no such card")):
        card.unlink() if text is None else card.write_text(text)
        assert_refused(publish(hub, checkout, "motion"), card, said)
    assert hub.requests == []


def test_pickles_in_a_data_set_are_refused(hub: Hub, checkout: Path) -> None:
    folder = checkout / "hub" / "datasets" / "pairs"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\n\n# pairs\n")
    (folder / "pairs.pkl").write_bytes(b"x")
    assert_refused(publish(hub, checkout, "pairs"), "lab/pairs: pairs.pkl is a pickle")
    (folder / "pairs.pkl").rename(folder / "pairs.csv")
    assert publish(hub, checkout, "pairs").exit_code == 0
    assert hub.head("lab/pairs", "datasets")["pairs.csv"] == b"x"


def test_the_space_carries_package_and_models(hub: Hub, checkout: Path) -> None:
    repository = Path(__file__).resolve().parents[2]
    shutil.copytree(repository / "hub" / "space", checkout / "hub" / "space")
    (checkout / "app.py").write_text("import motion_offsets\n")
    for folder in ("src", "examples"):
        (checkout / folder).symlink_to(repository / folder)
    result = publish(hub, checkout, "motion-offsets")
    if find_spec("gradio") is None:
        assert_refused(result, "for the gradio installed here, and none is")
        return
    assert result.exit_code == 0, result.output
    files = hub.head("lab/motion-offsets", "spaces")
    assert hub.repo("lab/motion-offsets", "spaces").sdk == "gradio"
    assert {"app.py", "motion_offsets/models/hub.py", "motion_offsets/_models/motion/model.safetensors"} < files.keys()
    assert "motion_offsets/_examples/cat.png" in files
    assert "sdk_version: " in files["README.md"].decode()
    requirements = files["requirements.txt"].decode().splitlines()
    assert {"numba", "torch"} <= {re.split("[=<>]", line)[0] for line in requirements}


def test_the_checkouts_own_data_set_loads_and_has_a_card() -> None:
    from motion_offsets.data import load_pairs

    folder = Path(__file__).resolve().parents[2] / "hub" / "datasets" / "blurred-pairs"
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc0-1.0"
    rows = list(load_pairs(folder / "data", streaming=True))
    assert len(rows) == 12
    assert {row["sequence"] for row in rows} == {"astronaut", "chelsea", "coffee", "rocket"}
    assert all(row["blurred"].size == row["sharp"].size for row in rows)


@pytest.mark.parametrize(
    ("name", "model", "licence", "owners"),
    [
        (
            "maxim-deblurring",
            MaximForImageDeblurring(MaximConfig(num_stages=1, base_channels=4, block_sizes=(4, 2), num_blocks=1)),
            "apache-2.0",
            "Google Research trained and published them under the Apache License 2.0",
        ),
        (
            "dmphn-1-2-4",
            MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, motion_aware=False, residual_output=False)),
            "other",
            "The authors of DMPHN trained them on GoPro",
        ),
    ],
    ids=["maxim", "dmphn"],
)
def test_converted_weights_are_published_under_their_owners_names(
    name: str, model: PreTrainedModel, licence: str, owners: str, hub: Hub, checkout: Path
) -> None:
    folder = checkout / "hub" / "models" / name
    model.save_pretrained(folder)
    for code in folder.glob("*.py"):
        code.unlink()
    weights = (folder / "model.safetensors").read_bytes()
    figures = {"benchmark": "pairs", "pairs": 12, "deblur_psnr": 29.1}
    hashes = {"deblurrer": hashlib.sha256(weights).hexdigest()}
    (folder / "evaluation.json").write_text(json.dumps({**figures, "checkpoints": hashes}))
    shutil.copy(ROOT / "model_cards" / f"{name}.md", checkout / "model_cards")
    result = publish(hub, checkout, name)
    assert result.exit_code == 0, result.output
    head = hub.head(f"lab/{name}")
    assert head["model.safetensors"] == weights
    card = ModelCard(head["README.md"].decode(), ignore_metadata_errors=False)
    assert card.data.license == licence
    assert owners in " ".join(card.text.split())
    assert card.data.eval_results[0].metric_value == 29.1
    assert f"--deblurrer lab/{name}" in card.text

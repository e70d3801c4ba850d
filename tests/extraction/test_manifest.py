"""The journal of a run: what it holds after a kill, and what counts as a result that is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motion_offsets import BlurToVideoPipeline, EtrajConfig, EtrajModel
from motion_offsets.errors import BadInputError
from motion_offsets.extraction.manifest import Manifest, has_result, hash_photo, hash_settings, read_manifests
from motion_offsets.extraction.settings import ExtractionSettings
from motion_offsets.extraction.sources import Share
from motion_offsets.io.photo_sources import EncodedPhoto


def test_lines_are_appended_and_entered_once(tmp_path: Path) -> None:
    for _ in range(2):
        with Manifest(tmp_path, Share()) as manifest:
            manifest.enter_done("a", "photos/a.png", "1" * 64, "2" * 64)
    with Manifest(tmp_path, Share()) as manifest:
        manifest.enter_done("a", "photos/a.png", "1" * 64, "3" * 64)
        manifest.enter_failed("b", "photos/b.png", "no picture")
    lines = read_manifests(tmp_path)
    assert [(line["result"], line["status"]) for line in lines] == [("a", "done"), ("a", "done"), ("b", "failed")]
    assert lines[0]["settings_sha256"] == "2" * 64
    assert lines[2]["reason"] == "no picture"


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    whole = json.dumps({"result": "a", "status": "failed", "reason": "x"})
    (tmp_path / "manifest.jsonl").write_text(f'{whole}\n{{"result": "b", "sta')
    with Manifest(tmp_path, Share()) as manifest:
        manifest.enter_failed("c", "c.png", "y")
    assert [line["result"] for line in read_manifests(tmp_path)] == ["a", "c"]


def test_parts_have_manifests_of_their_own_and_know_each_other(tmp_path: Path) -> None:
    with Manifest(tmp_path, Share(0, 2)) as first, Manifest(tmp_path, Share(1, 2)) as second:
        first.enter_done("a", "a.png", "1" * 64, "2" * 64)
        second.enter_done("b", "b.png", "1" * 64, "2" * 64)
    assert {path.name for path in tmp_path.iterdir()} == {f"manifest-0000{n}-of-00002.jsonl" for n in (0, 1)}
    with Manifest(tmp_path, Share()) as alone:
        alone.enter_done("b", "b.png", "1" * 64, "2" * 64)
    assert [line["result"] for line in read_manifests(tmp_path)] == ["a", "b"]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with Manifest(tmp_path, Share()), pytest.raises(BadInputError, match="another run is writing there"):
        Manifest(tmp_path, Share())


def test_a_run_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with Manifest(tmp_path / "new" / "out", Share()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_result_are_removed_and_others_stay(tmp_path: Path) -> None:
    for name in (".a.0123abcd.partial", ".a.0123abcd.old", ".b.0123abcd.partial", ".a.partial", "a.0123abcd.partial"):
        (tmp_path / name / "frames").mkdir(parents=True)
    with Manifest(tmp_path, Share()) as manifest:
        manifest.clear_unfinished(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {".b.0123abcd.partial", ".a.partial", "a.0123abcd.partial"}


def test_a_result_is_whole_and_of_this_photo_and_these_settings(tmp_path: Path) -> None:
    report = {"photo_sha256": "p", "settings_sha256": "s", "files": ["report.json", "sharp.png"]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert not has_result(tmp_path, "p", "s")
    (tmp_path / "sharp.png").touch()
    assert not has_result(tmp_path, "p", "s")
    (tmp_path / "sharp.png").write_bytes(b"x")
    assert has_result(tmp_path, "p", "s")
    assert not has_result(tmp_path, "q", "s")
    assert not has_result(tmp_path, "p", "t")
    (tmp_path / "report.json").write_text("[]")
    assert not has_result(tmp_path, "p", "s")


def test_hash_of_a_photo_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"content")
    assert hash_photo(tmp_path / "photo.png") == hash_photo(EncodedPhoto("row 1", b"content"))
    assert hash_photo(tmp_path / "photo.png") != hash_photo(EncodedPhoto("row 1", b"other"))


def test_hash_of_settings_is_that_of_weights_and_settings(tmp_path: Path) -> None:
    model = EtrajModel(EtrajConfig(base_channels=4))
    model.save_pretrained(tmp_path / "model")
    settings = ExtractionSettings(times=(-1.0, 1.0))
    first = hash_settings(BlurToVideoPipeline(estimator=model), settings)
    loaded = EtrajModel.from_pretrained(tmp_path / "model")
    assert hash_settings(BlurToVideoPipeline(estimator=loaded), settings) == first
    assert hash_settings(BlurToVideoPipeline(estimator=loaded), replace(settings, fps=30)) != first
    with torch.no_grad():
        loaded.network.head.bias[0] += 1
    assert hash_settings(BlurToVideoPipeline(estimator=loaded), settings) != first

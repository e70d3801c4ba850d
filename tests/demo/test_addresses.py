"""Which addresses are those of uploads to this server."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the web page needs the demo extra")

from motion_offsets.demo.addresses import own_hosts, uploaded_file


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def test_names_of_this_server() -> None:
    assert own_hosts({"host": "Lab.example:7860"}, None) == {"lab.example:7860"}
    behind_proxy = {"host": "10.0.0.7:7860", "x-forwarded-host": "me-space.hf.space, inner"}
    assert own_hosts(behind_proxy, None) == {"10.0.0.7:7860", "me-space.hf.space"}
    assert own_hosts({}, "http://127.0.0.1:7860/") == {"127.0.0.1:7860", "localhost:7860", "[::1]:7860"}
    assert own_hosts({}, "http://192.168.0.2:7860/") == frozenset()


def test_the_path_of_an_upload(uploads: Path) -> None:
    photo = uploads / "a1" / "my photo?#1.png"
    photo.parent.mkdir()
    photo.touch()
    quoted = str(photo).replace(" ", "%20").replace("?", "%3F").replace("#", "%23")
    hosts = {"me-space.hf.space"}
    for prefix in ("", "/app"):
        address = f"https://me-space.hf.space{prefix}/gradio_api/file={quoted}?__sign=abc"
        assert uploaded_file(address, hosts) == str(photo.resolve())


def test_other_addresses_and_other_files(uploads: Path) -> None:
    (uploads / "link").symlink_to("/etc")
    own = "http://here:80/gradio_api/file="
    assert uploaded_file(f"{own}{uploads}/photo.png", {"here:80"}) is not None
    for refused in (
        f"http://there:80/gradio_api/file={uploads}/photo.png",
        f"http://here:80@there:80/gradio_api/file={uploads}/photo.png",
        f"http://here:81/gradio_api/file={uploads}/photo.png",
        f"http://here:80/file={uploads}/photo.png",
        f"http://[/gradio_api/file={uploads}/photo.png",
        f"{own}/etc/passwd",
        f"{own}{uploads}/../secret.png",
        f"{own}{uploads}/%2e%2e/secret.png",
        f"{own}{uploads}%2f%2E%2E%2fsecret.png",
        f"{own}{uploads}/link/passwd",
        f"{own}{uploads}/photo.png%00",
        f"{own}{uploads}-more/photo.png",
        f"{own}photo.png",
    ):
        assert uploaded_file(refused, {"here:80"}) is None, refused
    assert uploaded_file(f"{own}{uploads}/photo.png") is None, "outside a call, no address is ours"

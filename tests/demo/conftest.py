"""One server, as `motion-offsets demo` starts it, for all tests that call it, and a browser to look at it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the web page needs the demo extra")


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, its folder of temporary files."""

    url: str
    process: subprocess.Popen[str]
    temporary: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[Server]:
    """A server with these options of ``motion-offsets demo``; at the end, no file of its visitors may be left."""
    temporary, log = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("log") / "server.log"
    port = _free_port()
    environment = os.environ | {
        "GRADIO_TEMP_DIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    command = [sys.executable, "-m", "motion_offsets", "demo", "--port", str(port), *options]
    with log.open("w") as output:
        # Elsewhere than in the checkout, as from a wheel.
        process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=output, stderr=output, text=True)
    try:
        _wait_until_up(process, port, log)
        yield Server(f"http://127.0.0.1:{port}/", process, temporary)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert [path for path in temporary.rglob("*") if path.is_file()] == [], "nothing of the visitors is left"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory, "--mcp") as server:
        yield server


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Server]]:
    """Start another server, with options."""
    return partial(running, tmp_path_factory)


def _wait_until_up(process: subprocess.Popen[str], port: int, log: Path) -> None:
    import httpx

    while True:
        if process.poll() is not None:
            pytest.fail(f"the server has ended: {log.read_text()[-2000:]}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/config", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            select.select([], [], [], 0.2)  # leaves the processor to the server


@pytest.fixture(scope="module")  # while it is open, this thread can run no event loop of its own
def browser() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is missing; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()

"""Many people at once on the web page, on loopback: every answer must be right, and memory must come back.

    python benchmarks/load.py [--clients 20] [--rounds 10] [--side 640]

Each client uploads a photo of its own, presses the button, waits in line and fetches the sharp picture, round after
round. What it gets must be what it got when it was alone. Memory is the resident set of the server: ``before`` after
each client was served once and the server has come to rest, ``after`` when it has come to rest again. Prints one JSON
object; exit code 1 where an answer is wrong or ``after`` is more than 10 % above ``before``.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image
from skimage.data import data_dir

ALLOWED_GROWTH, ALLOWED_DIFFERENCE = 1.1, 1.0  # of memory; levels of 255 on average
# The server gives memory back 10 to 20 seconds after its last answer; on a busy machine later.
REST_SECONDS, MOST_REST_SECONDS = 5, 180
SHARP = re.compile(r'<img src="([^"]+)"')  # the first of the two pictures that the page compares


class Server:
    """``motion-offsets demo`` and its memory."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}/", folder / "server.log"
        environment = os.environ | {"GRADIO_TEMP_DIR": str(folder), "NO_PROXY": "127.0.0.1,localhost"}
        command = [sys.executable, "-m", "motion_offsets", "demo", "--port", str(port)]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        self._observed = psutil.Process(self.process.pid)
        self.peak = 0
        self._stop = threading.Event()
        self._observer = threading.Thread(target=self._observe)
        self._observer.start()

    def wait_until_up(self) -> dict[str, Any]:
        """The page's description of itself, once it answers."""
        while self.process.poll() is None:
            try:
                return httpx.get(f"{self.url}config", timeout=5).json()
            except (httpx.TransportError, ValueError):
                select.select([], [], [], 0.5)
        raise SystemExit(self.log.read_text()[-3000:])

    def memory(self) -> int:
        parts = [self._observed, *self._observed.children(recursive=True)]
        return sum(part.memory_info().rss for part in parts)

    def memory_at_rest(self) -> int:
        """Memory once it no longer falls."""
        last, deadline = self.memory(), time.monotonic() + MOST_REST_SECONDS
        lowest_since = time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - lowest_since < 9 * REST_SECONDS:
            time.sleep(REST_SECONDS)
            now = self.memory()
            if now < 0.99 * last:
                lowest_since = time.monotonic()
            last = now
        return last

    def _observe(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.peak = max(self.peak, self.memory())
            except psutil.NoSuchProcess:
                return

    def close(self) -> None:
        self._stop.set()
        self._observer.join()
        self.process.terminate()
        self.process.wait(timeout=60)


class Visitor:
    """One person with a photo, and the session of one browser tab."""

    def __init__(self, url: str, config: dict[str, Any], photo: bytes, number: int) -> None:
        self.url, self.photo, self.session = url, photo, f"visitor{number}"
        button = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "mo-run")
        shown = {part["id"]: part["props"] for part in config["components"]}
        clicked = [each for each in config["dependencies"] if [button, "click"] in each["targets"]]
        self.call = next(each for each in clicked if each["inputs"])
        self.given = [shown[part].get("value") for part in self.call["inputs"]]

    def visit(self) -> np.ndarray:
        """The sharp picture that the page shows."""
        with httpx.Client(timeout=1200) as client:
            files = {"files": (f"{self.session}.png", self.photo)}
            uploaded = client.post(f"{self.url}gradio_api/upload", files=files).json()[0]
            data = [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}, *self.given[1:]]
            joined = {"data": data, "fn_index": self.call["id"], "session_hash": self.session}
            client.post(f"{self.url}gradio_api/queue/join", json=joined).raise_for_status()
            asked = {"session_hash": self.session}
            with client.stream("GET", f"{self.url}gradio_api/queue/data", params=asked) as lines:
                for line in lines.iter_lines():
                    said = json.loads(line[6:]) if line.startswith("data: ") else {}
                    if said.get("msg") == "process_completed":
                        break
            if not said.get("success"):
                raise RuntimeError(f"{self.session}: {said}")
            shown = next(each for each in said["output"]["data"] if "mo-compare" in str(each))
            content = client.get(self.url + html.unescape(SHARP.findall(shown)[0])).content
        with Image.open(io.BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGB"), float)


def photos(count: int, side: int) -> list[bytes]:
    """As many parts of a photo, of two sizes, as PNG."""
    with Image.open(Path(data_dir) / "coffee.png") as picture:
        whole = picture.convert("RGB").resize((2 * side, 2 * side), Image.Resampling.BICUBIC)
    found = []
    for number in range(count):
        left, top = (number * side) // count, (7 * number * side // count) % side
        buffer = io.BytesIO()
        whole.crop((left, top, left + side, top + side * (3 + number % 2) // 4)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--side", type=int, default=640, help="of the photos, in pixels")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        try:
            config = server.wait_until_up()
            pictures = photos(given.clients, given.side)
            visitors = [Visitor(server.url, config, photo, number) for number, photo in enumerate(pictures)]
            alone = [visitor.visit() for visitor in visitors]
            before = server.memory_at_rest()
            server.peak = before
            wrong, started = [], time.monotonic()
            with ThreadPoolExecutor(given.clients) as people:
                for number in range(given.rounds):
                    answers = list(people.map(Visitor.visit, visitors))
                    for visitor, answer, expected in zip(visitors, answers, alone, strict=True):
                        if answer.shape != expected.shape or np.abs(answer - expected).mean() > ALLOWED_DIFFERENCE:
                            wrong.append(f"{visitor.session}, round {number}")
            seconds, peak = time.monotonic() - started, server.peak
            after = server.memory_at_rest()
        finally:
            server.close()
    found = {
        "clients": given.clients,
        "rounds": given.rounds,
        "answers": given.clients * given.rounds,
        "wrong": wrong,
        "seconds_an_answer": round(seconds / (given.clients * given.rounds), 2),
        "memory_before_mb": round(before / 1e6),
        "memory_peak_mb": round(peak / 1e6),
        "memory_after_mb": round(after / 1e6),
        "after_by_before": round(after / before, 3),
    }
    print(json.dumps(found, indent=2))
    sys.exit(bool(wrong) or after > ALLOWED_GROWTH * before)


if __name__ == "__main__":
    main()

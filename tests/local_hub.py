"""A Hub on this machine: as much of its interface as it takes to make, fill and read one data set repository."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlparse

REPO = "tester/pairs"
COMMIT = "0" * 39 + "1"
_API = f"/api/datasets/{REPO}"


class LocalHub(ThreadingHTTPServer):
    """What is committed lies in ``folder``, and what lies there is served; ``created`` are the requests for a repo."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.created: list[dict] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that lead a program here."""
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}


@contextmanager
def local_hub(folder: Path) -> Iterator[LocalHub]:
    """A Hub that runs while the block does."""
    with LocalHub(folder) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        if path == "/api/whoami-v2":
            self._answer({"name": "tester", "type": "user", "auth": {"type": "access_token"}})
        elif path.startswith(f"{_API}/tree/"):
            self._list(path.removeprefix(f"{_API}/tree/").partition("/")[2])
        elif path == _API or path.startswith(f"{_API}/revision/"):
            names = [{"rfilename": path.relative_to(self.server.folder).as_posix()} for path in self._files()]
            self._answer({"id": REPO, "sha": COMMIT, "private": False, "tags": [], "siblings": names})
        elif path.startswith(f"/datasets/{REPO}/resolve/"):
            self._serve(path.removeprefix(f"/datasets/{REPO}/resolve/").partition("/")[2])
        else:
            self._missing("RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = f"{self.server.address}/datasets/{REPO}"
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self._answer({"url": address, "name": REPO, "id": "0"})
        elif self.path == f"{_API}/preupload/main":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer({"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        elif self.path == f"{_API}/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    target = self.server.folder / line["value"]["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(base64.b64decode(line["value"]["content"]))
            self._answer({"success": True, "commitUrl": f"{address}/commit/{COMMIT}", "commitOid": COMMIT})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        else:
            self._missing("RepoNotFound")

    def _files(self) -> list[Path]:
        return [path for path in sorted(self.server.folder.rglob("*")) if path.is_file()]

    def _list(self, inside: str) -> None:
        folder = self.server.folder / inside
        if not folder.is_dir():
            return self._missing("EntryNotFound")
        entries = []
        for path in sorted(folder.iterdir()):
            size = path.stat().st_size if path.is_file() else 0
            name = path.relative_to(self.server.folder).as_posix()
            entries.append(
                {"type": "file" if path.is_file() else "directory", "path": name, "size": size, "oid": COMMIT}
            )
        self._answer(entries)

    def _serve(self, name: str) -> None:
        path = self.server.folder / name
        if not path.is_file():
            return self._missing("EntryNotFound")
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._send(200, data, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        end = min(int(last or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        self._send(206, data[int(first) : end + 1], headers)

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code})

    def _answer(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

"""A Hub on this machine, for clients over real HTTP."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class HubHandler(BaseHTTPRequestHandler):
    """As much of the Hub's interface as it takes to make a repository and commit files to it."""

    server: Hub

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self.answer({"name": "tester", "type": "user", "auth": {"type": "access_token"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/preupload/main"):
            modes = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self.answer({"files": [{**mode, "shouldIgnore": False, "oid": None} for mode in modes]})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    target = self.server.folder / line["value"]["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(base64.b64decode(line["value"]["content"]))
            place = self.path.removeprefix("/api/").removeprefix("models/").removesuffix("/commit/main")
            address = f"{self.server.address}/{place}"
            self.answer({"success": True, "commitUrl": f"{address}/commit/{'0' * 40}", "commitOid": "0" * 40})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            self.server.created.append(asked)
            repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
            kind = "datasets/" if asked.get("type") == "dataset" else ""
            self.answer({"url": f"{self.server.address}/{kind}{repo}", "name": repo, "id": "0"})
        else:
            self.answer({"errors": [], "warnings": []})

    def answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Hub(ThreadingHTTPServer):
    """A Hub on this machine; what is committed lies in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder, self.created = folder, []
        self.address = f"http://127.0.0.1:{self.server_port}"

"""A small Hugging Face Hub on 127.0.0.1, for the unmodified ``huggingface_hub`` client: repositories, LFS, tags.

It keeps everything in memory and speaks what publishing and loading need: users and organisations, create, preupload,
LFS batch and upload, commit, resolve, tree, tags, settings, collections. Xet it has none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".png", ".gif", ".mp4", ".npz", ".parquet")
DATE = "2026-01-01T00:00:00.000Z"
PREFIXES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str = "", body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body or {}


@dataclass
class User:
    name: str
    orgs: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs


@dataclass
class Repo:
    private: bool
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by commit
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)  # branches and tags
    sdk: str | None = None

    def commit(self, files: dict[str, bytes], message: str) -> str:
        oid = hashlib.sha1(f"{len(self.files)} {message}".encode()).hexdigest()
        self.files[oid] = files
        self.messages.append(message)
        self.refs["main"] = oid
        return oid

    def resolve(self, revision: str) -> str:
        revision = unquote(revision)
        oid = self.refs.get(revision, revision)
        if oid not in self.files:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


def is_lfs(path: str) -> bool:
    return path.endswith(LFS_SUFFIXES)


def object_id(path: str, content: bytes) -> str:
    """SHA-256 of an LFS file, git's blob hash of any other."""
    if is_lfs(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The server's state; ``uploaded`` and ``requests`` tell what the client sent."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}  # by token
        self.repos: dict[tuple[str, str], Repo] = {}  # by ("models", "org/name")
        self.collections: dict[str, dict[str, Any]] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.uploaded: list[str] = []
        self.uploads_to_accept: int | None = None  # then the storage fails
        self.commits_to_drop = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def repo(self, name: str, kind: str = "models") -> Repo:
        return self.repos[kind, name]

    def head(self, name: str, kind: str = "models") -> dict[str, bytes]:
        repo = self.repos[kind, name]
        return repo.files[repo.refs["main"]]

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> Any:
        """What a request gets: a JSON value, or the ``(headers, bytes, status)`` of a file."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            if token is not None and token not in self.users:
                raise Refusal(401, "Invalid credentials in Authorization header")
            user = self.users.get(token) if token else None
            for verb, pattern, handle in ROUTES:
                match = re.fullmatch(pattern, path)
                if verb == method.replace("HEAD", "GET") and match:
                    return handle(self, user, body, *match.groups())
        raise Refusal(404, f"this Hub of the tests does not know {method} {path}")

    def find(self, user: User | None, kind: str, name: str, write: bool = False) -> Repo:
        repo = self.repos.get((kind, name))
        mine = user is not None and user.owns(name.partition("/")[0])
        if repo is None or (repo.private and not mine):
            raise Refusal(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if write and not mine:
            raise Refusal(403, "Forbidden: you have no right to write here")
        return repo

    # Users and repositories

    def whoami(self, user: User | None, body: bytes) -> Any:
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": org, "roleInOrg": "write"} for org in user.orgs]
        return {"type": "user", "id": user.name, "name": user.name, "orgs": orgs, "auth": {}}

    def create(self, user: User | None, body: bytes) -> Any:
        wanted = json.loads(body)
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        namespace, kind = wanted.get("organization") or user.name, f"{wanted.get('type') or 'model'}s"
        name = f"{namespace}/{wanted['name']}"
        if not user.owns(namespace):
            raise Refusal(403, f"You don't have the rights to create a {kind[:-1]} under the namespace {namespace}")
        url = f"{self.endpoint}/{PREFIXES[kind]}{name}"
        if (kind, name) in self.repos:
            raise Refusal(409, f"You already created this {kind[:-1]} repo", body={"url": url})
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.repos[kind, name] = Repo(bool(private), sdk=wanted.get("sdk"))
        self.repos[kind, name].commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        return {"url": url, "name": name}

    def settings(self, user: User | None, body: bytes, kind: str, name: str) -> Any:
        repo, wanted = self.find(user, kind, name, write=True), json.loads(body)
        repo.private = bool(wanted.get("private") or wanted.get("visibility") == "private")
        return {"private": repo.private}

    def info(self, user: User | None, body: bytes, kind: str, name: str, revision: str | None) -> Any:
        repo = self.find(user, kind, name)
        sha = repo.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in repo.files[sha]]
        shared = {"_id": name, "id": name, "author": name.partition("/")[0], "sha": sha, "private": repo.private}
        return {**shared, "lastModified": DATE, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0}

    def tree(self, user: User | None, body: bytes, kind: str, name: str, revision: str) -> Any:
        repo = self.find(user, kind, name)
        return [_entry(path, content) for path, content in repo.files[repo.resolve(revision)].items()]

    def refs(self, user: User | None, body: bytes, kind: str, name: str) -> Any:
        refs = self.find(user, kind, name).refs
        tags = [{"name": k, "ref": f"refs/tags/{k}", "targetCommit": v} for k, v in refs.items() if k != "main"]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": refs["main"]}
        return {"branches": [main], "converts": [], "tags": tags}

    def tag(self, user: User | None, body: bytes, kind: str, name: str, revision: str) -> Any:
        repo, tag = self.find(user, kind, name, write=True), json.loads(body)["tag"]
        if tag in repo.refs:
            raise Refusal(409, f"Tag {tag} already exists")
        repo.refs[tag] = repo.resolve(revision)
        return {}

    def resolve(self, user: User | None, body: bytes, kind: str | None, name: str, revision: str, path: str) -> Any:
        repo = self.find(user, (kind or "models/")[:-1], name)
        commit, path = repo.resolve(revision), unquote(path)
        if path not in repo.files[commit]:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"commit": commit})
        content = repo.files[commit][path]
        return {"X-Repo-Commit": commit, "ETag": f'"{object_id(path, content)}"'}, content, 200

    # Uploads

    def validate(self, user: User | None, body: bytes) -> Any:
        return {"errors": [], "warnings": []}

    def preupload(self, user: User | None, body: bytes, kind: str, name: str, revision: str) -> Any:
        repo = self.find(user, kind, name, write=True)
        present = repo.files[repo.resolve(revision)]
        answers = []
        for path in (entry["path"] for entry in json.loads(body)["files"]):
            oid = object_id(path, present[path]) if path in present else None
            mode = "lfs" if is_lfs(path) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    def batch(self, user: User | None, body: bytes, kind: str | None, name: str) -> Any:
        self.find(user, (kind or "models/")[:-1], name, write=True)
        answers = []
        for wanted in json.loads(body)["objects"]:
            if wanted["oid"] not in self.lfs:
                wanted["actions"] = {"upload": {"href": f"{self.endpoint}/storage/{wanted['oid']}"}}
            answers.append(wanted)
        return {"transfer": "basic", "objects": answers}

    def store(self, user: User | None, body: bytes, oid: str) -> Any:
        if self.uploads_to_accept is not None:
            if self.uploads_to_accept == 0:
                raise Refusal(403, "Request has expired")
            self.uploads_to_accept -= 1
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, "the content is not what its hash says")
        self.lfs[oid] = body
        self.uploaded.append(oid)
        return {}

    def commit(self, user: User | None, body: bytes, kind: str, name: str, revision: str) -> Any:
        repo = self.find(user, kind, name, write=True)
        if self.commits_to_drop:
            self.commits_to_drop -= 1
            raise ConnectionAbortedError
        files, message = dict(repo.files[repo.resolve(revision)]), ""
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, repo.refs["main"]):
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                self.uploaded.append(value["path"])
            elif key == "lfsFile":
                files[value["path"]] = self.lfs[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise Refusal(400, f"unknown operation {key}")
        oid = repo.commit(files, message)
        return {"commitOid": oid, "commitUrl": f"{self.endpoint}/{name}/commit/{oid}", "success": True}

    # Collections

    def collect(self, user: User | None, body: bytes) -> Any:
        wanted = json.loads(body)
        slug = f"{wanted['namespace']}/{wanted['title'].lower().replace(' ', '-')}-0123"
        if user is None or not user.owns(wanted["namespace"]):
            raise Refusal(403, "Forbidden")
        if slug in self.collections:
            raise Refusal(409, "Collection already exists", body={"slug": slug})
        made = {"slug": slug, "title": wanted["title"], "owner": {"name": wanted["namespace"]}, "items": []}
        made |= {"private": bool(wanted.get("private")), "lastUpdated": DATE, "position": 0}
        self.collections[slug] = {**made, "theme": "blue", "upvotes": 0}
        return self.collections[slug]

    def collection(self, user: User | None, body: bytes, slug: str) -> Any:
        return self.collections[slug]

    def add_item(self, user: User | None, body: bytes, slug: str) -> Any:
        item, items = json.loads(body)["item"], self.collections[slug]["items"]
        if any(item["id"] == present["id"] and item["type"] == present["type"] for present in items):
            raise Refusal(409, "Item already in collection")
        items.append({"_id": str(len(items)), **item, "position": len(items)})
        return self.collections[slug]


def _entry(path: str, content: bytes) -> dict[str, Any]:
    oid = object_id(path, content)
    entry = {"type": "file", "path": path, "size": len(content), "oid": oid}
    if is_lfs(path):
        entry |= {"oid": hashlib.sha1(oid.encode()).hexdigest()}
        entry |= {"lfs": {"oid": oid, "size": len(content), "pointerSize": 134}}
    return entry


_REPO = r"/api/(models|datasets|spaces)/([^/]+/[^/]+)"
_FILES = r"/(datasets/|spaces/)?([^/]+/[^/]+)"
ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"/api/whoami-v2", Hub.whoami),
    ("POST", r"/api/repos/create", Hub.create),
    ("POST", r"/api/validate-yaml", Hub.validate),
    ("POST", r"/api/collections", Hub.collect),
    ("GET", r"/api/collections/([^/]+/[^/]+)", Hub.collection),
    ("POST", r"/api/collections/([^/]+/[^/]+)/items", Hub.add_item),
    ("PUT", _REPO + r"/settings", Hub.settings),
    ("GET", _REPO + r"(?:/revision/([^/]+))?", Hub.info),
    ("GET", _REPO + r"/tree/([^/]+)", Hub.tree),
    ("GET", _REPO + r"/refs", Hub.refs),
    ("POST", _REPO + r"/tag/([^/]+)", Hub.tag),
    ("POST", _REPO + r"/preupload/([^/]+)", Hub.preupload),
    ("POST", _REPO + r"/commit/([^/]+)", Hub.commit),
    ("POST", _FILES + r"\.git/info/lfs/objects/batch", Hub.batch),
    ("PUT", r"/storage/([0-9a-f]{64})", Hub.store),
    ("GET", _FILES + r"/resolve/([^/]+)/(.+)", Hub.resolve),
)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Answers are small and many; without this each waits for the client's delayed acknowledgement.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            path = urlsplit(self.path).path
            token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
            try:
                answer = hub.answer(self.command, path, token, self._body())
            except Refusal as refusal:
                headers = {"X-Error-Message": refusal.message, "X-Error-Code": refusal.code}
                if "commit" in refusal.body:
                    headers["X-Repo-Commit"] = refusal.body["commit"]
                self._send(json.dumps({"error": refusal.message, **refusal.body}).encode(), headers, refusal.status)
            except ConnectionAbortedError:
                self.close_connection = True
            else:
                if isinstance(answer, tuple):
                    self._send(answer[1], answer[0], answer[2])
                else:
                    self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"}, 200)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, content: bytes, headers: dict[str, str], status: int) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        do_GET = do_HEAD = do_POST = do_PUT = _serve

    return Handler

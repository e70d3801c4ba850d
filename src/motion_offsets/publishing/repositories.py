"""What this project makes, to the Hugging Face Hub: everything is checked first, then one commit a repository."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from ..errors import BadInputError
from ..models.hub_errors import hub_errors

PICKLES = (".bin", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
MAX_FILE_BYTES = 50e9  # the Hub takes no larger file
NOT_OURS = (".gitattributes",)  # the Hub's own
TYPE_NAMES = {"model": "model", "dataset": "data set", "space": "Space"}


@dataclass(frozen=True)
class Publication:
    """One repository as it is to be: its name without the owner, its type, and the folder of its files."""

    name: str
    repo_type: str
    folder: Path

    def files(self) -> dict[str, Path]:
        """Every file by its path in the repository."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


@dataclass
class Change:
    """What a publication changes of a repository on the Hub."""

    publication: Publication
    repo_id: str
    exists: bool
    private: bool | None = None
    head: str | None = None
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    has_tag: bool = False


def check_publications(publications: Sequence[Publication], owner: str, max_bytes: float) -> None:
    """Refuse what must not or cannot be published, before the Hub is asked.

    Args:
        owner: user or organisation on the Hub.
        max_bytes: the most that one repository may hold.

    Raises:
        BadInputError: nothing to publish, a name that the Hub forbids, a pickle, or too large a file or repository.
    """
    if not publications:
        raise BadInputError("nothing to publish: neither a model nor a data set nor a Space was found")
    for publication in publications:
        repo_id = f"{owner}/{publication.name}"
        try:
            validate_repo_id(repo_id)
        except HFValidationError:
            raise BadInputError(
                f"{repo_id!r} is not a name that the Hub allows; give an owner and a name of letters, digits, '-', "
                "'_' and '.', 96 characters at most"
            ) from None
        sizes = {path: file.stat().st_size for path, file in publication.files().items()}
        for path, size in sizes.items():
            if path.lower().endswith(PICKLES):
                raise BadInputError(f"{repo_id}: {path} is a pickle, which can run code; publish safetensors instead")
            if size > MAX_FILE_BYTES:
                raise BadInputError(f"{repo_id}: {path} has {show_size(size)}, and the Hub takes 50 GB; split it")
        if sum(sizes.values()) > max_bytes:
            raise BadInputError(
                f"{repo_id}: has {show_size(sum(sizes.values()))}, more than the {show_size(max_bytes)} allowed; "
                "publish float16 weights, or raise `max_size`"
            )


def plan(api: HfApi, publications: Sequence[Publication], owner: str, tag: str) -> list[Change]:
    """Ask the Hub what would change; nothing is written there.

    Raises:
        BadInputError: no token or a wrong one, no right to write for this owner, a repository of another type by that
            name, or a tag that already stands for other files.
    """
    _check_rights(api, owner)
    changes = []
    for publication in publications:
        change = Change(publication, f"{owner}/{publication.name}", exists=True)
        with hub_errors(change.repo_id):
            _compare(api, change, tag)
        if change.has_tag and (change.changed or change.deleted):
            raise BadInputError(
                f"{change.repo_id}: tag {tag} already exists for other files; raise the version, or give another `tag`"
            )
        changes.append(change)
    return changes


def publish(api: HfApi, change: Change, tag: str, private: bool | None = None) -> str | None:
    """Create the repository if need be, upload what changed in one commit, tag it. Run again, it goes on where it was.

    Args:
        private: ``None`` leaves a repository as it is, and makes a new one public.

    Returns:
        The commit's address, or ``None`` if nothing had changed.
    """
    publication, repo_id = change.publication, change.repo_id
    shared: dict[str, Any] = {"repo_id": repo_id, "repo_type": publication.repo_type}
    commit = None
    with hub_errors(repo_id):
        if not change.exists:
            sdk = "gradio" if publication.repo_type == "space" else None
            api.create_repo(**shared, private=bool(private), exist_ok=True, space_sdk=sdk)
            change.head = api.repo_info(**shared).sha
        elif private is not None and private != change.private:
            api.update_repo_settings(**shared, private=private)
        if change.changed or change.deleted:
            commit = api.upload_folder(
                **shared,
                folder_path=publication.folder,
                allow_patterns=[glob.escape(path) for path in change.changed],
                delete_patterns=[glob.escape(path) for path in change.deleted],
                commit_message=f"{publication.name} {tag}",
                parent_commit=change.head,  # refused if somebody else has written meanwhile
            ).commit_url
        if not change.has_tag:
            api.create_tag(**shared, tag=tag)
    return commit


def collect(api: HfApi, changes: Sequence[Change], owner: str, title: str) -> str:
    """Put the repositories into a collection, once each; return its address."""
    with hub_errors(f"{owner}: collection {title!r}"):
        collection = api.create_collection(title, namespace=owner, exists_ok=True)
        for change in changes:
            kind: Any = change.publication.repo_type
            api.add_collection_item(collection.slug, change.repo_id, kind, exists_ok=True)
        return collection.url


def make_api(endpoint: str | None, token: str | None) -> HfApi:
    """The Hub's client; ``None``: ``HF_ENDPOINT`` or huggingface.co, ``HF_TOKEN`` or the token logged in with."""
    token = token or get_token()
    if token is None:
        raise BadInputError("no token for the Hub; log in with `hf auth login`, set HF_TOKEN, or give `token`")
    return HfApi(endpoint=endpoint, token=token)


def show_size(size: float) -> str:
    """Bytes for people: ``5.9 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _check_rights(api: HfApi, owner: str) -> None:
    with hub_errors(owner):
        user = api.whoami()
    roles = {org["name"]: org.get("roleInOrg") for org in user.get("orgs", [])}
    if owner != user["name"] and roles.get(owner, "read") == "read":
        may = [user["name"], *(name for name, role in roles.items() if role != "read")]
        raise BadInputError(f"{owner}: this token has no write permission there; give `owner` {' or '.join(may)}")


def _compare(api: HfApi, change: Change, tag: str) -> None:
    publication = change.publication
    shared: dict[str, Any] = {"repo_id": change.repo_id, "repo_type": publication.repo_type}
    files = publication.files()
    try:
        info = api.repo_info(**shared)
    except RepositoryNotFoundError:
        _refuse_other_type(api, change)
        change.exists, change.changed = False, list(files)
        return
    change.head, change.private = info.sha, info.private
    change.has_tag = any(ref.name == tag for ref in api.list_repo_refs(**shared).tags)
    entries = api.list_repo_tree(**shared, recursive=True)
    present = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    change.changed = [path for path, file in files.items() if path not in present or not _same(file, present[path])]
    change.deleted = [path for path in present if path not in files and path not in NOT_OURS]


def _refuse_other_type(api: HfApi, change: Change) -> None:
    wanted = change.publication.repo_type
    for kind, name in TYPE_NAMES.items():
        if kind != wanted and api.repo_exists(change.repo_id, repo_type=kind):
            raise BadInputError(
                f"{change.repo_id}: is a {name} on the Hub, but a {TYPE_NAMES[wanted]} would be published; give it "
                "another name"
            )


def _same(file: Path, remote: RepoFile) -> bool:
    """Whether a file is the one on the Hub, by the hash that it knows: SHA-256 in LFS, git's blob hash elsewhere."""
    content = file.read_bytes()
    if remote.lfs is not None:
        return hashlib.sha256(content).hexdigest() == remote.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == remote.blob_id

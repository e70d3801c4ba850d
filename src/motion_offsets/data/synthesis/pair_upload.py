"""Synthesised pairs onto the Hub, as Parquet."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from ...errors import BadInputError
from ..reading.file_trees import FileTree
from ..reading.layouts import pairs_by_role
from .card import card
from .pair_writers import ParquetWriter
from .synthesis import CARD, Synthesis


def check_login(repo: str) -> None:
    """Refuse, before anything is computed, a name or an account that nothing could be uploaded with."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        HfApi().whoami()
    except HFValidationError as error:
        raise BadInputError(f"`push_to_hub` {repo!r} is no name of a data set ({error}); give org/name") from None
    except LocalTokenNotFoundError:
        raise BadInputError(f"`push_to_hub` {repo}: nobody is logged in; run hf auth login, or set HF_TOKEN") from None
    except (HfHubHTTPError, OSError) as error:
        raise BadInputError(f"`push_to_hub` {repo}: the Hub refuses or cannot be reached ({error})") from None


def upload_pairs(synthesis: Synthesis, repo: str, private: bool) -> str:
    """Upload the pairs and their card to a data set repository, made where there is none; return its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    with tempfile.TemporaryDirectory() as name:
        folder = synthesis.root
        if synthesis.settings.format == "flat":
            folder = Path(name)
            _as_parquet(synthesis, folder)
        try:
            address = HfApi().create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
            HfApi().upload_folder(
                repo_id=repo,
                repo_type="dataset",
                folder_path=folder,
                allow_patterns=[CARD, "data/*.parquet"],
                commit_message="Pairs from motion-offsets synthesize",
            )
        except (HfHubHTTPError, OSError) as error:
            raise BadInputError(f"{repo}: the upload failed ({error}); the pairs are in {synthesis.root}") from error
    return str(address)


def _as_parquet(synthesis: Synthesis, folder: Path) -> None:
    settings = dataclasses.replace(synthesis.settings, format="parquet")
    tree, writer = FileTree(synthesis.root), ParquetWriter(folder, settings.split)
    for pair in pairs_by_role(str(tree.root), tree.pictures(), settings.split, gamma=False):
        writer.add(pair.sequence, pair.frame, tree.read(pair.blurred), tree.read(pair.sharp))
    writer.flush()
    (folder / CARD).write_text(card(settings, synthesis.sources, len(writer.done)), encoding="utf-8")

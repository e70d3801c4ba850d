"""Synthesised pairs onto the Hub, as Parquet."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from ...errors import BadInputError
from ...models.hub_errors import hub_errors
from ..reading.file_trees import FileTree
from ..reading.layouts import pairs_by_role
from .card import card
from .pair_writers import ParquetWriter
from .synthesis import CARD, Synthesis


def upload_pairs(synthesis: Synthesis, repo: str, private: bool) -> str:
    """Upload the pairs and their card to a data set repository, made where there is none; return its address."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as name:
        folder = synthesis.root
        if synthesis.settings.format == "flat":
            folder = Path(name)
            _as_parquet(synthesis, folder)
        try:
            with hub_errors(f"`push_to_hub` {repo}"):
                address = HfApi().create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
                HfApi().upload_folder(
                    repo_id=repo,
                    repo_type="dataset",
                    folder_path=folder,
                    allow_patterns=[CARD, "data/*.parquet"],
                    commit_message="Pairs from motion-offsets synthesize",
                )
        except BadInputError as error:
            raise BadInputError(f"{error}. The pairs are complete, in {synthesis.root}") from error
    return str(address)


def _as_parquet(synthesis: Synthesis, folder: Path) -> None:
    settings = dataclasses.replace(synthesis.settings, format="parquet")
    tree, writer = FileTree(synthesis.root), ParquetWriter(folder, settings.split)
    for pair in pairs_by_role(str(tree.root), tree.pictures(), settings.split, gamma=False):
        writer.add(pair.sequence, pair.frame, tree.read(pair.blurred), tree.read(pair.sharp))
    writer.flush()
    (folder / CARD).write_text(card(settings, synthesis.sources, len(writer.done)), encoding="utf-8")

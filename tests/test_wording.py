"""Words: plain technical English in every tracked text, by the phrases that were hardest to read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".md", ".toml", ".yml", ".yaml", ".cff", ".txt", ".ipynb")
# What to write instead, for phrases that hold in any sentence.
PHRASES = {
    r"\bha(?:s|ve) to be\b": "must be",
    r"\bwants?\b": "needs, or asks for",
    r"\bis no [a-z]+": "is not a",
    r"\banew\b": "again",
    r"\bframes a\s+second|\b(?:one|seconds|crops|bytes|steps) an? (?:photo|picture|step|pixel|pair|level)\b": "per",
    r"\bOther than in\b": "Unlike in",
    r"\bAnyhow\b": "an adverb that says how",
    r"\bnamed likewise\b": "the kinds of names",
    r"\bthe first so many\b": "this number of, from the first",
    r"from -1 over 0 to 1": "from -1 to 1",
}


def _texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name.endswith(SUFFIXES)]
    return [ROOT / name for name in names if not name.startswith(("hub/models/", "train/results/"))]


def test_no_text_holds_a_phrase_that_is_hard_to_read() -> None:
    texts = [path for path in _texts() if path != Path(__file__).resolve() and path.is_file()]
    assert len(texts) > 200
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()!r}; write {better}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for phrase, better in PHRASES.items()
        for match in re.finditer(phrase, line)
    ]
    assert found == []

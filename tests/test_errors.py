"""What errors call the arguments that they name."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

from motion_offsets.errors import BadInputError, name_arguments

SOURCE = Path(__file__).parents[1] / "src" / "motion_offsets"
KNOWS_FLAGS = ("cli", "demo")
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def strings_of_errors(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string in a ``raise``."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def test_errors_of_the_library_name_arguments_and_no_flags() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.relative_to(SOURCE).parts[0] not in KNOWS_FLAGS]
    found = [(file, line, text) for file in files for line, text in strings_of_errors(file)]
    assert len(found) > 200
    assert [entry for entry in found if FLAG.search(entry[2])] == []


def test_a_command_line_puts_its_flags_there() -> None:
    assert name_arguments("give `dtype` 'float32', or leave `num_stacks` out", "--{}".format) == (
        "give --dtype 'float32', or leave --num_stacks out"
    )


def test_a_message_is_one_line_whatever_a_name_holds() -> None:
    error = BadInputError("two\nlines\t\x1b[2J\udcff.png: no such file; give one that exists")
    assert str(error) == r"two\nlines\t\x1b[2J\udcff.png: no such file; give one that exists"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)

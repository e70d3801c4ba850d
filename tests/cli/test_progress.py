"""What a terminal shows of a command's progress."""

from __future__ import annotations

import io
import os
import struct
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from motion_offsets.cli.app import app

fcntl = pytest.importorskip("fcntl", reason="Windows has other terminals")
pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")


def _on_a_terminal(*arguments: object) -> tuple[str, str]:
    """Standard output of a command in this process, and what it shows on standard error, a terminal."""
    terminal, standard_error = pty.openpty()
    fcntl.ioctl(standard_error, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # rows and columns
    seen = bytearray()
    reader = Thread(target=_read_to_its_end, args=(terminal, seen))
    reader.start()
    try:
        with os.fdopen(standard_error, "w") as error, redirect_stderr(error), redirect_stdout(io.StringIO()) as said:
            code = app([*map(str, arguments)], standalone_mode=False)
    finally:
        reader.join()
        os.close(terminal)
    assert not code, seen.decode()
    return said.getvalue(), seen.decode()


def _read_to_its_end(terminal: int, seen: bytearray) -> None:
    with suppress(OSError):  # that is how a terminal says that nobody writes to it any more
        while part := os.read(terminal, 4096):
            seen += part


@pytest.mark.parametrize(
    ("command", "steps"), [("deblur", ["loading the models", "sharp frame"]), ("trajectories", ["motion", "drawing"])]
)
def test_long_steps_are_shown(command: str, steps: list[str], tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    with Image.open(Path(__file__).parents[2] / "examples" / "cat.png") as picture:
        picture.crop((60, 30, 188, 126)).save(photo)
    said, seen = _on_a_terminal(command, photo, "-o", tmp_path / "out.png")
    assert said == f"{photo} -> {tmp_path / 'out.png'}\n"
    for step in steps:
        assert f"photo.png: {step}" in seen

"""What a terminal shows of a command's progress."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

fcntl = pytest.importorskip("fcntl", reason="Windows has other terminals")
pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")


def _on_a_terminal(*arguments: object) -> tuple[str, str]:
    """Standard output, a pipe, and standard error, a terminal."""
    terminal, standard_error = pty.openpty()
    fcntl.ioctl(standard_error, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # rows and columns
    with subprocess.Popen(
        [sys.executable, "-m", "motion_offsets", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=standard_error,
        text=True,
    ) as process:
        os.close(standard_error)
        seen = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the command has ended, and with it the terminal
                break
            if not part:
                break
            seen += part
        assert process.stdout is not None
        said = process.stdout.read()
    os.close(terminal)
    assert process.returncode == 0, seen.decode()
    return said, seen.decode()


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

"""The photo and the sharp picture on top of each other, with a line between them that mouse, finger and keys move."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote

from . import text

# The range input covers the pictures and cannot be seen itself; the line and the clip follow its value.
_MOVE = "this.parentNode.style.setProperty('--at', this.value + '%')"


def compare_html(photo: Path, sharp: Path, width: int, height: int) -> str:
    """Both pictures, files in Gradio's upload folder, of ``width`` by ``height`` pixels."""
    return (
        f'<div class="mo-compare" style="--ratio: {width / height:.5f}; aspect-ratio: {width} / {height}">'
        f'<img src="{_address(sharp)}" alt="{html.escape(text.SHARP_ALT)}">'
        f'<img class="mo-before" src="{_address(photo)}" alt="{html.escape(text.PHOTO_ALT)}">'
        f'<input type="range" min="0" max="100" value="50" aria-label="{html.escape(text.LINE)}" oninput="{_MOVE}">'
        '<span class="mo-line" aria-hidden="true"></span></div>'
    )


def _address(file: Path) -> str:
    """Relative to the page, so that it holds behind a proxy, too."""
    return f"gradio_api/file={quote(str(file))}"

"""Pictures side by side, each under its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

Panel: TypeAlias = tuple[str, Image.Image]

GAP, TEXT = 12, 16  # pixels between panels; height of the labels' letters
GROUP_GAP = 28  # further pixels between groups of rows
INK, PAPER = (38, 42, 48), (255, 255, 255)


def draw_panels(rows: Sequence[Sequence[Panel]], title: str = "", group: int | None = None) -> Image.Image:
    """Rows of panels in columns; a column is as wide as its widest picture or label.

    Args:
        rows: each the same number of panels: a label, which may have several lines, and a picture.
        title: a line above them all.
        group: so many rows belong together; between groups there is more room.
    """
    font, bold = ImageFont.load_default(TEXT), ImageFont.load_default(1.2 * TEXT)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))

    def label_size(label: str) -> tuple[int, int]:
        left, top, right, bottom = measure.multiline_textbbox((0, 0), label or " ", font=font)
        return round(right - left), round(bottom - top) + TEXT // 2

    widths = [
        max(max(picture.width, label_size(label)[0]) for label, picture in column)
        for column in zip(*rows, strict=True)
    ]
    tops = [max(label_size(label)[1] for label, _ in row) for row in rows]
    heights = [max(picture.height for _, picture in row) for row in rows]
    head = round(2.2 * TEXT) if title else 0
    apart = [GROUP_GAP if group and number and number % group == 0 else 0 for number in range(len(rows))]
    size = (
        max(sum(widths) + GAP * (len(widths) + 1), round(bold.getlength(title)) + 2 * GAP),
        head + sum(tops) + sum(heights) + sum(apart) + GAP * (len(rows) + 1),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, fill=INK, font=bold)
    y = head + GAP
    for row, top, height, more in zip(rows, tops, heights, apart, strict=True):
        x, y = GAP, y + more
        for (label, picture), width in zip(row, widths, strict=True):
            draw.multiline_text((x, y + top - TEXT // 3), label, fill=INK, font=font, anchor="ld")
            sheet.paste(picture.convert("RGB"), (x, y + top))
            x += width + GAP
        y += top + height + GAP
    return sheet

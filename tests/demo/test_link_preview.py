"""What sites show of a link to the page."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from PIL import Image

from motion_offsets.demo import text
from motion_offsets.demo.link_preview import preview_picture


def _tags(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<meta\s+(?:property|name)="((?:og|twitter):[^"]*)"\s+content="([^"]*)"', page)


def test_the_page_has_a_title_and_a_picture_of_its_own(server: Any) -> None:
    answer = httpx.get(server.url)
    tags = _tags(answer.text)
    assert len(dict(tags)) == len(tags), "each tag once"
    found = dict(tags)
    assert (found["og:title"], found["og:description"]) == (text.TITLE, text.INTRO)
    assert found["og:image"] == f"{server.url}preview.jpg"
    assert not [value for _, value in tags if "gradio" in value.lower()]
    assert answer.text.rstrip().endswith("</html>")
    with Image.open(BytesIO(httpx.get(found["og:image"], timeout=300).content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (1200, 630))


def test_behind_a_proxy_the_addresses_are_those_that_visitors_use(server: Any) -> None:
    headers = {"X-Forwarded-Host": "lab-motion.hf.space", "X-Forwarded-Proto": "https"}
    found = dict(_tags(httpx.get(server.url, headers=headers).text))
    assert found["og:url"] == "https://lab-motion.hf.space/"
    assert found["og:image"] == "https://lab-motion.hf.space/preview.jpg"


def test_left_is_the_photo_and_right_the_sharp_picture() -> None:
    black, white = np.zeros((63, 120, 3), np.uint8), np.full((63, 120, 3), 200, np.uint8)
    with Image.open(BytesIO(preview_picture(black, white))) as picture:
        assert max(picture.getpixel((300, 300))) < 5
        assert min(picture.getpixel((900, 300))) > 195

"""What one visitor may ask of the server; the page states these figures, and the tests hold it to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the web page.

    Args:
        upload_bytes: largest upload.
        upload_pixels: largest picture that is opened at all; checked on its header, before anything is decoded.
        working_pixels: sizes offered, in pixels: larger photos are scaled down to them.
        seconds: longest that the networks may work on one photo.
        slow_seconds: likewise with a deblurrer that the page calls slower.
        queue: how many may wait; whoever comes after is told so at once.
        frames: most frames of a clip.
        clip_seconds: longest video file.
        store_bytes: memory for answers of visitors who are still there; the least recently used go first.
        keep_seconds: how long an answer and its files live.
        memory: bytes that the networks may need for one photo; a photo that needs more is worked on in tiles.
    """

    upload_bytes: int = 30_000_000
    upload_pixels: int = 50_000_000
    working_pixels: tuple[int, ...] = (1_000_000, 4_000_000)
    seconds: float = 120
    slow_seconds: float = 900
    queue: int = 40
    frames: int = 41
    clip_seconds: float = 10
    store_bytes: int = 400_000_000
    keep_seconds: float = 3600
    memory: float = 3e9

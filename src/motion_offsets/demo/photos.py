"""Uploads: the one component that takes a photo, and the one function that opens it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio import utils
from gradio_client.utils import is_http_url_like
from PIL import Image

from ..errors import BadInputError
from ..io.images import load_image
from ..io.photo_metadata import NO_METADATA, PhotoMetadata, read_metadata
from ..io.photo_sources import MIN_SIDE
from .addresses import uploaded_file
from .limits import Limits

# What every browser of today shows, as Pillow names it.
BROWSER_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF")
NO_ADDRESS = "A web address is not opened here; upload the photo itself"


class _UploadsOnly:
    """Hands over the uploaded file unopened, and never an address elsewhere or a path of the server.

    Gradio itself would fetch the address that a caller of the API names, and decode a picture before its size is
    known. The address of an upload to this server, as assistants give it, is taken for its path.
    """

    def get_block_name(self) -> str:
        """The browser shows it as what it is, an image."""
        return "image"

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and is_http_url_like(str(url_or_file_path)):
            url_or_file_path = uploaded_file(str(url_or_file_path))
            if url_or_file_path is None:
                raise gr.Error(NO_ADDRESS, print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)  # type: ignore[misc]

    def preprocess(self, payload: Any) -> str | None:
        """The path of the uploaded file."""
        if payload is None:
            return None
        path = payload.path
        # Gradio has checked that it was uploaded; that is not left to one check.
        if not path or is_http_url_like(path) or not utils.is_in_or_equal(path, utils.get_upload_folder()):
            raise gr.Error(NO_ADDRESS, print_exception=False)
        return str(path)


# Gradio's image input, with that in front. An ordinary class statement would have Gradio's metaclass write a stub file
# beside this one, wherever the package is installed.
PhotoInput: Any = type.__new__(type(gr.Image), "PhotoInput", (_UploadsOnly, gr.Image), {"__module__": __name__})


def metadata_of(path: str | None) -> PhotoMetadata:
    """Date, camera and place of an upload; not its resolution, as what is made of it may be smaller."""
    return NO_METADATA if path is None else replace(read_metadata(path), dpi=None)


def open_photo(path: str | None, working_pixels: int, limits: Limits) -> np.ndarray:
    """An upload as uint8 RGB ``(H, W, 3)``, upright, scaled down to ``working_pixels``.

    Raises:
        BadInputError: there is none, or it is not a photo, damaged, too large or too small. The file is called "Your
            photo": its name on the server would mean nothing to a visitor, and its own name is not to be trusted.
    """
    if path is None:
        raise BadInputError("Choose a photo first")
    try:
        size = Path(path).stat().st_size
    except OSError:
        raise BadInputError("Your photo has expired; upload it again") from None
    if size > limits.upload_bytes:
        raise BadInputError(f"Your photo: has {size / 1e6:.0f} MB; the limit is {limits.upload_bytes / 1e6:.0f} MB")
    try:
        picture = load_image(path, limits.upload_pixels)
    except BadInputError as error:
        raise BadInputError(str(error).replace(str(path), "Your photo")) from None
    scale = math.sqrt(working_pixels / (picture.width * picture.height))
    if scale < 1:
        width, height = (max(MIN_SIDE, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    return np.array(picture)


def browsers_show(path: str) -> bool:
    """Whether browsers can show a picture that Pillow can open; TIFF and HEIC, for example, they cannot."""
    with Image.open(path) as picture:
        return picture.format in BROWSER_FORMATS

"""A slider that takes whatever is typed beside it."""

from __future__ import annotations

from typing import Any

import gradio as gr


class _Clamped:
    """Hands over the nearest value that it offers; Gradio itself fails on a value out of range."""

    minimum: float
    maximum: float

    def get_block_name(self) -> str:
        """The browser shows it as what it is, a slider."""
        return "slider"

    def preprocess(self, payload: float | None) -> float:
        """The number that was set, within the slider's ends; an emptied field counts as the lower end."""
        number = self.minimum if payload is None else min(max(payload, self.minimum), self.maximum)
        return super().preprocess(number)  # type: ignore[misc]


# As in photos.py: an ordinary class statement would have Gradio's metaclass write a stub file beside this one.
Slider: Any = type.__new__(type(gr.Slider), "Slider", (_Clamped, gr.Slider), {"__module__": __name__})

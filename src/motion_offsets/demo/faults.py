"""What goes wrong, told to the visitor in one sentence."""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from ..errors import BadInputError
from . import text
from .jobs import StoppedError

logger = logging.getLogger(__name__)
Handler = TypeVar("Handler", bound=Callable[..., Any])


def sentence(error: BadInputError) -> str:
    """What is wrong with an input, in one line of HTML."""
    return html.escape(" ".join(str(error).split()), quote=False)


def plainly(handler: Handler) -> Handler:
    """Turn whatever a handler raises into one sentence for the visitor; a fault of ours goes into the server's log."""

    @functools.wraps(handler)
    def handled(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except StoppedError:
            raise gr.Error(text.STOPPED, title="Stopped", print_exception=False) from None
        except BadInputError as error:
            raise gr.Error(sentence(error), title=text.FAILED, print_exception=False) from None
        except Exception:
            logger.exception("a fault of ours")
            raise gr.Error(text.OUR_FAULT, title=text.FAILED, print_exception=False) from None

    return handled  # type: ignore[return-value]

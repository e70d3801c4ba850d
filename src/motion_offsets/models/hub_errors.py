"""What goes wrong between this machine and the Hugging Face Hub, told in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from ..errors import BadInputError

LOG_IN = "nobody is logged in; run hf auth login, or set HF_TOKEN"


class PushToHubMixin:
    """``push_to_hub`` whose failures are one line; put it before the class that implements it."""

    def push_to_hub(self, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        """As in the base class.

        Raises:
            BadInputError: names the repository and the reason: its name, no login, no right to write,
                ``HF_HUB_OFFLINE``, no connection.
        """
        with hub_errors(f"push_to_hub {repo_id}"):
            return super().push_to_hub(repo_id, *args, **kwargs)  # type: ignore[misc]


def check_login(repo: str, subject: str) -> None:
    """Refuse a repository that this machine cannot upload to for its name, the login, or the network.

    Args:
        repo: ``org/name``.
        subject: how a message begins.

    Raises:
        BadInputError: names the reason.
    """
    with hub_errors(subject):
        validate_repo_id(repo)
        HfApi().whoami()


@contextmanager
def hub_errors(subject: str) -> Iterator[None]:
    """Turn what the Hub refuses and what a network breaks into one line that begins with ``subject``."""
    try:
        yield
    except BadInputError:
        raise
    except Exception as error:
        cause: BaseException = error
        while not _is_of_the_hub(cause):
            if cause.__cause__ is None:
                raise
            cause = cause.__cause__
        raise BadInputError(f"{subject}: {_reason(cause)}") from error


def _is_of_the_hub(error: BaseException) -> bool:
    if isinstance(error, (HfHubHTTPError, HFValidationError)):
        return True
    if isinstance(error, OSError):  # other than those of a local file or disk
        return error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT)
    # The client's HTTP library goes by two names, in newer and older versions.
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2")


def _reason(error: BaseException) -> str:
    said = " ".join((getattr(error, "server_message", None) or str(error)).split())[:160]
    if isinstance(error, HFValidationError):
        return f"the Hub does not allow this name ({said}); give org/name"
    if isinstance(error, LocalTokenNotFoundError):
        return LOG_IN
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to upload"
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        if "authorization" not in response.request.headers:  # type: ignore[union-attr]
            return LOG_IN
        return f"the Hub does not accept this token; log in again or give another `token` ({said})"
    if status == 403 and "/api/" in str(response.url):  # type: ignore[union-attr]
        return f"the Hub refused ({said}); give a token that may write there, or another repository"
    if status == 412:
        return "somebody else has written there meanwhile; run the command again"
    what = "the connection to the Hub broke" if status is None else "the Hub refused"
    return f"{what} ({said}); run the command again when that is mended: what has arrived is not sent twice"

"""The Hub: calls that wait while it limits the rate of requests, and its answers as one-line errors.

`huggingface_hub` retries uploads and downloads by itself, but not every call: `retry_when_limited` covers the rest.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from preprocess.errors import UserError
from preprocess.os_errors import is_of_files

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

T = TypeVar("T")

ATTEMPTS = 6
LONGEST_WAIT_S = 300.0
_TOO_MANY_REQUESTS = 429
_RESET = re.compile(r"\bt=([0-9]+)")  # of the header `ratelimit: "api";r=0;t=120`


def retry_when_limited(call: Callable[[], T]) -> T:
    """Calls, and calls again after the time that the Hub asks for, while it answers 429 (too many requests).

    Raises:
        HfHubHTTPError: The Hub answers something else, or still 429 after `ATTEMPTS` calls.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            answer = error if isinstance(error, HfHubHTTPError) else error.__cause__  # of `snapshot_download`
            if not isinstance(answer, HfHubHTTPError) or answer.response.status_code != _TOO_MANY_REQUESTS:
                raise
            seconds = retry_after(answer.response.headers, attempt)
            print(f"the Hub limits the rate of requests; trying again in {seconds:.0f} s", file=sys.stderr)
            time.sleep(seconds)
    return call()


def retry_after(headers: Mapping[str, str], attempt: int) -> float:
    """Seconds to wait: what the Hub says, else 1, 2, 4, … s; at most `LONGEST_WAIT_S`."""
    said = headers.get("retry-after", "")
    reset = _RESET.search(headers.get("ratelimit", ""))
    seconds = float(said) if said.isdecimal() else float(reset[1]) + 1 if reset else 2.0**attempt
    return min(seconds, LONGEST_WAIT_S)


@contextmanager
def one_line_errors(subject: str, remedies: Mapping[int, str]) -> Iterator[None]:
    """Turns what the Hub or the network answers into a UserError; the token is not in it.

    Args:
        subject: What was asked for, to be named in the message.
        remedies: By status code, where there is a better one than to try again.

    Raises:
        UserError: For every error of the Hub, of the network, or of something in between.
    """
    # huggingface_hub raises the exceptions of its HTTP client as they are, and has no type of its own for them.
    import httpx2
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    again = "Run the same command again: what has been transferred is kept."
    try:
        try:
            yield
        except (RuntimeError, LocalEntryNotFoundError) as error:  # wrappers of what happened to one file or request
            raise error.__cause__ or error from None
    except HFValidationError as error:
        raise UserError(f"{subject!r} is not the name of a repository: {error}", "Write <org>/<name>.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        later = "The Hub has a problem or is busy. Wait some minutes, then run the same command again."
        remedy = remedies.get(status, later if status >= 500 or status == _TOO_MANY_REQUESTS else again)
        raise UserError(f"the Hub refuses {subject} ({status}: {_reason(error)})", remedy) from error
    except (json.JSONDecodeError, UnicodeDecodeError, FileMetadataError) as error:
        raise UserError(
            f"the answer for {subject} is not from the Hub ({_first_line(str(error))})",
            "Check the connection: a proxy or the login page of a network may have answered. Also check HF_ENDPOINT.",
        ) from error
    except (httpx2.HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"the Hub cannot be reached ({type(error).__name__}: {_first_line(str(error))})",
            f"Check the connection. {again}",
        ) from error


@contextmanager
def model_errors(model: str, revision: str | None, remedy: str) -> Iterator[None]:
    """Turns what goes wrong while a model is downloaded into a UserError.

    Args:
        model: Id of its repository.
        revision: What was asked for; None for `main`.
        remedy: What to use instead, as the end of a sentence.

    Raises:
        UserError: There is no such repository or revision, or the Hub cannot be reached or answers with an error.
        OSError: The files cannot be written to this disk.
    """
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise UserError(
            f"no model {model!r} on the Hub" + (f" with revision {revision!r}" if revision else ""),
            f"Check the name and revision, log in if it is private (hf auth login), or {remedy}.",
        ) from error
    except Exception as error:  # every layer of the network has errors of its own, and they change with the client
        if is_of_files(error):
            raise
        inner = error if isinstance(error, HfHubHTTPError) else error.__cause__
        status = f" {inner.response.status_code}" if isinstance(inner, HfHubHTTPError) else ""
        raise UserError(
            f"model {model!r} is not on this disk and the Hub could not be reached ({type(error).__name__}{status})",
            f"Connect once to download it, or {remedy}.",
        ) from error


def _reason(error: HfHubHTTPError) -> str:
    """The server's message where it gives one; its text, such as a page of HTML, is not repeated."""
    return getattr(error, "server_message", None) or _first_line(str(error))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")[:200]

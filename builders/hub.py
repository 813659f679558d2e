"""Addresses of datasets on the Hub, and local copies of them: `hf://datasets/<org>/<name>[@<revision>]`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from preprocess.errors import UserError
from preprocess.hub import one_line_errors, retry_when_limited
from preprocess.samples import HUB_NAME
from preprocess.storage import location

HF_URL = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?/?")


def is_hub(folder: str) -> bool:
    """Whether this is an address on the Hub and not a folder."""
    return folder.startswith("hf://")


def check_org(org: str) -> None:
    """Checks the owner of a repository before anything is written.

    Raises:
        UserError: It cannot be a user or organization.
    """
    if not HUB_NAME.fullmatch(org):
        raise UserError(f"{org[:100]!r} cannot be a user or organization of the Hub", "Say ORG=name.")


def local_folder(folder: str, only: str | Sequence[str] | None = None) -> Path:
    """The folder itself, here or in an object store, or a copy, in the Hub's cache, of a dataset on the Hub.

    Args:
        folder: A folder, or the address of one.
        only: The files that are needed; all if None.

    Raises:
        UserError: The address is malformed, or the Hub does not serve the dataset.
    """
    if not is_hub(folder):
        return location(folder)
    match = HF_URL.fullmatch(folder)
    if not match:
        raise UserError(f"{folder!r} is not the address of a dataset", "Write hf://datasets/<org>/<name>[@<revision>].")
    from huggingface_hub import snapshot_download

    patterns = list(only) if only is not None and not isinstance(only, str) else only
    remedies = dict.fromkeys(
        (401, 403, 404), "Check the name, and that you are logged in (hf auth login) if the dataset is private."
    )
    with one_line_errors(folder, remedies):
        return Path(
            retry_when_limited(
                lambda: snapshot_download(match[1], repo_type="dataset", revision=match[2], allow_patterns=patterns)
            )
        )

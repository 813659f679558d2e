"""Addresses of datasets on the Hub: `hf://datasets/<org>/<name>[@<revision>]`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from preprocess.errors import UserError

HF_URL = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?/?")


def local_folder(folder: str, only: str | Sequence[str] | None = None) -> Path:
    """The folder itself, or a whole copy in the Hub's cache of a dataset that is there.

    Args:
        folder: A folder, or the address of a dataset.
        only: The files that are needed; all where None.

    Raises:
        UserError: The address is none, or the Hub does not give the dataset.
    """
    if "://" not in folder:
        return Path(folder)
    match = HF_URL.fullmatch(folder)
    if not match:
        raise UserError(f"{folder!r} is no address of a dataset", "Write hf://datasets/<org>/<name>[@<revision>].")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = list(only) if only is not None and not isinstance(only, str) else only
    try:
        return Path(snapshot_download(match[1], repo_type="dataset", revision=match[2], allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"the Hub does not give {folder}: {str(error).splitlines()[0]}",
            "Check the name, the connection, and that you are logged in (hf auth login) where it is private.",
        ) from error

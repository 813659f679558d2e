"""Publishes a verified folder as a dataset repository of the Hub.

    python -m builders push data/CLIP-Shapes --org my-org
    https://huggingface.co/datasets/my-org/CLIP-Shapes  v1  private

Only what has changed is sent, and a push that was cut off goes on where it stopped when it is run again: files that the
Hub has are not sent twice. Files of an earlier version that are no longer there are deleted in the same commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preprocess.errors import UserError
from preprocess.formats.atomic import is_temporary
from preprocess.formats.preview import PREVIEW_FOLDER

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_IGNORED = [".cache/**", ".*.tmp", "**/.*.tmp"]
_STALE = ["ds_*.tar", "rejects.jsonl", f"{PREVIEW_FOLDER}/*", "assets/*"]
"""What is deleted from the repository where the folder no longer has it."""

_NUMBERED = re.compile(r"v([0-9]+)")


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where a dataset is now: address of its page, the tag of this version, whether others can see it."""

    url: str
    tag: str
    private: bool


def files_to_push(folder: Path) -> list[tuple[str, int]]:
    """Path below the folder and bytes of everything that a push sends, sorted."""
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not is_temporary(path.name) and path.relative_to(folder).parts[0] != ".cache"
    ]


def push(folder: Path, repo_id: str, *, public: bool = False, tag: str | None = None) -> Pushed:
    """Creates the repository where there is none, uploads, tags.

    Args:
        folder: A packed dataset that `verify` finds nothing wrong with.
        repo_id: `<org>/<name>`.
        public: Whether a repository that is created now can be seen by others; one that exists stays as it is.
        tag: Name of this version; where None, that of a version with this very content, else the next of v1, v2, …

    Raises:
        UserError: There is no token, the Hub refuses, cannot be reached, or has the tag for another version.
    """
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise UserError(
            f"no token for the Hub, so {repo_id} cannot be written",
            "Log in with `hf auth login`, or set HF_TOKEN to a token that may write (https://hf.co/settings/tokens).",
        )
    api = HfApi(token=token)
    with _refusals(repo_id):
        api.create_repo(repo_id, repo_type="dataset", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=folder,
            commit_message=f"Upload {folder.name}",
            ignore_patterns=_IGNORED,
            delete_patterns=_STALE,
        )
        tag = _tag(api, repo_id, commit.oid, tag)
        private = bool(api.dataset_info(repo_id).private)
    return Pushed(f"{api.endpoint}/datasets/{repo_id}", tag, private)


def _tag(api: HfApi, repo_id: str, commit: str, wanted: str | None) -> str:
    """Tags a commit, unless it has the tag already."""
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type="dataset").tags}
    numbered = {int(match[1]): name for name in tags if (match := _NUMBERED.fullmatch(name))}
    if wanted is None:
        ours = [number for number, name in numbered.items() if tags[name] == commit]
        wanted = numbered[max(ours)] if ours else f"v{max(numbered, default=0) + 1}"
    if tags.get(wanted, commit) != commit:
        raise UserError(
            f"{repo_id} has a version {wanted!r} with other content", "Give another --tag, or none for the next number."
        )
    if wanted not in tags:
        api.create_tag(repo_id, tag=wanted, revision=commit, repo_type="dataset")
    return wanted


@contextmanager
def _refusals(repo_id: str) -> Iterator[None]:
    """What the Hub or the network answers, as one line. The token is in none of it."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        try:
            yield
        except RuntimeError as error:  # how a file that could not be sent is reported
            raise error.__cause__ or error from None
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no name of a repository: {error}", "Write <org>/<name>.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = {
            401: "Log in again with `hf auth login`: the token is not valid.",
            403: f"Use a token that may write to {repo_id.partition('/')[0]!r}, and see whether there is space left.",
            404: "Check the name of the organisation, and that you belong to it.",
        }.get(status, "Run the same command again: what has been sent is kept.")
        raise UserError(f"the Hub refuses {repo_id} ({status}: {str(error).splitlines()[0]})", remedy) from error
    except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"the Hub cannot be reached ({type(error).__name__}: {error})",
            "Look at the connection, then run the same command again: what has been sent is kept.",
        ) from error

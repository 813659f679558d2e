"""Publishes a verified folder as a dataset repository on the Hub.

    python -m builders push data/CLIP-Shapes --org my-org
    https://huggingface.co/datasets/my-org/CLIP-Shapes  v1  private

Only changed files are sent, and an interrupted push continues where it stopped when it is run again: files that the
Hub already has are not sent twice. Files of an earlier version that no longer exist are deleted in the same commit.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.contents import ASSETS_FOLDER, README_FILE, entries
from builders.loading import set_address
from preprocess.errors import UserError
from preprocess.formats.layout import REJECTS_FILE
from preprocess.formats.manifest import MANIFEST_FILE
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.preview import PREVIEW_FOLDER
from preprocess.hub import one_line_errors, retry_when_limited
from preprocess.storage import write_if_changed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_STALE = ["ds_*.tar", REJECTS_FILE, f"{PREVIEW_FOLDER}/*", f"{ASSETS_FOLDER}/*"]
"""Deleted from the repository where the folder no longer has them."""

_NUMBERED = re.compile(r"v([0-9]+)")


@dataclass(frozen=True, slots=True)
class Pushed:
    """A published dataset: address of its page, tag of this version, whether only its owner can see it."""

    url: str
    tag: str
    private: bool


def files_to_push(folder: Path) -> list[tuple[str, int]]:
    """Path below the folder and bytes of every file that a push sends, sorted.

    Raises:
        UserError: The folder holds a link, or something that is not a file of a dataset; `verify` lists all of them.
    """
    listed = list(entries(folder))
    for path, kind in listed:
        if kind != "file":
            what = {"link": "a symbolic link", "special": "not a regular file"}.get(kind, "not a file of a dataset")
            raise UserError(f"{folder / path} is {what}, so nothing is sent", "Remove it from the folder.")
    return sorted((path, (folder / path).stat().st_size) for path, _ in listed)


def write_address(folder: Path, repo_id: str) -> bool:
    """Makes the card load the dataset from the repository; returns whether README.md changed.

    Raises:
        UserError: The card has no code that loads the dataset, or code that still loads it from `data/`.
    """
    readme = folder / README_FILE
    manifest = read_manifest(folder / MANIFEST_FILE)
    return write_if_changed(readme, set_address(readme.read_text("utf-8"), manifest, repo_id).encode())


def push(folder: Path, repo_id: str, *, public: bool = False, tag: str | None = None) -> Pushed:
    """Creates the repository if it does not exist, uploads, tags.

    Args:
        folder: A packed dataset in which `verify` finds no problem.
        repo_id: `<org>/<name>`.
        public: Visibility of a repository that is created now; an existing one keeps its own.
        tag: Name of this version; if None, that of a version with the same content, else the next of v1, v2, …

    Raises:
        UserError: There is no token, the Hub refuses, cannot be reached, or has the tag for another version; or the
            folder holds something that must not be sent.
    """
    from huggingface_hub import HfApi, get_token

    files = [path for path, _ in files_to_push(folder)]
    token = get_token()
    if not token:
        raise UserError(
            f"no token for the Hub, so {repo_id} cannot be written",
            "Log in with `hf auth login`, or set HF_TOKEN to a token with write access (https://hf.co/settings/tokens).",
        )
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # that nothing changed since a push is not a warning
    api = HfApi(token=token)
    remedies = {
        401: "Log in again with `hf auth login`: the token is not valid.",
        403: f"Use a token with write access to {repo_id.partition('/')[0]!r}, and check the remaining storage.",
        404: "Check the name of the organization, and that you are a member of it.",
    }
    with one_line_errors(repo_id, remedies):
        retry_when_limited(lambda: api.create_repo(repo_id, repo_type="dataset", private=not public, exist_ok=True))
        commit = retry_when_limited(
            lambda: api.upload_folder(
                repo_id=repo_id,
                repo_type="dataset",
                folder_path=folder,
                commit_message=f"Upload {folder.resolve().name}",
                allow_patterns=files,
                delete_patterns=_STALE,
            )
        )
        tag = retry_when_limited(lambda: _tag(api, repo_id, commit.oid, tag))
        private = bool(retry_when_limited(lambda: api.dataset_info(repo_id)).private)
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
            f"{repo_id} has a version {wanted!r} with other content",
            "Choose another --tag, or none for the next number.",
        )
    if wanted not in tags:
        api.create_tag(repo_id, tag=wanted, revision=commit, repo_type="dataset")
    return wanted

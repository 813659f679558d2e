"""Which of the raw files that a recipe declares are there: by name, wherever below the raw folder they are.

states(spec, Path("raw"))[0]
# State(remote=RemoteFile(path="train.csv", …), status="missing", files=0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from preprocess import console
from preprocess.download.http import partial_files
from preprocess.readers.files import MEDIA_SUFFIXES, list_files, origin, split_suffix
from preprocess.samples import DatasetSpec, RemoteFile

DOWNLOADS = ".downloads"
"""Folder below the raw folder for unfinished downloads. Recipes leave out what begins with a dot."""

Status = Literal["found", "incomplete", "missing"]


@dataclass(frozen=True, slots=True)
class State:
    """One declared file or folder.

    Attributes:
        remote: The declaration.
        status: `found`; `incomplete`, when some of it is there, or a download of it was interrupted; or `missing`.
        files: How many files of it are there.
    """

    remote: RemoteFile
    status: Status
    files: int


def states(spec: DatasetSpec, raw: Path | None) -> list[State]:
    """The state of all raw files of a dataset, in the order of their declaration.

    Args:
        spec: Of the recipe.
        raw: A local folder, which need not exist, or None.

    Raises:
        OSError: The folder cannot be read.
    """
    if raw is None:
        return [State(remote, "missing", 0) for remote in spec.remotes]
    paths = list_files(raw) if raw.is_dir() else []
    return [_state(remote, paths, raw / DOWNLOADS) for remote in spec.remotes]


def temporary_place(remote: RemoteFile, downloads: Path) -> Path:
    """Where the file, archive or list at an address is until it is in its place.

    Several addresses may end in the same name; their place tells them apart.
    """
    where = remote.into if remote.kind in ("archive", "list") else remote.path.rpartition("/")[0]
    name = remote.url.partition("?")[0].rstrip("/").rpartition("/")[2]
    return downloads.joinpath(*(part for part in where.split("/") if part), name)


def state_table(spec: DatasetSpec, found: Sequence[State]) -> str:
    """What is there, what is missing, and where each file comes from, as lines of text."""
    terms = spec.license if spec.media_license == "unknown" else f"{spec.license}, media: {spec.media_license}"
    lines = [f"{spec.title}: {spec.homepage}", f"license: {terms}", "", spec.raw_layout.strip("\n"), ""]
    rows = [("state", "files", "what", "from")]
    for state in found:
        files = f"{state.files:,}" if state.files else ""
        rows.append((state.status, files, state.remote.path, origin(state.remote)))
    return "\n".join([*lines, console.table(rows, right=frozenset({1}))])


def _state(remote: RemoteFile, paths: Sequence[str], downloads: Path) -> State:
    counts = [sum(_shows(pattern, path) for path in paths) for pattern in _patterns(remote)]
    here = temporary_place(remote, downloads)
    under_way = any(path.exists() for path in (here, *partial_files(here)))
    if all(counts) and not under_way:
        return State(remote, "found", sum(counts))
    return State(remote, "incomplete" if any(counts) or under_way else "missing", sum(counts))


def _patterns(remote: RemoteFile) -> tuple[str, ...]:
    """Patterns of which each must be found; an empty one stands for any video or image."""
    return remote.gives or (("",) if remote.path.endswith("/") else (remote.path.rpartition("/")[2],))


def _shows(pattern: str, path: str) -> bool:
    if not pattern:
        return split_suffix(path)[1] in MEDIA_SUFFIXES
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(f"/{path}", f"*/{one}") if "/" in one else fnmatchcase(name, one) for one in pattern.split("|")
    )

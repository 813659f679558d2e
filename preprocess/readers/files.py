"""Every file below a raw folder, listed once: recipes look media up by name instead of walking the folder per sample.

files = RawFiles.list(Path("raw/MSRVTT"), SPEC)
files.video("video7020")            # "videos/all/video7020.mp4", or None
files.annotation("MSRVTT_data.json")  # Path, or an error that shows the tree expected
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocess.addresses import public_address
from preprocess.errors import RawDataError
from preprocess.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, DatasetSpec, RemoteFile
from preprocess.storage import files_below, is_remote, is_utf8, reaching

MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES


def expected_tree(spec: DatasetSpec) -> str:
    """The tree a recipe expects and where each file comes from, as lines of text."""
    lines = [f"{spec.name} expects below RAW:", "", spec.raw_layout.strip("\n")]
    if spec.remotes:
        lines += ["", "where it comes from:"]
        width = max(len(remote.path) for remote in spec.remotes)
        lines += [f"  {remote.path:{width}}  {origin(remote)}" for remote in spec.remotes]
    if any(remote.kind != "page" for remote in spec.remotes):
        lines += ["", f"What needs no login is downloaded by: make download DATASET={spec.name} RAW=<folder>"]
    return "\n".join(lines)


def origin(remote: RemoteFile) -> str:
    """The address of a raw file, what the user has to do there, and its terms, in one line."""
    notes = "; ".join(note for note in (remote.how, remote.terms) if note)
    return f"{remote.url} ({notes})" if notes else remote.url


def raw_data_error(spec: DatasetSpec, cause: str) -> RawDataError:
    """An error about raw data, which carries the tree that the recipe expects."""
    remedy = f"Lay the files out as {spec.name} expects them and name their folder: RAW=<folder>."
    return RawDataError(cause, remedy, expected_tree(spec))


def list_files(raw: Path) -> list[str]:
    """POSIX paths below `raw` of all files, sorted; what begins with a dot is left out.

    A remote folder is listed in one recursive request. Local links are followed, and a link whose target does not exist
    is listed too (its file is missing, not unknown). A folder that contains itself through a link is entered once.
    """
    if is_remote(raw):
        return [path for path in files_below(raw) if not any(part.startswith(".") for part in path.split("/"))]
    found: list[str] = []
    todo: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while todo:
        below, ancestors = todo.pop()
        folder = raw / below
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in ancestors:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir():
                    todo.append((path, ancestors | {here}))
                elif entry.is_file() or entry.is_symlink():
                    found.append(path)
    found.sort()
    return found


def split_suffix(path: str) -> tuple[str, str]:
    """`("a/b.mov", ".mp4")` for `a/b.mov.mp4`; the suffix in lower case."""
    stem, dot, suffix = path.rpartition(".")
    return (stem, dot + suffix.lower()) if dot and "/" not in suffix else (path, "")


@dataclass(frozen=True)
class RawFiles:
    """An index of a raw folder. Where a name occurs twice, the file nearest to the top is used, then the first by path.

    Attributes:
        raw: The folder, as `preprocess.storage.location` gives it.
        paths: Of every file, below `raw`, POSIX, sorted. Those whose name is not UTF-8 are not among them.
        unnamed: Paths of the latter, with escapes for the bytes that are not UTF-8.
        spec: Of the recipe that asks, for its errors.
        suffixes: What counts as media of this dataset, in lower case.
    """

    raw: Path
    paths: tuple[str, ...]
    spec: DatasetSpec
    suffixes: frozenset[str]
    unnamed: tuple[str, ...] = ()

    @classmethod
    def list(cls, raw: Path, spec: DatasetSpec, suffixes: Iterable[str] = MEDIA_SUFFIXES) -> RawFiles:
        """Lists `raw` once.

        Args:
            raw: A folder, as `preprocess.storage.location` gives it.
            spec: Of the recipe that asks.
            suffixes: What counts as media of this dataset, in lower case.

        Raises:
            RawDataError: There is no such folder, it is empty, or it cannot be read.
        """
        with reaching(raw):
            is_folder, exists = raw.is_dir(), raw.exists()
        shown = public_address(str(raw))
        if not is_folder:
            raise raw_data_error(spec, f"{shown} {'is not a folder' if exists else 'does not exist'}")
        try:
            paths = list_files(raw)
        except OSError as error:
            raise raw_data_error(spec, f"{error.filename or shown} cannot be read: {error.strerror}") from error
        unnamed = tuple(path for path in paths if not is_utf8(path))
        if unnamed:
            paths = [path for path in paths if is_utf8(path)]
        if not paths and not unnamed:
            raise raw_data_error(spec, f"{shown} is empty")
        escaped = tuple(path.encode(errors="backslashreplace").decode() for path in unnamed)
        return cls(raw, tuple(paths), spec, frozenset(suffixes), escaped)

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        """Paths by the name of the file."""
        return {path.rpartition("/")[2]: path for path in self._last_first()}

    @functools.cached_property
    def _stems(self) -> dict[str, str]:
        """Paths of media by the name without its suffix."""
        split = ((split_suffix(path.rpartition("/")[2]), path) for path in self._last_first())
        return {stem: path for (stem, suffix), path in split if suffix in self.suffixes}

    def _last_first(self) -> Iterator[str]:
        """The paths in an order in which the last of the same name is the one to use."""
        yield from sorted(self.paths, key=lambda path: (path.count("/"), path), reverse=True)

    def media(self, suffixes: Iterable[str] = MEDIA_SUFFIXES) -> tuple[str, ...]:
        """The paths that end in one of `suffixes`, sorted."""
        wanted = frozenset(suffixes)
        return tuple(path for path in self.paths if split_suffix(path)[1] in wanted)

    def named(self, name: str) -> str | None:
        """The path of the file of this name, suffix included."""
        return self._names.get(name)

    def stem(self, stem: str) -> str | None:
        """The path of the video or image that is called `stem` before its suffix."""
        return self._stems.get(stem)

    def find_annotation(self, *names: str) -> Path | None:
        """The first of these files that is there, in any folder."""
        path = next((self._names[name] for name in names if name in self._names), None)
        return None if path is None else self.raw / path

    def annotation(self, *names: str) -> Path:
        """As `find_annotation`, for a file that must be there.

        Raises:
            RawDataError: None of them is there.
        """
        found = self.find_annotation(*names)
        if found is None:
            raise self.lacks(*names)
        return found

    def lacks(self, *wanted: str) -> RawDataError:
        """The error for raw data in which none of several files or folders is present: says what was found instead."""
        tops = Counter(path.partition("/")[0] + "/" * ("/" in path) for path in self.paths)
        found = [f"{top} ({count} files)" if top.endswith("/") else top for top, count in sorted(tops.items())]
        shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        return raw_data_error(
            self.spec, f"{public_address(str(self.raw))} has none of {', '.join(wanted)}; found: {shown}"
        )

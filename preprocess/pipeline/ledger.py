"""The ledger of rejects: every sample that did not become a triple, with stage and reason.

    {"key": "video17", "split": "train", "stage": "decode", "reason": "no_video_stream", "message": "…"}

Lines are appended as they happen, so that a killed run forgets nothing, and sorted by key when a run ends, so that the
same data gives the same file. Only the parent process writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from preprocess.formats.atomic import write_atomic, write_if_changed
from preprocess.pipeline.work import read_rejects
from preprocess.samples import Reject, canonical_json


class Ledger:
    """The rejects of one dataset, in memory and in `rejects.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rejects = {reject.key: reject for reject in read_rejects(path)}
        whole = b"".join(map(_line, self._rejects.values()))
        if path.is_file() and path.stat().st_size != len(whole):  # a killed run left half a line
            write_atomic(path, whole)

    def __getitem__(self, key: str) -> Reject:
        return self._rejects[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rejects

    def __len__(self) -> int:
        return len(self._rejects)

    def add(self, reject: Reject) -> None:
        """Notes a reject, in the file at once."""
        self._rejects[reject.key] = reject
        with self._path.open("ab") as stream:
            stream.write(_line(reject))

    def keep(self, keys: Iterable[str]) -> None:
        """Forgets all rejects but those of `keys`, and puts the file in order."""
        self._rejects = {key: self._rejects[key] for key in sorted(set(keys) & self._rejects.keys())}
        write_if_changed(self._path, b"".join(map(_line, self._rejects.values())))

    def by_reason(self) -> dict[str, int]:
        """How many rejects there are of each reason, most frequent first."""
        return dict(Counter(reject.reason for reject in self._rejects.values()).most_common())


def _line(reject: Reject) -> bytes:
    return (canonical_json(reject.to_json()) + "\n").encode()

"""The ledger of rejects: every sample that did not become a triple, with stage and reason.

    {"key": "video17", "split": "train", "stage": "decode", "reason": "no_video_stream", "message": "…"}

Lines are appended as they happen, so that a killed run forgets nothing, and sorted by key when a run ends, so that the
same data gives the same file. Only the parent process writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.formats.atomic import write_atomic, write_if_changed
from preprocess.samples import Reject, canonical_json


class Ledger:
    """The rejects of one dataset, in memory and in `rejects.jsonl`.

    Raises:
        AnnotationError: A line of the file is no reject.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rejects: dict[str, Reject] = {}
        *whole, torn = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        for number, line in enumerate(whole, 1):
            try:
                reject = Reject(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise AnnotationError(path, f"line {number}", str(error), "a reject") from None
            self._rejects[reject.key] = reject
        if torn:  # a killed run left half a line
            write_atomic(path, b"".join(line + b"\n" for line in whole))

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

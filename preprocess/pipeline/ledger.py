"""The ledger of rejects: every sample that did not become a triple, with stage and reason.

    {"key": "video17", "split": "train", "stage": "decode", "reason": "no_video_stream", "message": "…", "attempts": 1}

Lines are appended as they happen, so that a killed run forgets nothing (in an object store: the last seconds), and
sorted by key when a run ends, so that the same data gives the same file. Only the parent process writes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from preprocess.append_log import AppendLog
from preprocess.samples import Reject, canonical_json
from preprocess.validation import own_line


class Ledger:
    """The rejects of one dataset, in memory and in `rejects.jsonl`.

    Raises:
        DamagedFileError: A line of the file is not a reject.
    """

    def __init__(self, path: Path) -> None:
        self._rejects: dict[str, Reject] = {}
        self._log = AppendLog(path)
        for number, (_, line) in enumerate(self._log.lines(), 1):
            reject = own_line(line, Reject, path, number, "Remove that line, and run encode again.")
            self._rejects[reject.key] = reject

    def __getitem__(self, key: str) -> Reject:
        return self._rejects[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rejects

    def __len__(self) -> int:
        return len(self._rejects)

    def __iter__(self) -> Iterator[Reject]:
        return iter(self._rejects.values())

    def add(self, reject: Reject) -> None:
        """Adds a reject, to a local file at once (to an object as `AppendLog` says); counts the attempts."""
        if reject.key in self._rejects:
            reject = dataclasses.replace(reject, attempts=self._rejects[reject.key].attempts + 1)
        self._rejects[reject.key] = reject
        self._log.append(_line(reject))

    def __enter__(self) -> Self:
        """For a run: leaving it publishes what is not published yet, also when the run fails."""
        return self

    def __exit__(self, *error: object) -> None:
        self._log.flush()

    def keep(self, keys: Iterable[str]) -> None:
        """Drops all rejects but those of `keys` and those of the stage `list`, and sorts the file."""
        kept = (set(keys) & self._rejects.keys()) | {reject.key for reject in self.listed()}
        self.rewrite(self._rejects[key] for key in kept)

    def rewrite(self, rejects: Iterable[Reject]) -> None:
        """Makes these all that is recorded, sorted by key."""
        self._rejects = {reject.key: reject for reject in sorted(rejects, key=lambda reject: reject.key)}
        self._log.replace(lambda: map(_line, self._rejects.values()))

    def listed(self) -> list[Reject]:
        """The rejects that the recipe found in the annotations, sorted by key."""
        return sorted((r for r in self._rejects.values() if r.stage == "list"), key=lambda reject: reject.key)

    def relist(self, rejects: Iterable[Reject]) -> None:
        """Replaces the rejects that the recipe found in the annotations."""
        now = {reject.key: reject for reject in rejects}
        before = {reject.key: reject for reject in self.listed()}
        if now != before:
            self._rejects = {key: reject for key, reject in self._rejects.items() if key not in before} | now
            self.keep(self._rejects)

    def by_reason(self) -> dict[str, int]:
        """How many rejects there are of each reason, most frequent first."""
        return dict(Counter(reject.reason for reject in self._rejects.values()).most_common())


def _line(reject: Reject) -> bytes:
    return (canonical_json(reject.to_json()) + "\n").encode()

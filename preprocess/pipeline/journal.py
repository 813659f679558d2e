"""The journal of an output: which triples are complete, and which state of the media each was made from.

    {"boot": "0d1c7f5e-…"}                                              this machine was started with this id
    {"key": "video7010", "media": [183412, 1753190000000000000]}        a sample that is done, and its media's stamp
    {"synced": true}                                                    all above survives a power failure

It is written beside the triples (`work/<name>/journal.jsonl`) and is never published. Two things are told from it:

- A raw file that was replaced: its stamp is not the one noted, so what was made from it is made again.
- A triple that a power failure may have damaged: the run was interrupted, and the triple is noted after the last
  `synced` of another boot, or not at all.

The journal of a run that ended has lines of samples and one `synced`. Triples that it does not know were put there by
the user or by an older version, and are taken as they are; so are those of the last seconds before the end of a killed
run that writes to an object store, where a log is uploaded at intervals.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from preprocess.append_log import AppendLog
from preprocess.batched import batched
from preprocess.numbered_lines import NumberedLines
from preprocess.sample_numbers import ABSENT, BLOCK, SampleNumbers
from preprocess.samples import JSON, canonical_json
from preprocess.storage import Stamp, is_remote, sync
from preprocess.validation import own_line

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNKNOWN = b'"media": null}\n'
"""The end of the line of a sample whose media has no stamp."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal; only one of the first three fields is set.

    Attributes:
        media: Size, and modification time (ns) or ETag; None where it is unknown.
    """

    boot: str | None = None
    synced: bool = False
    key: str | None = None
    media: Stamp | None = None


class Stamps(Protocol):
    """The state of media by the number of the sample, as `preprocess.media.stamps.MediaStamps` knows it."""

    def of(self, numbers: NDArray[np.integer[Any]]) -> list[Stamp | None]:
        """The stamps of some samples."""
        ...


class Journal:
    """The journal of one output. Where the line of each sample is, is in memory; the lines are in the file.

    Args:
        path: The file.
        triples: The folder whose content has to be on disk.
        numbers: Of the samples of the output; lines of others are dropped.

    Attributes:
        interrupted: Whether the last run did not end, so that triples not noted cannot be trusted.

    Raises:
        DamagedFileError: A line is not of a journal.
    """

    INTERVAL_S = 5.0
    """Between two calls of `sync`: what a power failure costs."""

    def __init__(self, path: Path, triples: Path, numbers: SampleNumbers) -> None:
        self._triples = triples
        self._numbers = numbers
        self._log = AppendLog(path)
        self._lines = NumberedLines(len(numbers), self._log)
        self.interrupted = self._read(path)
        self._began = False
        self._synced = time.monotonic()

    @property
    def noted(self) -> NDArray[np.bool_]:
        """For each sample, whether it is certainly done."""
        return self._lines.there

    @property
    def lost(self) -> NDArray[np.bool_]:
        """For each sample, whether its triple, should there be one, may be damaged."""
        return ~self.noted if self.interrupted else np.zeros(len(self._numbers), np.bool_)

    def media(self, numbers: NDArray[np.integer[Any]]) -> list[Stamp | None]:
        """The stamps that are noted of the media of some samples; None where none is."""
        return [_media(line) for line in self._lines.read(numbers)]

    def changed(self, now: Stamps) -> NDArray[np.bool_]:
        """The samples whose media is not what it was; where either state is unknown, nothing can be said."""
        found = np.zeros(len(self._numbers), np.bool_)
        for block in _blocks(np.flatnonzero(self.noted)):
            stamps = zip(self.media(block), now.of(block), strict=True)
            found[block] = [bool(before and after) and before != after for before, after in stamps]
        return found

    def add(self, number: int, key: str, media: Stamp | None) -> None:
        """Notes a sample whose triple is published, or that was rejected."""
        if not self._began:
            self.rewrite(self.noted)  # also drops what cannot be trusted
            self._log.append(_line({"boot": _boot()}))
            self._began = True
        self._lines.put(number, _line(_entry(key, media)))
        if time.monotonic() - self._synced > self.INTERVAL_S:
            self._sync()

    def keep(self, which: NDArray[np.bool_], now: Stamps) -> None:
        """Ends a run: keeps these samples alone; one whose state was not noted is noted as it is now."""
        self.rewrite(which, now=now)

    def rewrite(self, which: NDArray[np.bool_], lines: NumberedLines | None = None, now: Stamps | None = None) -> None:
        """Makes this all that is noted, sorted by key, with everything on disk.

        Args:
            which: The samples that are noted.
            lines: Their lines; None for those of this journal.
            now: What is noted of samples that have no line, or one without a stamp.
        """
        if self._began:
            self._sync_triples()
        self._began = False
        there = lines or self._lines

        def sorted_lines() -> Iterator[bytes]:
            for block in self._numbers.by_key():
                yield from self._of_block(block[which[block]], there, now)
            yield _line({"synced": True})

        self._log.replace(sorted_lines)
        self._lines.forget()
        kept = (number for block in self._numbers.by_key() for number in block[which[block]].tolist())
        places = (place for place, _ in self._log.lines())
        for pairs in batched(zip(kept, places, strict=False), BLOCK):  # the last line is of no sample
            self._lines.note(*np.array(pairs, np.int64).T)

    def copy_to(self, lines: NumberedLines) -> None:
        """Adds the lines of all samples that are noted, by the same numbers."""
        for block in _blocks(np.flatnonzero(self.noted)):
            for number, line in zip(block.tolist(), self._lines.read(block), strict=True):
                assert line is not None
                lines.put(number, line)

    def __enter__(self) -> Self:
        """For a run: leaving it makes sure of what is noted, also when the run fails."""
        return self

    def __exit__(self, *error: object) -> None:
        if self._began:
            self._sync()
        self._log.flush()

    def _of_block(self, numbers: NDArray[np.int64], lines: NumberedLines, now: Stamps | None) -> Iterator[bytes]:
        """The lines of some samples."""
        found = lines.read(numbers)
        unknown = np.array([line is None or line.endswith(_UNKNOWN) for line in found], np.bool_)
        keys = self._numbers.keys(numbers[unknown])
        stamps = iter(now.of(numbers[unknown]) if now else [None] * int(unknown.sum()))
        for line, ask in zip(found, unknown.tolist(), strict=True):
            yield _line(_entry(next(keys), next(stamps))) if ask or line is None else line

    def _read(self, path: Path) -> bool:
        """Notes where the lines are that can be trusted. Returns whether the last run was interrupted.

        That is all of them, unless the machine was started again since they were written: then those before the last
        `synced`.
        """
        boot, synced, end = self._read_until(None, path)
        if boot is not None and boot != (_boot() or None) and synced < end:
            self._lines.forget()
            self._read_until(synced, path)
        return boot is not None

    def _read_until(self, limit: int | None, path: Path) -> tuple[str | None, int, int]:
        """Reads the lines before a place. Returns the last boot, the places behind the last `synced` and last line."""
        boot, synced, end, number = None, 0, 0, 0
        for block in batched(self._log.lines(), BLOCK):
            keys, places = [], []
            for place, line in block:
                if limit is not None and place >= limit:
                    break
                number, end = number + 1, place + len(line)
                found = own_line(line, Line, path, number, "Delete it: all samples count as unchanged then.")
                if found.key is not None:
                    keys.append(found.key)
                    places.append(place)
                boot = boot if found.boot is None else found.boot
                synced = end if found.synced else synced
            numbers = self._numbers.of(keys)
            known = numbers != ABSENT
            self._lines.note(numbers[known], np.array(places, np.int64)[known])
        return boot, synced, end

    def _sync(self) -> None:
        self._sync_triples()
        self._log.append(_line({"synced": True}))
        self._synced = time.monotonic()

    def _sync_triples(self) -> None:
        if not is_remote(self._triples) and self._triples.is_dir():
            sync(self._triples)


def _blocks(numbers: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return np.split(numbers, range(BLOCK, len(numbers), BLOCK))


def _media(line: bytes | None) -> Stamp | None:
    media = json.loads(line)["media"] if line else None
    return None if media is None else (media[0], media[1])


def _entry(key: str, media: Stamp | None) -> JSON:
    return {"key": key, "media": None if media is None else list(media)}


def _line(record: JSON) -> bytes:
    return (canonical_json(record) + "\n").encode()


def _boot() -> str:
    """Changes when the machine is started; empty where the system has no such id."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.is_file() else ""

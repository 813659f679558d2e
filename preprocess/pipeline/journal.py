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

import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from preprocess.run_files import AppendLog
from preprocess.samples import JSON, canonical_json
from preprocess.storage import Stamp, is_remote, read_if_there, sync
from preprocess.validation import own_line

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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


class Journal:
    """The journal of one output, in memory and in its file.

    Attributes:
        interrupted: Whether the last run did not end, so that triples not noted cannot be trusted.
        media: Stamp of the media of every sample that is certainly done, by key.

    Raises:
        DamagedFileError: A line is not of a journal.
    """

    INTERVAL_S = 5.0
    """Between two calls of `sync`: what a power failure costs."""

    def __init__(self, path: Path, triples: Path) -> None:
        """`path` is the file, `triples` the folder whose content has to be on disk."""
        self._triples = triples
        content = read_if_there(path) or b""
        content = content[: content.rfind(b"\n") + 1]  # a killed run left half a line
        self.interrupted, self.media = _read(content, path)
        self._log = AppendLog(path, content)
        self._began = False
        self._synced = time.monotonic()

    def add(self, key: str, media: Stamp | None) -> None:
        """Notes a sample whose triple is published, or that was rejected."""
        if not self._began:
            self.rewrite(self.media)  # also drops what cannot be trusted
            self._log.append(_line({"boot": _boot()}))
            self._began = True
        self.media[key] = media
        self._log.append(_line(_entry(key, media)))
        if time.monotonic() - self._synced > self.INTERVAL_S:
            self._sync()

    def changed(self, now: Mapping[str, Stamp | None]) -> set[str]:
        """The samples whose media is not what it was; where either state is unknown, nothing can be said."""
        return {key for key, stamp in now.items() if stamp and (self.media.get(key) or stamp) != stamp}

    def lost(self, key: str) -> bool:
        """Whether the triple of a sample that is not noted may be damaged."""
        return self.interrupted and key not in self.media

    def keep(self, keys: Iterable[str], now: Mapping[str, Stamp | None]) -> None:
        """Ends a run: keeps these samples alone; one whose state was not noted is noted as it is now."""
        self.rewrite({key: self.media.get(key) or now.get(key) for key in keys})

    def rewrite(self, media: Mapping[str, Stamp | None]) -> None:
        """Makes this all that is noted, sorted, with everything on disk."""
        if self._began:
            self._sync_triples()
        self._began = False
        self.media = dict(sorted(media.items()))
        self._log.replace(b"".join(_line(_entry(*one)) for one in self.media.items()) + _line({"synced": True}))

    def __enter__(self) -> Self:
        """For a run: leaving it makes sure of what is noted, also when the run fails."""
        return self

    def __exit__(self, *error: object) -> None:
        if self._began:
            self._sync()
        self._log.flush()

    def _sync(self) -> None:
        self._sync_triples()
        self._log.append(_line({"synced": True}))
        self._synced = time.monotonic()

    def _sync_triples(self) -> None:
        if not is_remote(self._triples) and self._triples.is_dir():
            sync(self._triples)


def _read(content: bytes, path: Path) -> tuple[bool, dict[str, Stamp | None]]:
    """Whether the last run was interrupted, and what the lines say for certain.

    That is all of them, unless the machine was started again since they were written: then those before the last
    `synced`. A line is held no longer than it is read, as there is one per sample.
    """
    boot, media = None, {}
    synced = place = 0
    for number, line in enumerate(io.BytesIO(content), 1):
        found = own_line(line, Line, path, number, "Delete it: all samples count as unchanged then.")
        place += len(line)
        if found.key is not None:
            media[found.key] = found.media
        boot = boot if found.boot is None else found.boot
        synced = place if found.synced else synced
    if boot is not None and boot != (_boot() or None):
        media = _read(content[:synced], path)[1] if synced < place else media
    return boot is not None, media


def _entry(key: str, media: Stamp | None) -> JSON:
    return {"key": key, "media": None if media is None else list(media)}


def _line(record: JSON) -> bytes:
    return (canonical_json(record) + "\n").encode()


def _boot() -> str:
    """Changes when the machine is started; empty where the system has no such id."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.is_file() else ""

"""The processed dataset: where the triples are, as files or as parts, behind one interface.

    processed/encoding.json                       what they were made with
    processed/train/video7010.npy|.txt|.json      files: three per triple (`preprocess.formats.triple_files`)
    processed/train/part_5b0c9c1f0d1c7a3e.tar     parts: one per task and split (`preprocess.formats.parts`)

Files are convenient to look at; parts need few inodes and few requests. Which of them are written is recorded in
`source.json`, so that a resumed run goes on with it. Both are read, whatever is written, and give the same shards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.batched import batched
from preprocess.errors import UnknownNameError
from preprocess.formats import members, parts
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.parts import Content
from preprocess.formats.places import FILES, NONE, Entries, ListedEntries, TriplePlace, TriplePlaces, incomplete
from preprocess.formats.triple_files import keys_among, remove_triple, write_members
from preprocess.sample_numbers import ABSENT, BLOCK, SampleNumbers
from preprocess.sample_table import SampleTable, keys_of
from preprocess.samples import SPLITS, Sample, Split, Triple
from preprocess.storage import (
    file_names,
    fingerprints,
    is_remote,
    make_folder,
    read_ranges,
    remove,
    remove_temporary,
)

ProcessedKind = Literal["files", "parts"]
KINDS: tuple[ProcessedKind, ...] = get_args(ProcessedKind)
KIND_FIELD = "processed"
"""Where `source.json` says which kind is written."""

_PART_TRIPLES = 256  # a part has no more, so that a killed run loses no more
_PART_BYTES = 64 << 20
_READ_AHEAD = 512  # triples as files that are asked for together, where every request takes a while


class WrittenKey(NamedTuple):
    """A triple that is published: its key, its rows and its bytes."""

    key: str
    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Processed:
    """The triples of one dataset.

    Attributes:
        folder: `processed/`, with a folder per split.
        kind: How triples are written: `files` or `parts`.
    """

    folder: Path
    kind: ProcessedKind = "files"

    @classmethod
    def open(cls, layout: Layout, kind: str | None = None) -> Processed:
        """The triples below a layout.

        Args:
            kind: How to write; None for what earlier runs did, else files on this machine and parts in a store.

        Raises:
            UnknownNameError: There is no such kind.
        """
        wanted = kind or read_json(layout.source).get(KIND_FIELD) or ("parts" if is_remote(layout.out) else "files")
        for known in KINDS:
            if wanted == known:
                return cls(layout.processed, known)
        raise UnknownNameError("kind of processed dataset", str(wanted), KINDS)

    def prepare(self) -> None:
        """Creates the folders and removes what killed runs or workers left; while no worker runs."""
        for split in SPLITS:
            make_folder(self.folder / split)
            remove_temporary(self.folder / split)

    def keys(self, split: Split) -> set[str]:
        """Keys of the triples that exist."""
        return set(self._each_key(split))

    def there(self, numbers: SampleNumbers) -> NDArray[np.bool_]:
        """For each sample whether its triple exists, in the folder of its split."""
        found = np.zeros(len(numbers), np.bool_)
        for code, split in enumerate(SPLITS):
            for keys in batched(self._each_key(split), BLOCK):
                known = numbers.of(keys)
                known = known[known != ABSENT]
                found[known[numbers.splits[known] == code]] = True
        return found

    def find(self, samples: Sequence[Sample]) -> TriplePlaces:
        """Where the triples of samples are, from a listing of each split and the indexes of its parts.

        Args:
            samples: A table of them must be sorted by split and key.

        Raises:
            DamagedFileError: A triple has lost one of its files, or a part is not valid.
        """
        listings = {split: file_names(self.folder / split) for split in SPLITS}
        files = {split: keys_among(names) for split, names in listings.items()}
        in_parts = {split: parts.parts_among(names) for split, names in listings.items()}
        entries: Entries
        if isinstance(samples, SampleTable):
            from preprocess.formats.part_table import PartTable

            entries = table = PartTable.of(self.folder, in_parts)
            numbers = table.rows_of(samples)
        else:
            numbers, entries = self._entries_of(samples, in_parts)
        if any(files.values()):
            self._note_files(numbers, samples, files, listings)
        remote = is_remote(self.folder)
        listed = {split: fingerprints(self.folder / split) for split in SPLITS if remote and files[split]}
        return TriplePlaces(self.folder, numbers, entries, listed)

    def read(self, split: Split, places: Iterable[TriplePlace]) -> Iterator[dict[str, bytes]]:
        """Reads triples in the order given: the bytes of each member that packing reads, by extension.

        Those in parts are read ahead, many at a time, so that a part is opened seldom; of an object store files, too.

        Raises:
            FileNotFoundError: A file is gone.
            DamagedFileError: A part is not what was written.
        """
        ahead = _READ_AHEAD if is_remote(self.folder) else 1
        batch: list[TriplePlace] = []
        size = files = 0
        for place in places:
            size += place.entry.end - place.entry.offset if place.entry else 0
            files += place.entry is None
            batch.append(place)
            if files == ahead or size > _PART_BYTES:
                yield from self._read(split, batch)
                batch, size, files = [], 0, 0
        yield from self._read(split, batch)

    def describe(self, split: Split, place: TriplePlace, extension: str) -> str:
        """Names a member of a triple in an error."""
        part = f"{place.entry.part}: " if place.entry else ""
        return f"{self.folder}/{split}/{part}{place.key}.{extension}"  # per sample, and pathlib takes 13 % of packing

    def writer(self) -> TripleWriter:
        """For one task, in whatever process it runs."""
        return TripleWriter(self)

    def remove(self, stale: Iterable[tuple[Split, str]]) -> None:
        """Removes triples. A part is written without them under its new name before the old one is removed."""
        by_split: dict[Split, set[str]] = defaultdict(set)
        for split, key in stale:
            by_split[split].add(key)
        for split, keys in by_split.items():
            names = file_names(self.folder / split)
            self._remove_from_parts(split, parts.parts_among(names), keys)
            there = {name.partition(".")[0] for name in names}
            for key in sorted(keys & there):
                remove_triple(self.folder, split, key)

    def unpack(self) -> int:
        """Turns parts into files; a part is removed when its triples are files. Returns how many triples were."""
        count = 0
        for split in SPLITS:
            folder = self.folder / split
            remove_temporary(folder)
            names = file_names(folder)
            there = keys_among(names)
            for name in parts.parts_among(names):
                for key, contents in self._contents(split, name):
                    if key not in there:
                        write_members(self.folder, split, key, contents)
                        count += 1
                remove(folder / name)
        return count

    def _each_key(self, split: Split) -> Iterator[str]:
        """Keys of the triples that exist; one that is in two parts twice."""
        folder = self.folder / split
        names = file_names(folder)
        yield from keys_among(names)
        for entries in parts.indexes(folder, parts.parts_among(names)):
            for key, _ in entries:
                yield key

    def _entries_of(
        self, samples: Sequence[Sample], names: Mapping[Split, list[str]]
    ) -> tuple[NDArray[np.integer[Any]], ListedEntries]:
        """For each sample the number of its entry, or `NONE`; and the entries."""
        entries = {split: parts.read_indexes(self.folder / split, names[split]) for split in SPLITS}
        found = [entries[sample.split].get(sample.key) for sample in samples]
        there = np.array([entry is not None for entry in found], np.bool_)
        numbers = np.where(there, np.cumsum(there) - 1, NONE)
        return numbers, ListedEntries([entry for entry in found if entry is not None])

    def _note_files(
        self,
        numbers: NDArray[np.integer[Any]],
        samples: Sequence[Sample],
        files: Mapping[Split, set[str]],
        listings: Mapping[Split, Sequence[str]],
    ) -> None:
        """Sets `FILES` for samples whose triple is files, all of which must be there that packing reads."""
        wanted = [member.extension for member in members.MEMBERS if not member.from_sample]
        names = {split: frozenset(listings[split]) for split in SPLITS}
        for number, (key, split) in enumerate(keys_of(samples)):
            if key in files[split]:
                numbers[number] = FILES
                for extension in wanted:
                    if f"{key}.{extension}" not in names[split]:
                        raise incomplete(self.folder, split, f"{key}.{extension}")

    def _contents(self, split: Split, name: str) -> list[Content]:
        """All triples of one part."""
        folder = self.folder / split
        entries = list(parts.read_indexes(folder, [name]).items())
        read = parts.read_entries(folder, entries)
        return [(key, contents) for (key, _), contents in zip(entries, read, strict=True)]

    def _remove_from_parts(self, split: Split, names: Iterable[str], stale: set[str]) -> None:
        folder = self.folder / split
        for name in names:
            if stale.isdisjoint(parts.read_indexes(folder, [name])):
                continue
            rest = [(key, contents) for key, contents in self._contents(split, name) if key not in stale]
            if rest:
                parts.write_part(folder, rest)
            remove(folder / name)

    def _read(self, split: Split, batch: list[TriplePlace]) -> Iterator[dict[str, bytes]]:
        folder = self.folder / split
        wanted = [member.extension for member in members.MEMBERS if not member.from_sample]
        packed = [(place.key, place.entry) for place in batch if place.entry]
        from_parts = iter(parts.read_entries(folder, packed) if packed else ())
        path: Callable[[str], Path | str] = folder.joinpath if is_remote(folder) else f"{folder}/".__add__
        files = [(path(f"{place.key}.{e}"), 0, None) for place in batch if not place.entry for e in wanted]
        from_files = iter(read_ranges(files))
        for place in batch:
            if place.entry:
                whole = dict(zip(members.extensions(), next(from_parts), strict=True))
                yield {extension: whole[extension] for extension in wanted}
            else:
                yield {extension: next(from_files) for extension in wanted}


class TripleWriter:
    """Takes the triples of one task; says which of them are published."""

    def __init__(self, processed: Processed) -> None:
        self._processed = processed
        self._waiting: dict[Split, list[Content]] = defaultdict(list)
        self._written: dict[Split, list[WrittenKey]] = defaultdict(list)

    def add(self, split: Split, triple: Triple) -> list[WrittenKey]:
        """Takes one triple. Returns those that are published now."""
        contents = members.written(triple)
        written = WrittenKey(triple.key, len(triple.vectors), sum(map(len, contents)))
        if self._processed.kind == "files":
            write_members(self._processed.folder, split, triple.key, contents)
            return [written]
        self._waiting[split].append((triple.key, contents))
        self._written[split].append(written)
        waiting = self._written[split]
        if len(waiting) >= _PART_TRIPLES or sum(one.bytes for one in waiting) >= _PART_BYTES:
            return self._publish(split)
        return []

    def finish(self) -> list[WrittenKey]:
        """Publishes what waits. Returns those that are published now."""
        return [one for split in list(self._waiting) for one in self._publish(split)]

    def _publish(self, split: Split) -> list[WrittenKey]:
        waiting, written = self._waiting.pop(split, []), self._written.pop(split, [])
        if waiting:
            parts.write_part(self._processed.folder / split, waiting)
        return written

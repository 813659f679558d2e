"""Slices of an output: what each one records, and how finished slices become the output.

    data/work/CLIP-MSRVTT/slices/03-of-64/slice.json
        {"slice": 3, "of": 64, "complete": true, "source": {"dataset": "msrvtt", "raw": "/data/msrvtt", …},
         "samples": "5f0c…", "encoding": {"encoder": {…}, "sampling": {…}, …}}

Slices share nothing while they run, so they need neither a network between machines nor locks of a store. Joining takes
over the parts, rejects and journals of all slices. It can be interrupted anywhere and repeated:

1. Everything is read and compared. Nothing has changed if a slice is missing or was made with other settings.
2. `encoding.json` of the output is written: from here on no slice starts.
3. Parts are moved, all lists are written, then `slices/joined.json`.
4. The slices are removed, `joined.json` last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocess.errors import DamagedFileError, SettingsError, UserError
from preprocess.formats.layout import Layout, json_bytes, note_report, read_json, write_json
from preprocess.formats.parts import parts_among
from preprocess.formats.processed import Processed
from preprocess.formats.slices import Slice, ranges
from preprocess.numbered_lines import NumberedLines
from preprocess.pipeline.encode_output import each_sample
from preprocess.pipeline.index import Source, only_run, write_list
from preprocess.pipeline.journal import Journal
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.plan import collected
from preprocess.sample_numbers import SampleNumbers
from preprocess.sample_table import lines_of
from preprocess.samples import JSON, SPLITS, Reject, Sample
from preprocess.storage import clear_folder, file_names, is_remote, move_files, sync, write_if_changed
from preprocess.validation import own_line

_JOINED = "joined.json"
_REMEDY = "Run this slice again with --overwrite."


@dataclass(frozen=True, slots=True)
class SliceNote:
    """The content of `slice.json`.

    Attributes:
        slice: Number of the slice, from 1.
        of: How many slices there are.
        complete: Whether every sample of the slice is a triple or a reject.
        source: As in `source.json`.
        samples: Digest of the samples and listed rejects of the whole output.
        encoding: As in `encoding.json`; empty for a slice without samples.
    """

    slice: int
    of: int
    complete: bool
    source: JSON
    samples: str
    encoding: JSON


def slice_layouts(layout: Layout) -> list[Layout]:
    """The slices that an output has, by folder name."""
    names = sorted(path.name for path in layout.slices.iterdir()) if layout.slices.is_dir() else []
    return [layout.of_slice(part) for part in map(Slice.of_folder, names) if part]


def refuse_whole(layout: Layout) -> None:
    """Raises an error if the output of a slice needs no slices any more; it only reads.

    Raises:
        UserError: The output is encoded as a whole, or its slices are joined.
    """
    whole = layout.of_slice(None)
    if whole.encoding.is_file():
        raise UserError(
            f"{whole.work} is encoded without slices, or its slices are joined",
            "Leave --slice out to encode what is new there, or give the slices a --name of their own.",
        )


def begin_slice(
    layout: Layout,
    source: Source,
    samples: Sequence[Sample],
    rejects: Sequence[Reject],
    encoding: JSON,
    *,
    overwrite: bool = False,
) -> None:
    """Notes the samples and settings of a slice, as unfinished, before anything else is written.

    Args:
        layout: Of the slice.
        source: Where the samples come from.
        samples, rejects: All of the dataset, as `preprocess.pipeline.index.list_source` gives them.
        encoding: As `preprocess.pipeline.settings.resolve_encoding` gives it.
        overwrite: The other slices will be overwritten as well, so they decide nothing.

    Raises:
        UserError: The output is encoded as a whole, or its slices are joined.
        SettingsError: Another slice was made of other samples or with other settings.
    """
    whole = layout.of_slice(None)
    refuse_whole(layout)  # again, now that the lock is held
    assert layout.slice is not None
    part, digest = layout.slice, _digest(samples, rejects)
    note = SliceNote(part.number, part.count, False, source.to_json(), digest, encoding)
    others = (other for other in slice_layouts(whole) if other != layout and not overwrite)
    if other := next((other for other in others if other.slice_note.is_file()), None):
        assert other.slice is not None
        _check_count(whole, [other.slice, part])
        _check_same(whole, {other.slice: _read(other), part: note})
    write_json(layout.slice_note, dataclasses.asdict(note))


def finish_slice(layout: Layout, samples: Sequence[Sample]) -> None:
    """Notes that a slice is finished, once each of its samples is a triple or a reject.

    Args:
        layout: Of the slice.
        samples: Of the slice.

    Raises:
        UserError: A sample is neither.
    """
    numbers = SampleNumbers(samples)
    rejected = numbers.among(reject.key for reject in Ledger(layout.rejects))
    neither = np.flatnonzero(~Processed(layout.processed).there(numbers) & ~rejected)
    if len(neither):
        key = next(numbers.keys(neither))
        raise UserError(f"{layout}: {key!r} is neither encoded nor rejected", "Run the same command again.")
    note = dataclasses.replace(_read(layout), complete=True, encoding=read_json(layout.encoding))
    write_json(layout.slice_note, dataclasses.asdict(note))


def join_slices(layout: Layout) -> int:
    """Makes the slices of an output the output, as a run without slices would have left it.

    Args:
        layout: Of the whole output.

    Returns:
        How many slices were joined; 0 for an output without slices.

    Raises:
        UserError: A slice is missing or not finished, or a file is damaged.
        SettingsError: The slices are not of the same samples, or were made with other settings.
    """
    joined = layout.slices / _JOINED
    if not slice_layouts(layout) and not joined.is_file():
        return 0
    with only_run(layout):
        slices = slice_layouts(layout)
        if not joined.is_file():
            _take_over(layout, slices, _checked(layout, slices))
            write_json(joined, {"slices": len(slices)})
        for one in slices:
            clear_folder(one.work)
        clear_folder(layout.slices)  # by name: `joined.json` after all slices
        if not is_remote(layout.slices):
            with contextlib.suppress(OSError):  # a slice that is refused has just made its folder
                layout.slices.rmdir()
    return len(slices)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in all slices together."""

    numbers: SampleNumbers
    rejects: Mapping[str, Reject]
    journal: NumberedLines
    encoding: JSON


def _checked(layout: Layout, slices: Sequence[Layout]) -> _Found:
    """Reads the slices, of which none may be missing, unfinished or different; changes nothing."""
    there = {one.slice: one for one in slices if one.slice is not None}
    _check_count(layout, there)
    notes = {part: _read(one) for part, one in there.items() if one.slice_note.is_file()}
    count = next(iter(there)).count
    finished = {part.number for part, note in notes.items() if note.complete}
    if missing := sorted({*range(1, count + 1)} - finished):
        one = len(missing) == 1
        named = f"slice {missing[0]} of {count} is" if one else f"slices {ranges(missing)} of {count} are"
        raise UserError(
            f"{layout}: {named.replace(',', ', ')} missing or not finished",
            f"Run encode with --slice {missing[0]}/{count}."
            if one
            else f"Run encode with --slice K/{count} for each K of them, as sbatch --array={ranges(missing)} does.",
        )
    _check_same(layout, notes)
    samples = collected(sample for one in slices for sample in each_sample(one.samples))
    rejects = {reject.key: reject for one in slices for reject in Ledger(one.rejects)}
    listed = [reject for reject in rejects.values() if reject.stage == "list"]
    if _digest(samples, listed) != next(iter(notes.values())).samples:
        problem = "the samples.jsonl and rejects.jsonl there do not give the samples that slice.json has a digest of"
        raise DamagedFileError(layout.slices, "", problem, "Run all slices again.")
    numbers = SampleNumbers(samples)
    journal = NumberedLines(len(numbers))
    for part in slices:
        Journal(part.journal, part.processed, numbers).copy_to(journal)
    encoding: JSON = next((note.encoding for note in notes.values() if note.encoding), {})
    if before := read_json(layout.encoding):
        for field, (old, new) in _differences(before, encoding):
            raise SettingsError(
                f"{layout.processed} was made with {field} = {old!r}, its slices with {new!r}",
                f"Remove {layout.slices} to keep the first, or encode without --slice and with --overwrite.",
            )
    return _Found(numbers, rejects, journal, encoding)


def _take_over(layout: Layout, slices: Sequence[Layout], found: _Found) -> None:
    """Moves the parts and writes the lists; does the same when it is repeated."""
    processed = Processed(layout.processed, "parts")
    processed.prepare()
    if found.encoding:
        write_if_changed(layout.encoding, json_bytes(found.encoding))
    for one in slices:
        for split in SPLITS:
            folder = one.processed / split
            move_files(folder, layout.processed / split, parts_among(file_names(folder)))
    if not is_remote(layout.processed):
        sync(layout.processed)
    write_list(layout.samples, found.numbers.samples)
    Ledger(layout.rejects).rewrite(found.rejects.values())
    Journal(layout.journal, layout.processed, found.numbers).rewrite(found.journal.there, found.journal)
    options = read_json(slices[0].options)
    if options:
        write_if_changed(layout.options, json_bytes({**read_json(layout.options), **options}))
    note_report(layout, "encode", _total([read_json(one.report).get("encode", {}) for one in slices]))
    write_if_changed(layout.source, json_bytes(read_json(slices[0].source)))


def _total(reports: Sequence[JSON]) -> JSON:
    """The numbers of all slices added up; seconds are those of all machines together."""
    names = ("written", "changed", "kept", "frames", "bytes", "seconds")
    rejects: Counter[str] = sum((Counter(report.get("rejects", {})) for report in reports), Counter())
    total: JSON = {name: round(sum(report.get(name, 0) for report in reports), 3) for name in names}
    return {**total, "rejects": dict(rejects.most_common()), "slices": len(reports)}


def _read(layout: Layout) -> SliceNote:
    return own_line(layout.slice_note.read_bytes(), SliceNote, layout.slice_note, 1, _REMEDY)


def _check_count(layout: Layout, slices: Iterable[Slice]) -> None:
    """Raises an error if an output has slices of several divisions."""
    counts = sorted({part.count for part in slices})
    if len(counts) > 1:
        raise SettingsError(
            f"{layout} has slices of {' and of '.join(map(str, counts))}",
            f"Use one number of slices; remove the other folders from {layout.slices}.",
        )


def _check_same(layout: Layout, notes: Mapping[Slice, SliceNote]) -> None:
    """Raises an error that names the first field in which a slice differs from the first one."""
    origins: dict[Slice, JSON] = {
        part: {"source": note.source, "samples": note.samples} for part, note in notes.items()
    }
    encodings = {part: note.encoding for part, note in notes.items() if note.encoding}
    for records in (origins, encodings):
        first = next(iter(records), None)
        for part, record in records.items():
            for field, (expected, got) in _differences(records[first or part], record):
                raise SettingsError(
                    f"slices {first} and {part} of {layout} differ in {field}: {expected!r} and {got!r}",
                    "The raw data changed: run all slices again; what is encoded is kept."
                    if field == "samples"
                    else "Run all with the same options, and with --overwrite those that were run with others.",
                )


def _differences(one: JSON, other: JSON, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The fields of two records that differ, by their dotted names; a precision of `auto` is not known yet."""
    for key in sorted({*one, *other}):
        a, b, path = one.get(key), other.get(key), f"{name}.{key}".lstrip(".")
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, path)
        elif a != b and not (key == "precision" and "auto" in (a, b)):
            yield path, (a, b)


def _digest(samples: Sequence[Sample], rejects: Sequence[Reject]) -> str:
    """Of what a recipe lists: all samples by split and key, and the entries that cannot become samples."""
    digest = hashlib.sha256()
    for line in lines_of(samples):
        digest.update(f"{line}\n".encode())
    for key in sorted(reject.key for reject in rejects):
        digest.update(f"{key}\n".encode())
    return digest.hexdigest()

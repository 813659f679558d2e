"""What the journal trusts after a run that ended, a run that was killed, and a power failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess import sample_numbers
from preprocess.errors import DamagedFileError
from preprocess.numbered_lines import NumberedLines
from preprocess.pipeline import journal as journals
from preprocess.pipeline import plan
from preprocess.pipeline.journal import Journal
from preprocess.sample_numbers import SampleNumbers
from preprocess.samples import SPLITS, Sample
from preprocess.storage import Stamp
from tests.pipeline.conftest import on_disk

KEYS = "abcd"


class Now:
    """What media is now, by key."""

    def __init__(self, numbers: SampleNumbers, **stamps: Stamp | None) -> None:
        self._numbers, self._stamps = numbers, stamps

    def of(self, numbers: NDArray[np.integer[Any]]) -> list[Stamp | None]:
        """See `MediaStamps.of`."""
        return [self._stamps.get(key) for key in self._numbers.keys(numbers)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture(params=["a list", "a table"])
def numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SampleNumbers:
    """Of four samples whose order by key is not that by split."""
    if request.param == "a table":
        monkeypatch.setattr(plan, "AS_OBJECTS", 1)
    made = (Sample(key, SPLITS[-i % 3], f"{key}.mp4", (key,)) for i, key in enumerate(KEYS))
    return SampleNumbers(plan.collected(made))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (journals, sample_numbers):
        monkeypatch.setattr(module, "BLOCK", 3)


def opened(file: Path, numbers: SampleNumbers) -> Journal:
    return Journal(file, file.parent, numbers)


def add(journal: Journal, numbers: SampleNumbers, key: str, media: Stamp | None) -> None:
    journal.add(int(numbers.of([key])[0]), key, media)


def noted(journal: Journal, numbers: SampleNumbers) -> dict[str, Stamp | None]:
    there = np.flatnonzero(journal.noted)
    return dict(sorted(zip(numbers.keys(there), journal.media(there), strict=True)))


def started_again(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The next journal is opened after the machine was started again."""
    (folder / "boot_id").write_text("another boot\n")
    monkeypatch.setattr(journals, "_BOOT_ID", folder / "boot_id")


def test_a_run_that_ended_is_sorted_and_trusted_by_every_boot(
    file: Path, numbers: SampleNumbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(file, numbers)
    with journal:
        add(journal, numbers, "b", (10, 99))
        add(journal, numbers, "a", (11, '"etag"'))
        add(journal, numbers, "c", None)
    journal.rewrite(journal.noted)
    expected = {"a": (11, '"etag"'), "b": (10, 99), "c": None}
    assert noted(journal, numbers) == expected, "as before it was sorted"
    assert file.read_text().splitlines() == [
        '{"key": "a", "media": [11, "\\"etag\\""]}',
        '{"key": "b", "media": [10, 99]}',
        '{"key": "c", "media": null}',
        '{"synced": true}',
    ]
    started_again(monkeypatch, tmp_path)
    again = opened(file, numbers)
    assert (noted(again, numbers), again.interrupted, again.lost.any()) == (expected, False, False)


def test_what_changed_is_told_where_both_states_are_known(file: Path, numbers: SampleNumbers) -> None:
    journal = opened(file, numbers)
    with journal:
        for key, media in {"a": (1, 1), "b": (2, 2), "c": None}.items():
            add(journal, numbers, key, media)
    changed = journal.changed(Now(numbers, a=(1, 1), b=(2, 3), c=(3, 3), d=(4, 4)))
    assert list(numbers.keys(np.flatnonzero(changed))) == ["b"]
    assert not journal.changed(Now(numbers)).any()


def test_a_run_ends_with_the_state_of_what_was_not_noted(file: Path, numbers: SampleNumbers) -> None:
    """Such as of triples that an older version made; what is not to be kept is gone."""
    journal = opened(file, numbers)
    with journal:
        for key, media in {"a": (1, 1), "b": (2, 2), "c": None}.items():
            add(journal, numbers, key, media)
    journal.keep(numbers.among(["a", "c", "d"]), Now(numbers, a=(9, 9), c=(3, 3)))
    assert noted(opened(file, numbers), numbers) == {"a": (1, 1), "c": (3, 3), "d": None}
    assert not opened(file, numbers).interrupted


def test_the_last_line_of_a_sample_counts_and_those_of_others_are_dropped(file: Path, numbers: SampleNumbers) -> None:
    lines = [("a", 1), ("gone", 2), ("a", 4), ("b", 3), ("b", 5)]  # within a block, as `small_blocks` makes them
    file.write_text("".join(f'{{"key": "{key}", "media": [{size}, 0]}}\n' for key, size in lines))
    journal = opened(file, numbers)
    assert noted(journal, numbers) == {"a": (4, 0), "b": (5, 0)}
    journal.rewrite(journal.noted)
    assert file.read_text().count("key") == 2


def test_journals_of_slices_become_one(file: Path, tmp_path: Path, numbers: SampleNumbers) -> None:
    lines = NumberedLines(len(numbers))
    for name, notes in (("one", {"b": (2, 2), "d": None}), ("two", {"a": (1, 1)})):
        journal = opened(tmp_path / name, numbers)
        with journal:
            for key, media in notes.items():
                add(journal, numbers, key, media)
        opened(tmp_path / name, numbers).copy_to(lines)
    opened(file, numbers).rewrite(lines.there, lines)
    assert noted(opened(file, numbers), numbers) == {"a": (1, 1), "b": (2, 2), "d": None}


@on_disk
def test_a_killed_run_is_trusted_to_its_last_whole_line(file: Path, numbers: SampleNumbers) -> None:
    journal = opened(file, numbers)
    add(journal, numbers, "a", (1, 1))
    add(journal, numbers, "b", (2, 2))
    file.write_bytes(file.read_bytes()[:-5])
    again = opened(file, numbers)
    assert (noted(again, numbers), again.interrupted) == ({"a": (1, 1)}, True)
    assert list(numbers.keys(np.flatnonzero(again.lost))) == sorted("bcd", key=numbers_order(numbers))
    add(again, numbers, "c", (3, 3))
    assert noted(opened(file, numbers), numbers) == {"a": (1, 1), "c": (3, 3)}, "half a line does not damage the next"


def numbers_order(numbers: SampleNumbers) -> Callable[[str], int]:
    return lambda key: int(numbers.of([key])[0])


@on_disk
def test_after_a_power_failure_only_what_was_synced_counts(
    file: Path, numbers: SampleNumbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(file, numbers)
    add(journal, numbers, "a", (1, 1))
    monkeypatch.setattr(Journal, "INTERVAL_S", -1.0)
    add(journal, numbers, "b", (2, 2))
    monkeypatch.setattr(Journal, "INTERVAL_S", 3600.0)
    add(journal, numbers, "c", (3, 3))
    assert noted(opened(file, numbers), numbers).keys() == {"a", "b", "c"}
    started_again(monkeypatch, tmp_path)
    again = opened(file, numbers)
    assert (noted(again, numbers).keys(), again.interrupted) == ({"a", "b"}, True)
    add(again, numbers, "d", (4, 4))
    assert noted(opened(file, numbers), numbers).keys() == {"a", "b", "d"}, "what was not trusted is not trusted later"


@on_disk
def test_triples_are_synced_before_the_line_that_says_so(
    file: Path, numbers: SampleNumbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents: list[str] = []
    monkeypatch.setattr(journals, "sync", lambda folder: contents.append((folder / file.name).read_text()))
    journal = opened(file, numbers)
    with journal:
        add(journal, numbers, "a", None)
    assert ['"a"' in content for content in contents] == [True]
    assert contents[-1].count("synced") == 1, "that of the start"
    assert file.read_text().splitlines()[-1] == '{"synced": true}'


@pytest.mark.parametrize("line", [b"{}x", b'{"key": 3}', b'{"key": "a", "media": [1]}', b"\xff", b'{"more": 1}'])
def test_a_line_that_is_not_ours_is_named(file: Path, numbers: SampleNumbers, line: bytes) -> None:
    file.write_bytes(b'{"synced": true}\n' + line + b"\n")
    with pytest.raises(DamagedFileError, match=r"journal\.jsonl: line 2"):
        opened(file, numbers)

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from preprocess.readers.entries import EntryFile, RepeatedNames


class Row(NamedTuple):
    name: str
    number: int
    values: Any


@given(st.lists(st.text(st.characters(), max_size=3)))
def test_repeated_names_are_those_that_a_count_has_twice(names: list[str]) -> None:
    counted, (head, tail) = Counter(names), (names[: len(names) // 2], names[len(names) // 2 :])
    repeated = RepeatedNames(head)
    for name in tail:
        assert ("none of them" in repeated) is False  # asked before all are added
        repeated.add(name)
    assert {name: name in repeated for name in counted} == {name: count > 1 for name, count in counted.items()}


@given(st.lists(st.tuples(st.text(st.characters()), st.integers(), st.dictionaries(st.text(), st.floats(width=32)))))
def test_entries_come_back_as_they_were(rows: list[tuple[str, int, dict[str, float]]]) -> None:
    entries = EntryFile(Row)
    for row in rows:
        entries.add(row[0], Row(*row))
    assert len(entries) == len(rows)
    for _ in range(2):  # as often as one likes
        assert list(map(repr, entries)) == [repr(Row(*row)) for row in rows]
    counted = Counter(name for name, *_ in rows)
    assert all(entries.is_repeated(name) == (count > 1) for name, count in counted.items())


def test_entries_are_not_in_memory() -> None:
    tracemalloc.start()
    try:
        entries = EntryFile(Row)
        for number in range(20_000):
            entries.add(f"name {number}", Row("a" * 1_000, number, {}))
        assert sum(entry.number for entry in entries) == sum(range(20_000))
        assert not entries.is_repeated("name 7")
        assert tracemalloc.get_traced_memory()[1] < 6e6  # of 20 MB of names
    finally:
        tracemalloc.stop()

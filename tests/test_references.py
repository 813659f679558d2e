from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.references import ByteRange, Cell, file_of, split_reference

NAMES = st.text(min_size=1).filter(lambda name: "/" not in name and "\0" not in name and name.isprintable())


@given(file=st.text(min_size=1), start=st.integers(0, 10**15), size=st.integers(1, 10**12), name=NAMES)
def test_a_range_is_read_as_it_was_written(file: str, start: int, size: int, name: str) -> None:
    part = ByteRange(start, start + size, name)
    assert split_reference(part.of(file)) == (file, part)
    assert file_of(part.of(file)) == file


@given(file=st.text(min_size=1), row=st.integers(0, 10**15), column=st.text(min_size=1), name=NAMES)
def test_a_cell_is_read_as_it_was_written(file: str, row: int, column: str, name: str) -> None:
    if not column.isprintable():
        return
    part = Cell(row, column, name)
    assert split_reference(part.of(file)) == (file, part)


@pytest.mark.parametrize(
    "media",
    [
        "a.mp4",
        "take #1.mp4",
        "https://example.org/a.mp4#t=3",
        "0.tar#bytes=5-4&name=a.mp4",
        "0.tar#bytes=5-9",
        "0.tar#bytes=5-9&name=",
        "0.tar#bytes=5-9&name=a/b.mp4",
        "0.tar#bytes=5-9&name=a%2Fb.mp4",
        "0.tar#bytes=-5-9&name=a.mp4",
        "0.tar#row=1&name=a.mp4",
        "#bytes=5-9&name=a.mp4",
    ],
)
def test_everything_else_is_the_name_of_a_file(media: str) -> None:
    assert split_reference(media) == (media, None)


@pytest.mark.parametrize("values", [(5, 5, "a"), (-1, 5, "a"), (0, 5, ""), (0, 5, "a/b"), (0, 5, "a\0")])
def test_a_range_that_is_none_is_refused(values: tuple[int, int, str]) -> None:
    with pytest.raises(ValueError):
        ByteRange(*values)

"""Single cells of Parquet files: the right bytes in any order, and how much of a file is held to get them."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocess.storage import close_cells, location, read_cell
from preprocess.storage.locations import filesystem_of


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_cells()


def write(path: Path, rows: int = 23, per_group: int = 5, size: int = 100) -> list[bytes | None]:
    """Three row groups and more; every seventh cell is empty."""
    cells = [None if i % 7 == 3 else bytes([i]) * (size + i) for i in range(rows)]
    media = [None if cell is None else {"bytes": cell, "path": f"{i}.mp4"} for i, cell in enumerate(cells)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"n": range(rows), "video": pa.array(media, kind), "plain": pa.array(cells, pa.binary())})
    pq.write_table(table, path, row_group_size=per_group)
    return cells


@pytest.mark.parametrize("column", ["video", "plain"])
def test_cells_in_any_order(column: str, tmp_path: Path) -> None:
    cells = write(tmp_path / "a.parquet")
    order = [*range(23), *range(22, -1, -1), *random.Random(0).choices(range(23), k=60)]
    for row in order:
        assert read_cell(None, tmp_path / "a.parquet", row, column) == cells[row], row


def test_consecutive_rows_are_read_from_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.parquet")
    began: list[list[int]] = []
    iter_batches = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, *arguments: object, **options: object) -> object:
        began.append(list(options["row_groups"]))  # type: ignore[call-overload]
        return iter_batches(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    for row in (6, 7, 9, 12, 13, 13):
        read_cell(None, tmp_path / "a.parquet", row, "video")
    assert began == [[1], [2], [2]]


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    cells = write(tmp_path / "a.parquet")
    assert read_cell(None, tmp_path / "a.parquet", 0, "plain") == cells[0]
    later = write(tmp_path / "a.parquet", size=200)
    assert read_cell(None, tmp_path / "a.parquet", 1, "plain") == later[1] != cells[1]


def test_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(IndexError, match="row 23 of 23"):
        read_cell(None, tmp_path / "a.parquet", 23, "video")
    for column in ("nothing", "n"):
        with pytest.raises(KeyError, match="bytes"):
            read_cell(None, tmp_path / "a.parquet", 0, column)
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(pa.ArrowException):
        read_cell(None, tmp_path / "b.parquet", 0, "video")
    with pytest.raises(FileNotFoundError):
        read_cell(None, tmp_path / "c.parquet", 0, "video")


def test_in_a_bucket(tmp_path: Path, s3: str) -> None:
    cells = write(tmp_path / "a.parquet")
    remote = location(f"{s3}/{uuid.uuid4().hex}/a.parquet")
    remote.write_bytes((tmp_path / "a.parquet").read_bytes())
    filesystem, path = filesystem_of(remote)
    assert [read_cell(filesystem, path, row, "video") for row in (20, 2, 3, 4)] == [cells[row] for row in (20, 2, 3, 4)]


MEASURE = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from preprocess.storage import read_cell

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)

path = Path(sys.argv[1])
pq.ParquetFile(path).close()
before = peak()
for row in range(60):
    assert len(read_cell(None, path, row, "video")) == 4_000_000
print(peak() - before)
"""


def test_a_row_group_is_streamed_page_by_page(tmp_path: Path, root: Path) -> None:
    rng = random.Random(0)
    cells = [{"bytes": rng.randbytes(4_000_000), "path": None} for _ in range(60)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pages = {"row_group_size": 60, "use_dictionary": False, "write_batch_size": 1, "data_page_size": 1 << 20}
    pq.write_table(pa.table({"video": pa.array(cells, kind)}), tmp_path / "a.parquet", **pages)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "a.parquet"], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 100_000_000, "of a row group of 240 MB"

"""Rows in a file beside the same rows in an array."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike

from preprocess.media import rows_on_disk
from preprocess.media.rows_on_disk import RowsOnDisk, rows_for, take_rows
from preprocess.pipeline.frame_channel import open_channel


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_file_gives_what_an_array_gives(dtype: DTypeLike, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    random = np.random.default_rng(0)
    shape = (20, 6, 5, 3)
    array, file = np.empty(shape, dtype), RowsOnDisk(shape, dtype)
    assert (file.shape, file.ndim, file.nbytes, len(file), file.dtype) == (shape, 4, array.nbytes, 20, array.dtype)
    for start, stop in ((0, 1), (1, 4), (10, 20), (4, 10), (2, 3)):  # a row may be written again, after a restart
        image = (random.random((5, 6, 3)) * 255).astype(dtype).transpose(1, 0, 2)  # not contiguous
        array[start:stop] = image
        file[start:stop] = image
    np.testing.assert_array_equal(np.asarray(file), array)
    for rows in (np.array([3]), np.arange(20), np.array([[0, 0, 7], [19, 2, 1]])):
        found, expected = np.empty((*rows.shape, *shape[1:]), dtype), np.empty((*rows.shape, *shape[1:]), dtype)
        take_rows(file, rows, found)
        take_rows(array, rows, expected)
        np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.iterdir())


def test_only_long_videos_go_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "HELD_BYTES", 1000)
    assert isinstance(rows_for((10, 100), np.uint8), np.ndarray)
    assert isinstance(rows_for((251,), np.float32), RowsOnDisk)


def test_rows_in_a_file_are_sent_as_an_array() -> None:
    rows = RowsOnDisk((4, 2, 2, 3), np.uint8)
    for i in range(4):
        rows[i : i + 1] = np.full((2, 2, 3), i, np.uint8)
    for limit in (1 << 20, 0):  # through shared memory, and in the message
        with open_channel(limit=limit) as channel:
            sent = pickle.loads(pickle.dumps(channel.send("k", rows)))  # type: ignore[arg-type]
            assert sent.take()[:, 0, 0, 0].tolist() == [0, 1, 2, 3]

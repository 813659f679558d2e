"""Vectors to triples: nothing that is not finite is stored, and a sample is in all outputs of a build or in none."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from preprocess.encoders import encoder_spec
from preprocess.encoders.models import resolve
from preprocess.formats.processed import Processed
from preprocess.formats.triple_files import read_triple
from preprocess.pipeline.batches import Embedded
from preprocess.pipeline.targets import EncoderTarget
from preprocess.pipeline.write import SampleWriter, WrittenSample
from preprocess.samples import Reject, Sample
from tests.pipeline.conftest import on_disk

pytestmark = on_disk

GOOD = np.arange(6, dtype=np.float32).reshape(3, 2)


def targets(tiny_clip: Path, folder: Path, *kinds: tuple[str, Literal["files", "parts"]]) -> list[EncoderTarget]:
    """One target per number format and kind of processed dataset."""
    files, found = resolve(str(tiny_clip)), []
    for number, (dtype, kind) in enumerate(kinds):
        processed = Processed(folder / str(number), kind)
        processed.prepare()
        found.append(EncoderTarget(files, encoder_spec(files), 1, "fp32", 4, dtype, processed))
    return found


def embedded(key: str, **vectors: np.ndarray) -> Embedded:
    sample = Sample(key, "train", f"{key}.mp4", ("a caption",))
    return Embedded(sample, np.arange(3.0), 3.0, False, {int(name[1:]): rows for name, rows in vectors.items()})


def with_value(value: float) -> np.ndarray:
    changed = GOOD.copy()
    changed[1, 1] = value
    return changed


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float32", -np.inf), ("float16", 1e6)])
def test_what_is_not_finite_once_stored_is_a_reject(tiny_clip: Path, tmp_path: Path, dtype: str, value: float) -> None:
    """1e6 is a number in float32, and infinity in float16."""
    (target,) = targets(tiny_clip, tmp_path, (dtype, "files"))
    writer = SampleWriter([target], "first")
    (report,) = writer.add(embedded("bad", v0=with_value(value)))
    assert isinstance(report, Reject)
    assert (report.key, report.stage, report.reason) == ("bad", "encode", "not_finite")
    assert f"gives NaN or infinity as {dtype}" in report.message
    assert not list(writer.finish())
    assert target.processed.keys("train") == set()


def test_the_same_value_is_stored_where_it_fits(tiny_clip: Path, tmp_path: Path) -> None:
    (target,) = targets(tiny_clip, tmp_path, ("float32", "files"))
    (report,) = SampleWriter([target], "first").add(embedded("k", v0=with_value(1e6)))
    assert isinstance(report, WrittenSample)
    np.testing.assert_array_equal(read_triple(target.processed.folder, "train", "k").vectors, with_value(1e6))


@pytest.mark.parametrize("bad", [0, 1])
def test_what_one_output_cannot_store_is_in_none(tiny_clip: Path, tmp_path: Path, bad: int) -> None:
    both = targets(tiny_clip, tmp_path, ("float16", "files"), ("float16", "files"))
    writer = SampleWriter(both, "first")
    vectors = {f"v{i}": with_value(np.nan) if i == bad else GOOD for i in range(2)}
    reports = [*writer.add(embedded("bad", **vectors)), *writer.finish()]
    assert [type(report) for report in reports] == [Reject]
    assert [target.processed.keys("train") for target in both] == [set(), set()]


def test_a_sample_is_reported_when_all_of_its_triples_are_published(tiny_clip: Path, tmp_path: Path) -> None:
    """Files are published at once, a part only when its task ends: a report before that would be forgotten work."""
    both = targets(tiny_clip, tmp_path, ("float16", "files"), ("float32", "parts"))
    writer = SampleWriter(both, "first")
    for key in ("a", "b"):
        assert list(writer.add(embedded(key, v0=GOOD, v1=GOOD))) == []
    assert both[1].processed.keys("train") == set()
    reports = {report.key: report for report in writer.finish()}
    assert sorted(reports) == ["a", "b"]
    for report in reports.values():
        assert isinstance(report, WrittenSample)
        assert report.rows == {0: 3, 1: 3}
        assert report.frames == 6
    assert [target.processed.keys("train") for target in both] == [{"a", "b"}] * 2

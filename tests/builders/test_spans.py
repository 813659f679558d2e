"""What verify says of the spans that encoders of clips add."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from builders.findings import Findings
from builders.sample_check import SampleSchema, check_sample
from preprocess.formats.triples import npy_bytes, triple_meta
from preprocess.samples import Sample

SPANS = [[0.0, 4.0], [4.0, 5.5]]


def found(**changes: Any) -> list[str]:
    """Codes of what is wrong with one sample of two clips, once some of its metadata is changed."""
    sample = Sample("a", "train", "a.mp4", ("a ring",))
    meta = triple_meta(sample, 2, [0.0, 4.0], 5.5, False, SPANS, 2)
    schema = SampleSchema(4, "float16", tuple(meta), "first")
    meta |= changes
    vectors = np.ones((2, 4), np.float16)
    parts = {"npy": npy_bytes(vectors), "txt": b"a ring", "json": json.dumps(meta).encode()}
    findings = Findings("ds_00000.tar")
    check_sample("vid_00000", [(name, memoryview(data)) for name, data in parts.items()], schema, [], {}, findings)
    return [finding.code for finding in findings]


def test_spans_pass() -> None:
    assert found() == []
    assert found(spans=[[0.0, 0.0], [4.0, 4.0]], duration=0.0) == []  # an image lasts no time


@pytest.mark.parametrize(
    "spans",
    [
        None,
        "0-4",
        SPANS[:1],
        [[0.0, 4.0], [4.0]],
        [[0.0, 4.0], [5.0, 5.5]],
        [[0.0, 4.0], [4.0, 4.0]],
        [[0.0, None]] * 2,
    ],
    ids=str,
)
def test_spans_that_are_wrong(spans: Any) -> None:
    assert set(found(spans=spans)) == {"json_spans"}


def test_padded_frames_are_counted() -> None:
    assert found(padded_frames=-1) == ["json_value"]

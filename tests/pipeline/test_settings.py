"""What a run encodes with: the settings of the existing triples, unless the user names others, which is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preprocess.errors import SettingsError
from preprocess.formats.layout import Layout, read_json, write_json
from preprocess.media.sampling import Sampling
from preprocess.pipeline.settings import EncodeOptions, resolve_encoding
from preprocess.recipes import load
from tests.pipeline.conftest import on_disk

pytestmark = on_disk
SPEC = load("folder").SPEC


@pytest.fixture
def layout(tiny_clip: Path, tmp_path: Path) -> Layout:
    """An output that was encoded with tiny-clip, two frames a second, as float32."""
    layout = Layout(tmp_path, "CLIP-Test")
    layout.processed.mkdir(parents=True)
    options = EncodeOptions(model="tiny-clip", sampling=Sampling.fps(2), dtype="float32")
    write_json(layout.encoding, resolve_encoding(SPEC, layout, options).record)
    write_json(layout.source, {"model": "tiny-clip"})
    return layout


def test_options_left_out_are_those_of_the_existing_triples(layout: Layout) -> None:
    again = resolve_encoding(SPEC, layout, EncodeOptions())
    assert again.record == read_json(layout.encoding)
    assert (again.model.id, again.record["sampling"]) == ("tiny-clip", {"kind": "fps", "value": 2.0})


def edited(change: Callable[[dict[str, Any]], object], layout: Layout) -> None:
    """Changes `encoding.json`, as if the triples had been made otherwise."""
    record = json.loads(layout.encoding.read_bytes())
    change(record)
    write_json(layout.encoding, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["preprocessing"].update(shortest_edge=7), r"preprocessing.shortest_edge = 7, not \d+"),
        (lambda r: r["preprocessing"].update(interpolation="bilinear"), "interpolation = 'bilinear', not None"),
        (lambda r: r["preprocessing"].pop("mean"), r"preprocessing.mean = None, not \["),
        (lambda r: r["encoder"].update(weights_sha256="0" * 64), "encoder.weights_sha256 = '0000"),
        (lambda r: r["encoder"].update(dim=3), "encoder.dim = 3, not 512"),
    ],
)
def test_triples_that_were_made_otherwise_are_not_continued(
    layout: Layout, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """Also where no option says so: the model's processor or weights may have changed under the same name."""
    edited(change, layout)
    with pytest.raises(SettingsError, match=message):
        resolve_encoding(SPEC, layout, EncodeOptions())
    fresh = resolve_encoding(SPEC, layout, EncodeOptions(model="tiny-clip"), overwrite=True)
    assert fresh.record["encoder"]["dim"] == 512, "what is overwritten decides nothing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EncodeOptions(sampling=Sampling.fps(1)), "sampling.value = 2.0, not 1.0"),
        (EncodeOptions(sampling=Sampling.num_frames(2)), "sampling.kind = 'fps', not 'num_frames'"),
        (EncodeOptions(dtype="float16"), "encoder.dtype = 'float32', not 'float16'"),
    ],
)
def test_other_options_than_those_of_the_triples_are_refused(
    layout: Layout, options: EncodeOptions, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve_encoding(SPEC, layout, options)


def test_a_field_that_older_outputs_lack_is_no_difference(layout: Layout) -> None:
    edited(lambda record: record["encoder"].pop("family"), layout)
    assert resolve_encoding(SPEC, layout, EncodeOptions()).record == read_json(layout.encoding)


def test_other_library_versions_do_not_stop_a_run(layout: Layout) -> None:
    """They are recorded; `recheck` says whether they change a row."""
    edited(lambda record: record["versions"].update(av="1.0"), layout)
    assert resolve_encoding(SPEC, layout, EncodeOptions()).record["versions"]["av"] == "1.0"

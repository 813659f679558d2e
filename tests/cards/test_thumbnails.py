"""The frames above the strip are the embedded ones, are published only if their license permits it, and are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dataset_cards.card_inputs import CardInputs, read_card_inputs
from dataset_cards.prose import Prose
from dataset_cards.thumbnails import FILE, strip_thumbnails
from preprocess.exports.contact_sheet import tile
from preprocess.media import read_media
from preprocess.media.sampling import Sampling
from preprocess.samples import JSON, ShardReport, canonical_json
from tests.cards.small import SPEC, pack, samples
from tests.media_files import write_video

FREE = dataclasses.replace(SPEC, media_license="cc-by-4.0")
KEY = "clip_000"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 10 frames per second."""
    raw = tmp_path_factory.mktemp("raw")
    write_video(raw / "videos" / f"{KEY}.mp4", 40)
    return raw


@pytest.fixture
def inputs(out: Path, video: Path) -> CardInputs:
    ours = samples()
    layout = pack(out, ours)
    layout.samples.write_text("".join(canonical_json(sample.to_json()) + "\n" for sample in ours))
    layout.source.write_text(canonical_json({"raw": str(video)}))
    return read_card_inputs(FREE, layout, prose=Prose())


def strip(n_rows: int = 4, key: str = KEY) -> JSON:
    bounds = [0.0, *(i + 0.5 for i in range(n_rows - 1)), float(n_rows)]
    return {"key": key, "timestamps": [float(i) for i in range(n_rows)], "bounds": bounds}


def test_they_are_the_embedded_frames(inputs: CardInputs, video: Path) -> None:
    found = strip_thumbnails(inputs, strip())
    expected = read_media(video / "videos" / f"{KEY}.mp4", Sampling.fps(1)).frames
    assert [one.time_s for one in found] == [0.0, 1.0, 2.0, 3.0]
    for one, pixels in zip(found, expected.pixels, strict=True):
        np.testing.assert_array_equal(one.pixels, tile(np.asarray(pixels)))


def test_a_strip_of_the_first_rows_has_frames_of_these_alone(inputs: CardInputs) -> None:
    first = strip() | {"timestamps": [0.0, 1.0], "bounds": [0.0, 0.5, 1.5]}
    assert [one.time_s for one in strip_thumbnails(inputs, first)] == [0.0, 1.0]


def test_of_many_rows_some_are_shown(inputs: CardInputs) -> None:
    fast = dataclasses.replace(inputs, manifest={**inputs.manifest, "sampling": {"kind": "fps", "value": 10.0}})
    times = [i / 10 for i in range(40)]
    found = strip_thumbnails(fast, {"key": KEY, "timestamps": times, "bounds": [*times, 4.0]})
    assert [one.time_s for one in found] == pytest.approx(times[::2])


@pytest.mark.parametrize(("media_license", "sheets", "shown"), [("unknown", False, 0), ("unknown", True, 4)])
def test_frames_that_must_not_be_published_are_not_shown(
    inputs: CardInputs, media_license: str, sheets: bool, shown: int
) -> None:
    preview = (ShardReport("preview/train_00000.tar", "train", 1, 1, 10, "0" * 64),) if sheets else ()
    spec = dataclasses.replace(SPEC, media_license=media_license)
    assert len(strip_thumbnails(dataclasses.replace(inputs, spec=spec, preview=preview), strip())) == shown


def test_they_outlive_the_raw_files(inputs: CardInputs) -> None:
    first = strip_thumbnails(inputs, strip())
    inputs.layout.source.write_text(canonical_json({"raw": "/no/such/folder"}))
    again = strip_thumbnails(inputs, strip())
    assert [one.time_s for one in again] == [one.time_s for one in first]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    assert strip_thumbnails(inputs, strip(key="clip_004")) == [], "those of another video are not shown for it"
    inputs.layout.work.joinpath(FILE).write_bytes(b"PK damaged")
    assert strip_thumbnails(inputs, strip()) == []


def test_a_missing_or_unknown_video_has_none(inputs: CardInputs) -> None:
    assert strip_thumbnails(inputs, strip(key="clip_001")) == []
    assert strip_thumbnails(inputs, strip(key="nobody")) == []

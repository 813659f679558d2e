"""Batches filled across videos: every sample gets the rows of its own frames, whatever its neighbors and the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.encoders import encoder_spec
from preprocess.encoders.models import resolve
from preprocess.formats.processed import Processed
from preprocess.media.frames import DecodedMedia
from preprocess.pipeline.batches import Embedded, SampleEncoder
from preprocess.pipeline.targets import EncodeItem, EncoderTarget
from preprocess.samples import Frames, Pixels, Sample
from tests.pipeline.conftest import on_disk

pytestmark = [on_disk, pytest.mark.usefixtures("storage")]


class Sums:
    """An encoder whose vectors can be computed by hand: sum and maximum of the pixels of a frame."""

    id, dim, frame_shape, frame_dtype = "sums", 2, (1, 1, 3), np.uint8

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.batches: list[int] = []

    def encode(self, pixels: Pixels) -> NDArray[np.float32]:
        self.batches.append(len(pixels))
        frames = pixels.astype(np.float32)
        return np.stack([frames.sum(axis=(1, 2, 3)), frames.max(axis=(1, 2, 3), initial=0)], axis=1)


@pytest.fixture
def target(tiny_clip: Path, tmp_path: Path) -> EncoderTarget:
    files = resolve(str(tiny_clip))
    return EncoderTarget(files, encoder_spec(files), 1, "fp32", 4, "float32", Processed(tmp_path))


def decoded(seed: int, n_frames: int) -> DecodedMedia:
    pixels = np.random.default_rng(seed).integers(0, 256, (n_frames, 1, 1, 3), np.uint8)
    return DecodedMedia(Frames(pixels, np.arange(n_frames, dtype=np.float64)), float(n_frames), False)


def encode(
    lengths: Sequence[int], encoders: Sequence[Sums], target: EncoderTarget
) -> tuple[dict[str, Embedded], dict[str, DecodedMedia]]:
    """The samples of these lengths as they come out, each once, and what went in."""
    media = {f"k{i}": decoded(i, n_frames) for i, n_frames in enumerate(lengths)}
    loaded = iter(encoders)
    encoder = SampleEncoder([target] * len(encoders), lambda target: next(loaded))  # type: ignore[arg-type,return-value]
    which = tuple(range(len(encoders)))
    out: list[Embedded] = []
    for key, one in media.items():
        item = EncodeItem(Sample(key, "train", f"{key}.mp4", ("a",)), which)
        out += encoder.add(item, [one] * len(encoders))
    out += encoder.flush()
    assert sorted(one.key for one in out) == sorted(media), "each sample comes out once"
    return {one.key: one for one in out}, media


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_every_sample_has_the_rows_of_its_own_frames(target: EncoderTarget, batch_size: int) -> None:
    """Lengths below, at, and at several times the size of a batch; videos that end with a batch and in the middle."""
    sums = Sums(batch_size)
    out, media = encode([2, 4, 13, 1, 1, 7, 3, 9], [sums], target)
    for key, one in media.items():
        np.testing.assert_array_equal(out[key].vectors[0], Sums(99).encode(one.frames.pixels), err_msg=key)
    assert all(n == batch_size for n in sums.batches[:-1]), "only the last batch is not full"
    assert sum(sums.batches) == 40


def test_a_sample_is_complete_when_all_encoders_have_seen_it(target: EncoderTarget) -> None:
    out, media = encode([2, 5, 1], [Sums(2), Sums(64)], target)
    for key, one in media.items():
        assert sorted(out[key].vectors) == [0, 1]
        assert not out[key].missing
        np.testing.assert_array_equal(out[key].vectors[0], out[key].vectors[1])
        assert len(out[key].vectors[0]) == len(one.frames.pixels)


@pytest.mark.parametrize(
    ("start_s", "end_s", "duration_s"),
    [(None, None, 10.0), (2.0, None, 8.0), (None, 4.0, 4.0), (2.0, 99.0, 8.0), (10.0, 99.0, 0.0)],
)
def test_a_window_lasts_until_its_end_or_that_of_the_file(
    start_s: float | None, end_s: float | None, duration_s: float
) -> None:
    sample = Sample("k", "train", "k.mp4", ("a",), start_s=start_s, end_s=end_s)
    assert Embedded.of(sample, decoded(0, 10)).duration_s == duration_s

"""Damaged media give the frames that a full decode gives, or a Reject; no decoder takes the run down with it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from preprocess.errors import REASONS, MediaError
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
from preprocess.runtime.local import start_fork_server
from preprocess.runtime.options import RunOptions
from preprocess.runtime.runner import run_items
from preprocess.samples import Reject
from tests.fuzz.media import NAMES, Mutant, ReadMutants, write_media
from tests.fuzz.sequential import full_decode

TIME_LIMIT_S = 120  # of one mutant; a busy machine is not a hang
MEMORY_LIMIT = 2 << 30


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the files to damage."""
    start_fork_server(("tests.fuzz.media",))
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


def read(mutants: Sequence[Mutant], folder: Path) -> dict[str, Counter[str]]:
    """Reads mutants as a build reads videos; returns how many of each file gave what."""
    options = RunOptions(workers=2, time_limit_s=TIME_LIMIT_S, memory_limit=MEMORY_LIMIT)
    outcomes = {name: Counter[str]() for name in NAMES}
    wrong = []
    for report in run_items(mutants, ReadMutants(folder), options):
        if isinstance(report, Reject):
            assert report.reason in REASONS
            outcomes[report.key.partition(":")[0]][report.reason] += 1
            if report.reason in ("timeout", "decoder_crashed", "out_of_memory"):
                print(f"{report.key}: {report.reason}: {report.message}", file=sys.stderr)
        else:
            outcomes[report.key.partition(":")[0]][report.result] += 1
            wrong += [f"{report.key}: {report.wrong}"] * bool(report.wrong)
    assert not wrong
    assert sum(map(Counter.total, outcomes.values())) == len(mutants)
    return outcomes


def lines(outcomes: dict[str, Counter[str]]) -> Iterator[str]:
    """A table: what each file gave, how often."""
    columns = [column for column, _ in sum(outcomes.values(), Counter[str]()).most_common()]
    yield " | ".join(["", *columns])
    for name, found in outcomes.items():
        yield " | ".join([name, *(str(found[column]) for column in columns)])


def test_mutants(media: Path) -> None:
    outcomes = read([Mutant(name, seed) for name in NAMES for seed in range(2)], media)
    assert {"equal", "truncated", "unreadable"} <= set(sum(outcomes.values(), Counter()))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_mutants(media: Path) -> None:
    for line in lines(read([Mutant(name, seed) for name in NAMES for seed in range(260)], media)):
        print(line)


def test_the_undamaged_files_are_equal(media: Path) -> None:
    """The reference itself: all frames, each with a time of its own, and none of them unsure."""
    for name in ("h264.mp4", "mpeg4.avi", "mjpeg.mov", "vp9.webm"):
        decoded = full_decode(media / name)
        clip = read_video(media / name, Sampling.every_nth(1))
        np.testing.assert_array_equal(clip.frames.pixels, np.stack(decoded.pixels))
        np.testing.assert_allclose(clip.frames.timestamps_s, decoded.times_s, atol=1e-9)
        assert all(sure.all() for sure in decoded.sure)


def test_a_codec_that_does_not_open_is_a_reject(media: Path, tmp_path: Path) -> None:
    """An AVI whose header says that its pictures are raw, in no known arrangement of bits."""
    path = tmp_path / "raw.avi"
    data = bytearray((media / "mpeg4.avi").read_bytes())
    at = data.index(b"strf") + 8
    data[at + 14 : at + 20] = (77).to_bytes(2, "little") + bytes(4)  # biBitCount, biCompression
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"raw\.avi has parameters that rawvideo does not decode") as error:
        read_video(path, Sampling.fps(1))
    assert error.value.reason == "unreadable"

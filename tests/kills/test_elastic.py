"""Steps that are left again and again and continued by other numbers of workers: the same set remains, once each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from preprocess.__main__ import app
from preprocess.runtime.local import LocalExecutor
from tests.kills.runs import Step, state
from tests.kills.steps import encode, frames, new_folder, pack


class Left(Exception):
    """The run is left, as by Ctrl-C."""


class Runs:
    """Runs a step in this process, with any number of workers, up to so many reports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run = LocalExecutor.run
        self._keys: list[str] = []
        self._left_after: int | None = None
        monkeypatch.setattr(LocalExecutor, "run", lambda *arguments: self._counted(*arguments))

    def _counted(self, *arguments: Any) -> Iterator[Any]:
        with closing(self._run(*arguments)) as reports:
            for report in reports:
                self._keys.append(report.key)
                yield report
                if len(self._keys) == self._left_after:
                    raise Left

    def keys(self, step: Step, folder: Path, left_after: int | None = None) -> list[str]:
        """The keys of the items that were reported before the run was left, or of all that it did."""
        self._keys, self._left_after = [], left_after
        command = [str(argument) for argument in step.command(folder)]
        assert command[:2] == ["-m", "preprocess"]
        with suppress(Left):
            app(command[2:], standalone_mode=False)
            assert left_after is None
        return self._keys


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def check(of_workers: Callable[[int], Step], runs: Runs, folder: Path, everything: int) -> None:
    """Eight workers, then two, then eight: what the last run does is what the first two have left."""
    alone = of_workers(3)
    alone.prepare(folder / "alone")
    expected = runs.keys(alone, folder / "alone")
    assert len(set(expected)) == everything
    of_workers(1).prepare(folder / "data")
    before, done = list[str](), list[str]()
    for workers, left_after in ((8, 2), (2, 2), (8, None)):
        before = list(done)
        done += runs.keys(of_workers(workers), folder / "data", left_after)
    assert len(before) == 4
    assert len(set(done)) == len(done), "no item is done twice"
    assert set(done) <= set(expected), "a worker may have published an item when the run was left: it is not reported"
    assert runs.keys(of_workers(8), folder / "data") == [], "and nothing is left to do"
    assert state(alone, folder / "data") == state(alone, folder / "alone")


def test_frames(raw: Path, runs: Runs, tmp_path: Path) -> None:
    check(lambda workers: frames(raw, workers), runs, tmp_path, everything=7)


def test_packing(work: Path, runs: Runs, tmp_path: Path) -> None:
    check(lambda workers: pack(work, workers), runs, tmp_path, everything=26)


@pytest.mark.slow
def test_encoding(raw: Path, small_clip: Path, runs: Runs, tmp_path: Path) -> None:
    check(lambda workers: encode(raw, small_clip, workers), runs, tmp_path, everything=7)


def test_what_is_complete_is_skipped_and_what_failed_is_tried_when_asked(raw: Path, runs: Runs, tmp_path: Path) -> None:
    """A video that cannot be read is rejected; the next run does nothing, `--retry` tries it alone."""
    videos, out = tmp_path / "raw", tmp_path / "frames"
    shutil.copytree(raw, videos)
    bad, good = videos / "train" / "run" / "bad.mp4", videos / "test" / "run" / "v2.mp4"
    step = frames(videos, 2)
    again = Step("retry", lambda folder: (*step.command(folder), "--retry"), new_folder)
    new_folder(out)
    assert len(runs.keys(step, out)) == 7
    assert runs.keys(step, out) == []
    (key,) = runs.keys(again, out)
    assert "bad" in key
    shutil.copy(good, bad)
    assert runs.keys(again, out) == [key]
    assert runs.keys(again, out) == []


@pytest.mark.slow
def test_a_changed_file_behind_the_same_path_is_encoded_again_and_nothing_else(
    raw: Path, small_clip: Path, runs: Runs, tmp_path: Path
) -> None:
    """What is complete stays, what failed and was replaced is tried, what was replaced is made again."""
    videos, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(raw, videos)
    bad, good, other = (videos / name for name in ("train/run/bad.mp4", "test/run/v2.mp4", "train/jump/v3.mp4"))
    step = encode(videos, small_clip, 1)
    new_folder(out)
    assert len(runs.keys(step, out)) == 7
    assert runs.keys(step, out) == []

    shutil.copyfile(other, good)
    (key,) = runs.keys(step, out, left_after=1)
    assert "v2" in key
    assert runs.keys(step, out) == [], "it was noted before the run was left"

    shutil.copyfile(other, bad)
    (key,) = runs.keys(step, out)
    assert "bad" in key
    assert runs.keys(step, out) == []

    new_folder(tmp_path / "anew")
    assert len(runs.keys(step, tmp_path / "anew")) == 7
    assert state(step, out) == state(step, tmp_path / "anew")

"""A full, read-only or broken disk at any operation: one line and exit code 2, nothing half-written, the same end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import builds
from tests.faults.builds import Build, Tally, Zygote
from tests.faults.hook import VARIABLE, Fault, counts


@pytest.fixture(scope="module")
def zygote(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    process = Zygote(root, tmp_path_factory.mktemp("zygote"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builds.make_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def build(zygote: Zygote, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    first = dict(list(builds.BUILD.items())[:2])
    return Build(zygote, first, raw, tmp_path_factory.mktemp("build"))


@pytest.mark.parametrize(
    ("step", "kind", "error", "at"),
    [
        ("encode", "create", errno.EROFS, 0.0),
        ("encode", "create", errno.EMFILE, 0.5),
        ("encode", "write", errno.ENOSPC, 0.5),
        ("encode", "rename", errno.EDQUOT, 0.9),
        ("encode", "mkdir", errno.ENOSPC, 0.0),
        ("shards", "write", errno.EIO, 0.3),
        ("shards", "rename", errno.EIO, 0.9),
        ("shards", "read", errno.EMFILE, 0.9),
    ],
)
def test_a_disk_that_fails_costs_one_line_and_nothing_else(
    build: Build, step: str, kind: str, error: int, at: float
) -> None:
    tally = Tally()
    build.inject(step, kind, error, 1 + int(at * build.counted[step][kind]), tally)
    assert not tally.problems
    assert tally.failed == 1


def test_the_counts_are_those_of_the_files(build: Build) -> None:
    """Else a fault at every operation would be a fault at none."""
    triples = len(list((build.folder / "after-encode").rglob("processed/*/*.*")))
    assert triples == 6
    assert all(build.counted["encode"][kind] > triples for kind in ("create", "write", "rename"))
    assert build.counted["shards"]["rename"] >= 2 + 3


@pytest.fixture(scope="module")
def steps(request: pytest.FixtureRequest, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """One of `GROUPS`, run once without a fault."""
    folder = tmp_path_factory.mktemp(request.param)
    make_raw = builds.make_long_video if request.param == "LONG_VIDEO" else builds.make_raw
    return Build(zygote, GROUPS[request.param], make_raw(folder / "raw"), folder / "build")


GROUPS = {"BUILD": builds.BUILD, "PARTS": builds.PARTS, "EXPORTS": builds.EXPORTS, "LONG_VIDEO": builds.LONG_VIDEO}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("steps", "name"), [(group, name) for group, steps in GROUPS.items() for name in steps], indirect=["steps"]
)
def test_every_operation_of_every_step(steps: Build, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for kind, error, number in steps.faults_of(name):
        steps.inject(name, kind, error, number, tally)
    with capsys.disabled():
        print(f"\n{name}: {tally}, {len(tally.problems)} problems", flush=True)
    assert not tally.problems, "\n".join(tally.problems)


def encode_in_workers(root: Path, raw: Path, out: Path, fault: Fault | None, *more: str) -> tuple[int, str]:
    """Encodes in two worker processes, which import the hook when they start."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(root / "tests" / "faults" / "site")}
    command = ["-m", "preprocess", "encode", "folder", "--raw", raw, "--out", out, "--model", "tiny-clip"]
    done = subprocess.run(
        [sys.executable, *map(str, command), "--workers", "2", *more],
        cwd=root,
        env=environment | ({VARIABLE: fault.to_text()} if fault else {}),
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_disk_that_fails_in_a_worker_is_the_same_single_line(
    build: Build, root: Path, raw: Path, tmp_path: Path
) -> None:
    def fault(number: int) -> Fault:
        (tmp_path / "counter").unlink(missing_ok=True)
        below = str(tmp_path / "out" / "work" / "CLIP-Folder" / "processed" / "train")
        return Fault("rename", number, errno.EIO, (below,), str(tmp_path / "counter"))

    at = 1  # only workers write into the folder of a split
    status, errors = encode_in_workers(root, raw, tmp_path / "out", fault(at))
    assert builds.cause_of_failure(status, errors) is None
    assert status == 2
    assert "processed/" in errors, "a worker's file"
    assert "Input/output error. Check the disk" in errors
    status, errors = encode_in_workers(root, raw, tmp_path / "out", fault(1), "--debug")
    assert "Traceback" in errors
    status, errors = encode_in_workers(root, raw, tmp_path / "out", None)
    assert (status, errors) == (0, "")
    after = builds.contents(build.folder / "after-encode")
    differ = builds.differences(builds.contents(tmp_path / "out"), after)
    assert [name for name in differ if not name.endswith("options.json")] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["create", "write", "rename"])
def test_every_third_operation_in_workers(kind: str, build: Build, root: Path, raw: Path, tmp_path: Path) -> None:
    after = builds.contents(build.folder / "after-encode")
    total = build.counted["encode"][kind]
    for number in range(1, total + 1, 3):
        out = tmp_path / f"out{number}"
        fault = Fault(kind, number, errno.ENOSPC, (str(out),), str(tmp_path / f"counter{number}"))
        status, errors = encode_in_workers(root, raw, out, fault)
        assert builds.cause_of_failure(status, errors) is None, (number, errors)
        assert not builds.half_written(out, {}, after), number
        assert counts(fault.counter)[kind] >= min(number, 1)
        status, errors = encode_in_workers(root, raw, out, None)
        assert (status, errors) == (0, ""), number
        differ = builds.differences(builds.contents(out), after)
        assert [name for name in differ if not name.endswith("options.json")] == []

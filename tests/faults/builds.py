"""Steps of a small build, each run with faults from the state that the step before left."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preprocess.storage import is_temporary
from tests.faults.hook import KINDS, Fault, counts

ERRORS = {
    "create": (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE),
    "write": (errno.ENOSPC, errno.EDQUOT, errno.EIO),
    "rename": (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    "mkdir": (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    "read": (errno.EIO, errno.EMFILE),
    "sync": (errno.EIO, errno.ENOSPC),
}
"""Which errors each kind of operation can have."""

TIMED = ("build_report.json", "index.json", "ds_*.tar.json", "journal.jsonl")
"""Files with the time that a step took, or with the times of files."""

GROWING = ("rejects.jsonl", "journal.jsonl", "options.json", "source.json", "order.json")
"""Files that a step may leave in a state between that before it and that after it; `order.json` is there meanwhile."""


@dataclass(frozen=True)
class Step:
    """A command; `{out}` and `{raw}` in its arguments stand for folders.

    Attributes:
        repeats: Whether it can be run again after it succeeded.
    """

    module: str
    arguments: str
    repeats: bool = True

    def line(self, raw: Path, out: Path) -> list[str]:
        return [part.format(raw=raw, out=out) for part in self.arguments.split()]


BUILD = {
    "encode": Step("preprocess", "encode folder --raw {raw} --out {out} --model tiny-clip --executor inline"),
    "shards": Step("preprocess", "shards folder --out {out} --workers 1"),
    "evaluate": Step("dataset_cards", "evaluate folder --out {out}"),
    "card": Step("dataset_cards", "card folder --out {out}"),
    "report": Step("preprocess", "report folder --out {out}"),
    "page": Step("dataset_cards", "page folder --out {out}"),
    "filter": Step("explorer", "filter {out}/CLIP-Folder --split train --name Part --out {out}", repeats=False),
}

PARTS = {
    "encode": Step(
        "preprocess", "encode folder --raw {raw} --out {out} --model tiny-clip --executor inline --processed parts"
    ),
    "shards": Step("preprocess", "shards folder --out {out} --workers 1"),
    "unpack": Step("preprocess", "unpack folder --out {out}"),
}

EXPORTS = {
    "frames": Step("preprocess", "frames folder --raw {raw} --out {out}/frames --executor inline"),
    "annotations": Step("preprocess", "annotations folder --raw {raw} --out {out}/annotations"),
}

LONG_VIDEO = {
    "scenes": Step(
        "preprocess",
        "long-video scenes {out}/set --raw {raw} --annotations {raw}/scenes.jsonl --executor inline",
    ),
    "segments": Step("preprocess", "long-video segments {out}/set --seconds 3 --size 64x96"),
    "latents": Step("preprocess", "long-video latents {out}/set --vae {raw}/models --device cpu --executor inline"),
    "text": Step("preprocess", "long-video text {out}/set --model {raw}/models --device cpu"),
    "jsonl": Step("preprocess", "long-video jsonl {out}/set"),
}


class Zygote:
    """A process that forks one for each command."""

    def __init__(self, root: Path, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
        self.output = folder / "output"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=root,
            env=environment | {"TMPDIR": tempfile.mkdtemp(dir=folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, step: Step, raw: Path, out: Path, fault: Fault | None = None, *, here: bool = False
    ) -> tuple[int, str]:
        """Exit status, and what a forked process wrote to stderr."""
        job = {
            "module": step.module,
            "arguments": step.line(raw, out),
            "fault": vars(fault) if fault else None,
            "output": str(self.output),
            "here": here,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        status = int(self.process.stdout.readline())
        return status, "" if here else Path(f"{self.output}.err").read_text()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks; those with durations without their content."""
    return {
        path.relative_to(folder).as_posix(): b"" if any(map(path.match, TIMED)) else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


def cause_of_failure(status: int, errors: str) -> str | None:
    """What is wrong with how a command ended; None where it succeeded, or said in one line why not.

    Lines before it may say what was done until then, such as that an index was made.
    """
    of_errors = [line for line in errors.splitlines() if line.startswith("error: ")]
    if status not in (0, 2) or "Traceback" in errors or len(of_errors) != (status == 2):
        return f"exit status {status}\n{errors}"
    if status == 2 and not errors.splitlines()[-1].startswith("error: "):
        return f"the error is not the last line: {errors!r}"
    return None


def half_written(out: Path, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Files under a final name that are neither what they were nor what they are to become."""
    found = []
    for name, data in contents(out).items():
        path = Path(name)
        if any(is_temporary(part) for part in path.parts) or data in (before.get(name), after.get(name)):
            continue
        if path.name in GROWING:
            lines = data.splitlines(keepends=True)
            rows = lines if path.suffix == ".jsonl" else [data]
            try:
                for row in rows:
                    # A line that is cut off at the end of a log is removed by the next run.
                    if path.suffix != ".jsonl" or row.endswith(b"\n"):
                        json.loads(row)
            except ValueError:
                found.append(name)
        else:
            found.append(name)
    return found


@dataclass
class Tally:
    """What became of the faults that were injected."""

    injected: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.injected} faults: {self.failed} ended the command, {self.injected - self.failed} did not"


class Build:
    """The steps of a build, done once without a fault; any of them can be repeated with one."""

    def __init__(self, zygote: Zygote, steps: dict[str, Step], raw: Path, folder: Path) -> None:
        self.zygote, self.steps, self.raw, self.folder = zygote, steps, raw, folder
        self.out = folder / "out"
        self.counted: dict[str, dict[str, int]] = {}
        self.out.mkdir(parents=True)
        for name, step in steps.items():
            status, _ = zygote.run(step, raw, self.out, here=True)
            assert status == 0, name
        shutil.rmtree(self.out)
        self.out.mkdir()
        for name, step in steps.items():
            shutil.copytree(self.out, folder / f"before-{name}")
            status, errors = zygote.run(step, raw, self.out, self.fault("create", 0, 0))
            assert status == 0, errors
            self.counted[name] = counts(str(folder / "counter"))
            shutil.copytree(self.out, folder / f"after-{name}")

    def fault(self, kind: str, number: int, error: int) -> Fault:
        (self.folder / "counter").unlink(missing_ok=True)
        return Fault(kind, number, error, (str(self.out), str(self.raw)), str(self.folder / "counter"))

    def faults_of(self, name: str) -> Iterator[tuple[str, int, int]]:
        """Kind, error and number of every fault that a step can meet."""
        for kind in KINDS:
            for error in ERRORS[kind]:
                for number in range(1, self.counted[name].get(kind, 0) + 1):
                    yield kind, error, number

    def inject(self, name: str, kind: str, error: int, number: int, tally: Tally) -> None:
        """Runs a step with a fault, then again without; notes what is not as it should be."""
        step, what = self.steps[name], f"{name}: {errno.errorcode[error]} at {kind} {number}"
        before, after = contents(self.folder / f"before-{name}"), contents(self.folder / f"after-{name}")
        shutil.rmtree(self.out)
        shutil.copytree(self.folder / f"before-{name}", self.out)
        status, errors = self.zygote.run(step, self.raw, self.out, self.fault(kind, number, error))
        tally.injected += 1
        tally.failed += status != 0
        if cause := cause_of_failure(status, errors):
            tally.problems.append(f"{what}: {cause}")
        if torn := half_written(self.out, before, after):
            tally.problems.append(f"{what}: half-written: {torn}")
        if status == 0 and (differ := differences(contents(self.out), after)):
            tally.problems.append(f"{what}: succeeded with other content: {differ}")
        if status == 0 and not step.repeats:
            return
        status, errors = self.zygote.run(step, self.raw, self.out)
        if status:
            tally.problems.append(f"{what}: the next run failed with {errors}")
        elif differ := differences(contents(self.out), after):
            tally.problems.append(f"{what}: the next run gives other content: {differ}")


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of the files that differ, or that only one of two folders has."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def make_raw(folder: Path) -> Path:
    """Three short videos with labels, one of them broken."""
    from tests.media_files import write_video

    for i, split in enumerate(("train", "test")):
        write_video(folder / split / f"clip{i}.mp4", 4, seed=i)
    (folder / "train" / "broken.mp4").write_bytes(b"no video at all")
    return folder


def make_long_video(folder: Path) -> Path:
    """One video of two scenes, its annotations and small models."""
    from preprocess.demo.render import write_video
    from preprocess.demo.scenes import ShapeScene
    from preprocess.long_video.demo import FPS, make_models, scene_frames
    from preprocess.long_video.folder import write_rows

    scenes = ((4.0, ShapeScene("red", "circle", "left")), (3.5, ShapeScene("blue", "star", "up")))
    write_video(folder / "garden.mp4", scene_frames(scenes), FPS)
    rows: list[dict[str, Any]] = [
        {"video": "garden.mp4", "start": 0.0, "end": 4.0, "text": scenes[0][1].caption},
        {"video": "garden.mp4", "start": 4.0, "end": 7.5, "text": scenes[1][1].caption},
    ]
    write_rows(folder / "scenes.jsonl", rows)
    make_models(folder / "models")
    return folder

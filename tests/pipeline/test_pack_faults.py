"""Packing that is killed, and work folders that cannot be packed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from preprocess.errors import DamagedFileError, SettingsError, UnknownNameError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.processed import Processed
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import parse_json
from preprocess.pipeline import pack
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.pack_plan import Job
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task
from preprocess.samples import Reject, Sample, canonical_json
from preprocess.storage import atomic_file
from tests.object_store import remove_folder
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import (
    DIM,
    ENCODING,
    LISTS,
    files,
    fresh,
    make_samples,
    make_triple,
    run,
    write_rejects,
    write_samples,
)
from tests.processes import descendants, is_alive

# --- killed -----------------------------------------------------------------------------------------------------------

KILLER = """
import sys, hashlib
from pathlib import Path
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout
from preprocess.pipeline import pack
from preprocess.pipeline.outputs import packing_order
from preprocess.samples import DatasetSpec
from tests.pipeline.killing import killed_before

layout = Layout(Path(sys.argv[1]), "CLIP-Demo")
out = layout.dataset
spec = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")

def run(**options):
    pack.pack_dataset(layout, spec, per_shard=20, **options)

def state():
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}

run(seed=42)
undisturbed = state()
n = 0
while True:
    n += 1
    if not killed_before(n, lambda: run(seed=7)):
        break
    seed = 7  # the same command without its options continues with them
    if (out / "manifest.json").exists():
        manifest = manifests.read(out / "manifest.json")
        for shard in manifest["shards"]:
            assert state()[shard["file"]] == shard["sha256"], (n, shard)
        seed = manifest["order"]["seed"]
    assert packing_order(layout, "demo", None, None, None) == {"shuffle": True, "seed": seed, "per_shard": 20}, n
    run(seed=42)
    assert state() == undisturbed and not layout.order.exists(), n
print(n - 1)
"""


@on_disk
def test_killed_before_any_file_operation_and_run_again(work: Path, out: Path, tmp_path: Path, root: Path) -> None:
    """A run with another seed is killed at every single point; the run after it must not be fooled by what is left."""
    command = [sys.executable, "-c", KILLER, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # four shards, each written, renamed and noted; three lists


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the workers in /proc")
def test_killed_with_workers_and_run_again(work: Path, out: Path, tmp_path: Path, root: Path) -> None:
    run(work, tmp_path / "undisturbed" / "CLIP-Demo", per_shard=4)
    remove_folder(work / "shards")
    code = (
        "import sys; from pathlib import Path; from preprocess.pipeline import pack; from preprocess.samples import *;"
        "from preprocess.formats.layout import Layout; from preprocess.storage import location;"
        "from preprocess.runtime.options import RunOptions;"
        "layout = Layout(location(sys.argv[1]), 'CLIP-Demo');"
        "spec = DatasetSpec('demo', 'CLIP-Demo', 'mit', '', '', ('en',), (), '');"
        "pack.pack_dataset(layout, spec, per_shard=4, run=RunOptions(workers=2))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out.parent)], cwd=root)
    while not list(out.glob("ds_*.tar")):
        assert process.poll() is None
        time.sleep(0.001)
    workers = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(map(is_alive, workers)):  # nobody goes on writing; else pytest's timeout ends it
        time.sleep(0.01)
    assert not (out / "manifest.json").exists()
    run(work, out, per_shard=4)
    assert files(out) == files(tmp_path / "undisturbed" / "CLIP-Demo")


def test_an_error_in_a_worker_comes_through_and_finished_shards_stay(work: Path, out: Path, tmp_path: Path) -> None:
    broken = next(s for s in make_samples() if s.split == "test")
    make_triple(work / "processed", broken)
    good = (work / "processed" / "test" / f"{broken.key}.npy").read_bytes()
    (work / "processed" / "test" / f"{broken.key}.npy").write_bytes(good[:-1])
    with pytest.raises(DamagedFileError, match=rf"{broken.key}\.npy: should be {len(good)} bytes, is {len(good) - 1}"):
        run(work, out, workers=2)
    assert not any((out / name).exists() for name in LISTS)
    assert not list(out.glob(".*"))
    make_triple(work / "processed", broken)
    assert run(work, out).kept == 5
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo")


@dataclass(frozen=True)
class DyingPacker(pack.PackJobs):
    """The real function, in processes that die in the middle of one shard: always, or the first time."""

    def __call__(self, task: Task[Job], watch: Watch) -> Iterator[pack.Packed]:
        mark = self.settings.states / "died"
        for job in task.items:
            if job.key == "ds_00001.tar" and not (mark.exists() and self.settings.out.parent.name == "once"):
                watch(job.key)
                mark.touch()
                with atomic_file(self.settings.out / job.key) as file:
                    file.write(b"half")
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        yield from pack.PackJobs.__call__(self, task, watch)


def test_a_packing_process_that_dies_once_costs_nothing_and_twice_ends_the_run(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(work, tmp_path / "undisturbed" / "CLIP-Demo")
    remove_folder(work / "shards")
    monkeypatch.setattr(pack, "PackJobs", DyingPacker)
    with pytest.raises(UserError, match=r"a packing process died twice on ds_00001\.tar: .*finished shards"):
        run(work, tmp_path / "always" / "CLIP-Demo", workers=2)
    remove_folder(work / "shards")
    run(work, tmp_path / "once" / "CLIP-Demo", workers=2)
    assert files(tmp_path / "once" / "CLIP-Demo") == files(tmp_path / "undisturbed" / "CLIP-Demo")


# --- what cannot be packed --------------------------------------------------------------------------------------------


def test_a_sample_that_is_neither_is_an_error(work: Path, out: Path) -> None:
    samples = make_samples()
    Processed(work / "processed").remove((sample.split, sample.key) for sample in samples[:2])
    with pytest.raises(UserError, match=r"2 of 50 samples are neither encoded nor rejected.*Run encode \(again\)"):
        run(work, out)
    assert not (out).exists()


def test_half_a_line_of_rejects_counts_as_none(work: Path, out: Path) -> None:
    sample = make_samples()[0]
    Processed(work / "processed").remove([(sample.split, sample.key)])
    reject = Reject(sample.key, "train", "decode", "timeout", "")
    with (work / "rejects.jsonl").open("a") as file:
        file.write(canonical_json(reject.to_json())[:-10])
    with pytest.raises(UserError, match="1 of 50 samples are neither"):
        run(work, out)
    with Ledger(work / "rejects.jsonl") as ledger:
        ledger.add(reject)
    run(work, out)


def test_a_reject_that_moved_to_another_split_stays_a_reject(work: Path, out: Path) -> None:
    samples = make_samples()
    samples[20] = Sample.from_json(samples[20].to_json() | {"split": "test"})
    write_samples(work, samples)
    manifest = run(work, out).manifest
    assert manifest["splits"]["test"]["rejected"] == {"unreadable": 1}
    manifests.validate(manifest)


def test_an_unknown_caption_mode_is_named_before_anything_is_written(work: Path, out: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'concat'"):
        run(work, out, caption_mode="concta")
    assert not (out).exists()


def test_nothing_encoded_is_an_error(work: Path, out: Path) -> None:
    Processed(work / "processed").remove((sample.split, sample.key) for sample in make_samples())
    write_rejects(work, [Reject(s.key, s.split, "decode", "timeout", "") for s in make_samples()])
    with pytest.raises(UserError, match=r"none of 50 samples is encoded.*rejects\.jsonl says why"):
        run(work, out)


@pytest.mark.parametrize("name", ["samples.jsonl", "processed/encoding.json"])
def test_a_step_that_was_left_out_is_named(work: Path, out: Path, name: str) -> None:
    (work / name).unlink()
    with pytest.raises(UserError, match=r"does not exist. Run (samples|encode) first"):
        run(work, out)


@pytest.mark.parametrize(
    "encoding",
    [
        {},
        ENCODING | {"encoder": {"dim": DIM}},
        ENCODING | {"encoder": {"dim": "8", "dtype": "float16"}},
        ENCODING | {"sampling": 1},
    ],
)
def test_an_encoding_json_that_says_too_little_is_refused(work: Path, out: Path, encoding: Any) -> None:
    (work / "processed" / "encoding.json").write_text(json.dumps(encoding))
    with pytest.raises(DamagedFileError, match=r"encoding\.json"):
        run(work, out)


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "a"}', canonical_json(make_samples()[3].to_json())])
def test_a_line_that_is_no_sample_is_named(work: Path, out: Path, line: str) -> None:
    with (work / "samples.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DamagedFileError, match=r"samples\.jsonl: line 51"):
        run(work, out)


def test_a_triple_of_another_model_or_another_window_is_refused(work: Path, out: Path) -> None:
    samples = make_samples()
    samples[8] = Sample.from_json(samples[8].to_json() | {"start_s": 9.0})
    write_samples(work, samples)
    with pytest.raises(SettingsError, match=r"made with start_time 8\.0, the sample now says 9.0"):
        run(work, out)
    write_samples(work, make_samples())
    wider = ENCODING | {"encoder": ENCODING["encoder"] | {"dim": 16}}
    (work / "processed" / "encoding.json").write_text(json.dumps(wider))
    with pytest.raises(SettingsError, match=r"says float16 \(T, 16\)"):
        run(work, out)


@on_disk
def test_a_note_does_not_outlive_its_shard(work: Path, out: Path) -> None:
    """A shard that is about to be replaced loses its note first: no note describes a tar that is being written."""
    run(work, out)
    notes = {path.name for path in (work / "shards").iterdir()}
    assert notes == {f"{tar.name}.json" for tar in out.glob("*.tar")}
    key = parse_json(next(iter(iter_triples(out / "ds_00000.tar"))).json, "")["key"]
    triple = work / "processed" / "train" / f"{key}.npy"
    triple.write_bytes(triple.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=key):
        run(work, out)
    assert {path.name for path in (work / "shards").iterdir()} == notes - {"ds_00000.tar.json"}


@on_disk
def test_the_manifest_is_written_once_and_last(work: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset with a manifest is complete, whenever packing is killed."""
    written: list[str] = []
    write = pack.write_if_changed

    def note_and_write(path: Path, data: bytes) -> bool:
        if path.parent == out:
            written.append(path.name)
            assert len(list(out.glob("*.tar"))) == 6, "the tars come before the lists"
        return write(path, data)

    monkeypatch.setattr(pack, "write_if_changed", note_and_write)
    run(work, out)
    assert sorted(written[:-1]) == ["rejects.jsonl", "sizes.json", "splits.csv"]
    assert written[-1] == "manifest.json"


def test_half_a_triple_is_named(work: Path, out: Path) -> None:
    sample = make_samples()[0]
    make_triple(work / "processed", sample)
    (work / "processed" / "train" / f"{sample.key}.npy").unlink()
    with pytest.raises(DamagedFileError, match=rf"{sample.key}\.npy: is missing"):
        run(work, out)

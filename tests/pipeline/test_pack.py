"""Packing, read back by those who did not write it: `tarfile`, `webdataset`, `datasets`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.errors import AnnotationError, DamagedFileError, SettingsError, UnknownNameError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout
from preprocess.formats.splits import read_sizes, read_splits
from preprocess.formats.triples import META_KEYS, read_triple, triple_meta, write_triple
from preprocess.pipeline import pack
from preprocess.samples import SPLITS, DatasetSpec, Reject, Sample, Triple, canonical_json

DIM = 8
SPEC = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")
ENCODING: dict[str, Any] = {
    "encoder": {"model": "none", "dim": DIM, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {},
    "versions": {"av": "18.1.0"},
}
LISTS = ("manifest.json", "sizes.json", "splits.csv")


def make_samples() -> list[Sample]:
    """37 to train, 5 to validate, 8 to test; some with a window, some with metadata that others do not have."""
    samples = []
    for i in range(50):
        split = "train" if i < 37 else "val" if i < 42 else "test"
        captions = tuple(f"caption {j} of {i}; ünï" for j in range(1 + i % 3))
        meta: dict[str, Any] = {"videoID": f"v{i}"} if i % 2 else {}
        meta |= {"zoom": i / 2} if i % 5 == 0 else {}
        meta |= {"angle": [i]} if i == 17 else {}
        window = {"start_s": float(i), "end_s": i + 9.5} if i % 4 == 0 else {}
        samples.append(Sample(f"k{i * 7919 % 50}_{i}", split, f"{split}/{i}.mp4", captions, meta=meta, **window))  # type: ignore[arg-type]
    return samples


def make_triple(processed: Path, sample: Sample, seed: int = 0) -> None:
    number = int(sample.key.rpartition("_")[2])
    rng = np.random.default_rng([number, seed])
    vectors = rng.standard_normal((1 + number % 5, DIM)).astype(np.float16)
    times = [(sample.start_s or 0.0) + t for t in range(len(vectors))]
    (processed / sample.split).mkdir(parents=True, exist_ok=True)
    meta = triple_meta(sample, len(vectors), times, float(len(vectors)), number == 3)
    write_triple(processed, sample.split, Triple(sample.key, vectors, sample.captions[0], meta))


def write_samples(work: Path, samples: list[Sample]) -> None:
    (work / "samples.jsonl").write_text("".join(canonical_json(s.to_json()) + "\n" for s in samples), "utf-8")


def write_rejects(work: Path, rejects: list[Reject], tail: str = "") -> None:
    lines = "".join(canonical_json(r.to_json()) + "\n" for r in rejects)
    (work / "rejects.jsonl").write_text(lines + tail, "utf-8")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder as encoding leaves it: three of the samples are rejected, one of them is missing."""
    work = tmp_path / "work"
    (work / "processed").mkdir(parents=True)
    (work / "processed" / "encoding.json").write_text(json.dumps(ENCODING))
    samples = make_samples()
    write_samples(work, samples)
    rejected = [samples[20], samples[4], samples[40]]
    for sample in samples:
        if sample not in rejected:
            make_triple(work / "processed", sample)
    write_rejects(
        work,
        [
            Reject(rejected[0].key, "train", "decode", "unreadable", "moov atom not found"),
            Reject(rejected[1].key, "train", "find", "missing", "not there"),
            Reject(rejected[2].key, "val", "decode", "timeout", "60 s"),
        ],
    )
    return work


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the dataset goes."""
    return tmp_path / "out" / "CLIP-Demo"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def layout_of(work: Path, out: Path) -> Layout:
    """The layout that has `out` as its dataset and `work` as its work folder, so that several can share one."""
    layout = Layout(out.parent, out.name)
    if not layout.work.exists():
        layout.work.parent.mkdir(parents=True)
        layout.work.symlink_to(work)
    return layout


def run(work: Path, out: Path, **options: Any) -> pack.PackReport:
    return pack.pack_dataset(layout_of(work, out), SPEC, **{"per_shard": 10, **options})


def rows(out: Path) -> Iterator[tuple[str, str, Any, str, dict[str, Any]]]:
    """(split, id, vectors, text, json) of every triple, read by tarfile and numpy."""
    for file, split in read_splits(out / "splits.csv").items():
        with tarfile.open(out / file) as archive:
            members = archive.getmembers()
            assert all((m.mtime, m.uid, m.gid, m.mode, m.uname) == (0, 0, 0, 0o644, "") for m in members)
            for npy, txt, meta in zip(members[::3], members[1::3], members[2::3], strict=True):
                assert {npy.name[:-4], txt.name[:-4], meta.name[:-5]} == {npy.name[:-4]}
                data = [archive.extractfile(m).read() for m in (npy, txt, meta)]  # type: ignore[union-attr]
                vectors = np.load(io.BytesIO(data[0]), allow_pickle=False)
                yield split, npy.name[:-4], vectors, data[1].decode(), json.loads(data[2])


# --- what is in the shards --------------------------------------------------------------------------------------------


def test_every_triple_is_in_a_shard_of_its_split_and_says_what_the_sample_says(work: Path, out: Path) -> None:
    run(work, out)
    by_key = {sample.key: sample for sample in make_samples()}
    packed = list(rows(out))
    assert len(packed) == 47
    assert [id_ for _, id_, *_ in packed] == [f"vid_{i:05d}" for i in range(47)]
    for split, _, vectors, text, meta in packed:
        sample = by_key.pop(meta["key"])
        triple = read_triple(work / "processed", sample.split, sample.key)
        np.testing.assert_array_equal(vectors, triple.vectors)
        assert vectors.dtype == np.float16
        assert split == sample.split
        assert text == triple.text == sample.captions[0]
        assert list(meta) == [*META_KEYS, "angle", "zoom"]
        assert {k: v for k, v in meta.items() if v is not None} == {
            k: v for k, v in triple.meta.items() if v is not None
        }
    assert len(by_key) == 3


def test_lists_and_manifest_agree_with_the_tars(work: Path, out: Path, tmp_path: Path) -> None:
    report = run(work, out)
    manifest = manifests.read(out / "manifest.json")
    assert report.manifest == manifest
    assert (report.written, report.kept) == (6, 0)
    packed = list(rows(out))
    for split in SPLITS:
        counts = manifest["splits"][split]
        mine = [vectors for s, _, vectors, *_ in packed if s == split]
        assert (counts["samples"], counts["frames"]) == (len(mine), sum(map(len, mine)))
    assert manifest["splits"]["train"] | {"frames": 0} == {
        "inputs": 37,
        "samples": 35,
        "frames": 0,
        "missing": 1,
        "rejected": {"unreadable": 1},
    }
    assert manifest["splits"]["val"]["rejected"] == {"timeout": 1}
    for shard in manifest["shards"]:
        data = (out / shard["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
    assert {s["file"]: s["samples"] for s in manifest["shards"]} == read_sizes(out / "sizes.json")
    assert {s["file"]: s["split"] for s in manifest["shards"]} == read_splits(out / "splits.csv")
    assert list(read_sizes(out / "sizes.json").values()) == [10, 10, 10, 5, 4, 8]
    assert list(manifest["meta_keys"]) == list(packed[0][4])
    assert manifest["meta_keys"]["zoom"] == "number"
    assert {name: manifest[name] for name in ENCODING} == ENCODING  # type: ignore[literal-required]
    assert str(tmp_path).encode() not in b"".join(files(out).values())
    keys = [json.loads(line)["key"] for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert keys == sorted(keys)
    assert len(keys) == 3


def test_captions_by_every_mode_without_encoding_again(work: Path, out: Path) -> None:
    run(work, out)
    by_key = {sample.key: sample for sample in make_samples()}
    run(work, out, caption_mode="concat")
    assert all(text == " ".join(by_key[meta["key"]].captions) for *_, text, meta in rows(out))
    run(work, out, caption_mode="join")
    assert all(len(text.split(";")) == len(by_key[meta["key"]].captions) for *_, text, meta in rows(out))
    report = run(work, out, caption_mode="each")
    packed = list(rows(out))
    assert [id_ for _, id_, *_ in packed] == [f"vid_{i:05d}" for i in range(len(packed))]
    rejected = {json.loads(line)["key"] for line in (out / "rejects.jsonl").read_text().splitlines()}
    expected = {(s.key, c) for s in by_key.values() if s.key not in rejected for c in s.captions}
    assert {(meta["key"], text) for *_, text, meta in packed} == expected
    assert len(packed) == len(expected)
    assert all(meta["captions"][meta["caption_index"]] == text for *_, text, meta in packed)
    for split, _, vectors, _, meta in packed:
        np.testing.assert_array_equal(vectors, read_triple(work / "processed", split, meta["key"]).vectors)
    assert report.manifest["splits"]["train"]["inputs"] == 37
    assert report.manifest["caption_mode"] == "each"


def test_order_is_mixed_or_that_of_the_keys(work: Path, out: Path) -> None:
    run(work, out, shuffle=False)
    keys = [meta["key"] for split, *_, meta in rows(out) if split == "train"]
    assert keys == sorted(keys)
    run(work, out)
    mixed = [meta["key"] for split, *_, meta in rows(out) if split == "train"]
    assert mixed != keys
    assert sorted(mixed) == keys
    run(work, out, seed=7)
    assert [meta["key"] for split, *_, meta in rows(out) if split == "train"] != mixed


# --- again and again --------------------------------------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same_bytes(work: Path, tmp_path: Path) -> None:
    run(work, tmp_path / "one" / "CLIP-Demo")
    run(work, tmp_path / "again" / "CLIP-Demo")
    run(work, tmp_path / "two" / "CLIP-Demo", workers=2)
    assert (
        files(tmp_path / "one" / "CLIP-Demo")
        == files(tmp_path / "again" / "CLIP-Demo")
        == files(tmp_path / "two" / "CLIP-Demo")
    )


def test_what_is_done_is_not_done_twice(work: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(work, out)
    stats = {path: path.stat() for path in out.iterdir()}
    noted = json.loads((work / "build_report.json").read_text())
    assert (noted["shards"]["written"], noted["shards"]["kept"]) == (6, 0)
    monkeypatch.setattr(pack, "pack_shard", None)
    second = run(work, out)
    assert (second.written, second.kept, second.manifest) == (0, 6, first.manifest)
    assert json.loads((work / "build_report.json").read_text()) == noted
    assert {path: path.stat().st_ino for path in out.iterdir()} == {p: s.st_ino for p, s in stats.items()}
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == {p: s.st_mtime_ns for p, s in stats.items()}


def fresh(work: Path, out: Path) -> dict[str, bytes]:
    """What packing gives that knows nothing of earlier runs."""
    shutil.rmtree(work / "shards")
    run(work, out)
    return files(out)


def test_only_what_changed_is_packed_again(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out)
    changed = next(s for s in make_samples() if s.split == "test")
    make_triple(work / "processed", changed, seed=1)
    assert (report := run(work, out)).written == 1
    assert report.kept == 5
    samples = make_samples()
    samples[9] = Sample.from_json(samples[9].to_json() | {"captions": ["another"]})
    write_samples(work, samples)
    assert run(work, out).written == 1
    assert "another" in {text for *_, text, _ in rows(out)}
    (out / "ds_00002.tar").unlink()
    assert run(work, out).written == 1
    tar = out / "ds_00003.tar"
    tar.write_bytes(tar.read_bytes().replace(b"caption", b"CAPTION"))
    assert run(work, out).written == 1
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo")


def test_tars_of_an_earlier_plan_are_removed(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out, per_shard=3)
    (out / "README.md").write_text("a card")
    (out / "preview").mkdir()
    (out / "preview" / "ds_00099.tar").touch()
    (out / ".ds_00000.tar.0123456789abcdef.tmp").touch()
    run(work, out)
    assert len(list((work / "shards").iterdir())) == 6
    assert (out / "preview" / "ds_00099.tar").exists()
    (out / "preview" / "ds_00099.tar").unlink()
    (out / "preview").rmdir()
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo") | {"README.md": b"a card"}


def test_rejects_that_are_gone_leave_no_file(work: Path, out: Path) -> None:
    run(work, out)
    for sample in make_samples():  # `retry` brought them all; the ledger still has the old lines
        make_triple(work / "processed", sample)
    report = run(work, out)
    assert not (out / "rejects.jsonl").exists()
    assert all(c["inputs"] == c["samples"] for c in report.manifest["splits"].values())


# --- killed -----------------------------------------------------------------------------------------------------------

KILLER = """
import os, sys, hashlib, json
from pathlib import Path
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout
from preprocess.pipeline import pack
from preprocess.samples import DatasetSpec

layout = Layout(Path(sys.argv[1]), "CLIP-Demo")
out = layout.dataset
spec = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")

def run(**options):
    pack.pack_dataset(layout, spec, per_shard=20, **options)

def in_child(action):
    pid = os.fork()
    if not pid:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]

def killed_before(n):
    # The n-th time that a file is made, renamed or removed, the process is killed.
    count = 0
    def hook(event, args):
        nonlocal count
        if event in ("os.rename", "os.remove") or event == "open" and args[1] and args[1][0] in "wx":
            count += 1
            if count == n:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    run(seed=7)

def state():
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}

run(seed=42)
undisturbed = state()
n = 0
while True:
    n += 1
    status = in_child(lambda: killed_before(n))
    if status == 0:
        break
    assert os.WTERMSIG(status) == 9, status
    if (out / "manifest.json").exists():
        for shard in manifests.read(out / "manifest.json")["shards"]:
            assert state()[shard["file"]] == shard["sha256"], (n, shard)
    run(seed=42)
    assert state() == undisturbed, n
print(n - 1)
"""


def test_killed_before_any_file_operation_and_run_again(work: Path, out: Path, tmp_path: Path, root: Path) -> None:
    """A run with another seed is killed at every single point; the run after it must not be fooled by what is left."""
    layout_of(work, out)
    command = [sys.executable, "-c", KILLER, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # four shards, each written, renamed and noted; three lists


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the workers in /proc")
def test_killed_with_workers_and_run_again(work: Path, out: Path, tmp_path: Path, root: Path) -> None:
    run(work, tmp_path / "undisturbed" / "CLIP-Demo", per_shard=1)
    shutil.rmtree(work / "shards")
    layout_of(work, out)
    code = (
        "import sys; from pathlib import Path; from preprocess.pipeline import pack; from preprocess.samples import *;"
        "from preprocess.formats.layout import Layout; layout = Layout(Path(sys.argv[1]), 'CLIP-Demo');"
        "spec = DatasetSpec('demo', 'CLIP-Demo', 'mit', '', '', ('en',), (), '');"
        "pack.pack_dataset(layout, spec, per_shard=1, workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out.parent)], cwd=root)
    while not list(out.glob("ds_*.tar")):
        assert process.poll() is None
        time.sleep(0.001)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(
        Path(f"/proc/{pid}").exists() for pid in workers
    ):  # nobody goes on writing; else pytest's timeout ends it
        time.sleep(0.01)
    assert not (out / "manifest.json").exists()
    run(work, out, per_shard=1)
    assert files(out) == files(tmp_path / "undisturbed" / "CLIP-Demo")


def test_an_error_in_a_worker_comes_through_and_finished_shards_stay(work: Path, out: Path, tmp_path: Path) -> None:
    broken = next(s for s in make_samples() if s.split == "test")
    good = (work / "processed" / "test" / f"{broken.key}.npy").read_bytes()
    (work / "processed" / "test" / f"{broken.key}.npy").write_bytes(good[:-1])
    with pytest.raises(DamagedFileError, match=rf"{broken.key}\.npy: should be {len(good)} bytes, is {len(good) - 1}"):
        run(work, out, workers=2)
    assert not any((out / name).exists() for name in LISTS)
    assert not list(out.glob(".*"))
    make_triple(work / "processed", broken)
    assert run(work, out).kept == 5
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo")


# --- what cannot be packed --------------------------------------------------------------------------------------------


def test_a_sample_that_is_neither_is_an_error(work: Path, out: Path) -> None:
    samples = make_samples()
    for sample in samples[:2]:
        (work / "processed" / sample.split / f"{sample.key}.json").unlink()
    with pytest.raises(UserError, match=r"2 of 50 samples are neither encoded nor rejected.*Run encode \(again\)"):
        run(work, out)
    assert not (out).exists()


def test_half_a_line_of_rejects_counts_as_none(work: Path, out: Path) -> None:
    sample = make_samples()[0]
    (work / "processed" / sample.split / f"{sample.key}.json").unlink()
    reject = canonical_json(Reject(sample.key, "train", "decode", "timeout", "").to_json())
    with (work / "rejects.jsonl").open("a") as file:
        file.write(reject[:-10])
    with pytest.raises(UserError, match="1 of 50 samples are neither"):
        run(work, out)
    with (work / "rejects.jsonl").open("a") as file:
        file.write(reject + "\n")
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
    for path in (work / "processed").glob("*/*.json"):
        path.unlink()
    write_rejects(work, [Reject(s.key, s.split, "decode", "timeout", "") for s in make_samples()])
    with pytest.raises(UserError, match=r"none of 50 samples is encoded.*rejects\.jsonl says why"):
        run(work, out)


@pytest.mark.parametrize("name", ["samples.jsonl", "processed/encoding.json"])
def test_a_step_that_was_left_out_is_named(work: Path, out: Path, name: str) -> None:
    (work / name).unlink()
    with pytest.raises(UserError, match=r"is not there. Run (samples|encode) first"):
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
    with pytest.raises(AnnotationError, match=r"samples\.jsonl: line 51"):
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


def test_half_a_triple_is_named(work: Path, out: Path) -> None:
    sample = make_samples()[0]
    (work / "processed" / "train" / f"{sample.key}.npy").unlink()
    with pytest.raises(DamagedFileError, match=rf"{sample.key}\.npy: is missing"):
        run(work, out)


# --- readers ----------------------------------------------------------------------------------------------------------


def test_webdataset_reads_the_shards(work: Path, out: Path) -> None:
    import webdataset

    run(work, out)
    expected = {meta["key"]: (id_, vectors, text, meta) for _, id_, vectors, text, meta in rows(out)}
    urls = sorted(str(path) for path in out.glob("*.tar"))
    seen = 0
    for row in webdataset.WebDataset(urls, shardshuffle=False).decode():
        id_, vectors, text, meta = expected[row["json"]["key"]]
        assert (row["__key__"], row["txt"], row["json"]) == (id_, text, meta)
        np.testing.assert_array_equal(row["npy"], vectors)
        seen += 1
    assert seen == 47


LOADER = """
import json, sys
from datasets import load_dataset

folder = sys.argv[1]
plain = load_dataset(folder)
result = {}
for split in plain:
    streamed = list(load_dataset(folder, split=split, streaming=True))
    for row, other in zip(plain[split], streamed, strict=True):
        vectors = row["npy"]
        assert vectors == [list(map(float, r)) for r in other["npy"]], row["__key__"]
        assert (row["txt"], row["json"], row["__key__"]) == (other["txt"], other["json"], other["__key__"])
        result[row["__key__"]] = [split, vectors, row["txt"], row["json"]]
print(json.dumps(result))
"""


def card(out: Path) -> str:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    splits = read_splits(out / "splits.csv")
    for split in SPLITS:
        lines += [f"  - split: {'validation' if split == 'val' else split}", "    path:"]
        lines += [f"    - {file}" for file, its in splits.items() if its == split]
    lines += ["dataset_info:", "- config_name: default", "  features:"]
    lines += ["  - {name: __key__, dtype: string}", "  - {name: txt, dtype: string}", "  - {name: json, dtype: json}"]
    lines += [f"  - {{name: npy, dtype: {{array2_d: {{shape: [null, {DIM}], dtype: float16}}}}}}", "---", ""]
    return "\n".join(lines)


def test_datasets_loads_the_folder_plain_and_streaming(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out)
    (out / "README.md").write_text(card(out))
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(out)], env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert len(loaded) == 47
    for split, id_, vectors, text, meta in rows(out):
        assert loaded[id_] == ["validation" if split == "val" else split, vectors.tolist(), text, meta]

"""Packing, read back by independent readers: `tarfile`, `webdataset`, `datasets`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.formats import manifest as manifests
from preprocess.formats.processed import KINDS, Processed
from preprocess.formats.splits import read_sizes, read_splits
from preprocess.formats.triples import META_KEYS
from preprocess.pipeline import pack
from preprocess.samples import SPLITS, Sample
from preprocess.storage import fingerprint
from tests.object_store import remove_folder
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import (
    DIM,
    ENCODING,
    files,
    fresh,
    make_samples,
    make_triple,
    make_triples,
    run,
    triple_of,
    write_samples,
)


def rows(out: Path) -> Iterator[tuple[str, str, Any, str, dict[str, Any]]]:
    """(split, id, vectors, text, json) of every triple, read by tarfile and numpy."""
    for file, split in read_splits(out / "splits.csv").items():
        with tarfile.open(fileobj=io.BytesIO((out / file).read_bytes())) as archive:
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
        triple = triple_of(sample)
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
    for _, _, vectors, _, meta in packed:
        np.testing.assert_array_equal(vectors, triple_of(by_key[meta["key"]]).vectors)
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


def test_files_and_parts_local_and_remote_give_the_same_bytes(work: Path, out: Path, local_folder: Path) -> None:
    run(work, out)
    for kind in KINDS:
        local = local_folder / kind
        make_triples(local / "processed", make_samples(), kind)
        Processed(local / "processed").remove((s.split, s.key) for s in (make_samples()[i] for i in (20, 4, 40)))
        for name in ("samples.jsonl", "rejects.jsonl", "processed/encoding.json"):
            (local / name).write_bytes((work / name).read_bytes())
        run(local, local_folder / f"out-{kind}" / "CLIP-Demo")
        assert files(local_folder / f"out-{kind}" / "CLIP-Demo") == files(out)


def test_what_is_done_is_not_done_twice(work: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(work, out)
    stamps = {path: fingerprint(path) for path in out.iterdir()}
    noted = json.loads((work / "build_report.json").read_text())
    assert (noted["shards"]["written"], noted["shards"]["kept"]) == (6, 0)
    monkeypatch.setattr(pack, "pack_shard", None)
    second = run(work, out)
    assert (second.written, second.kept, second.manifest) == (0, 6, first.manifest)
    assert json.loads((work / "build_report.json").read_text()) == noted
    assert {path: fingerprint(path) for path in out.iterdir()} == stamps


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
    remove_folder(out / "preview")
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo") | {"README.md": b"a card"}


def test_rejects_that_are_gone_leave_no_file(work: Path, out: Path) -> None:
    run(work, out)
    for sample in make_samples():  # `retry` brought them all; the ledger still has the old lines
        make_triple(work / "processed", sample)
    report = run(work, out)
    assert not (out / "rejects.jsonl").exists()
    assert all(c["inputs"] == c["samples"] for c in report.manifest["splits"].values())


# --- readers ----------------------------------------------------------------------------------------------------------


@on_disk
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


@on_disk
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

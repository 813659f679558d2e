"""The table of members: one more entry, and the sample has one more file everywhere."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from builders.embeddings import EmbeddingsBuilder, infer_features, read_tables
from builders.shard_index import ShardIndex, _fast_index
from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.layout import Layout, write_json
from preprocess.formats.members import MEMBERS, SampleMember
from preprocess.formats.processed import KINDS, Processed, ProcessedKind
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import triple_meta
from preprocess.pipeline.pack import pack_dataset
from preprocess.samples import DatasetSpec, Sample, Triple, canonical_json
from preprocess.storage import mapped

SPEC = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")
ENCODING = {
    "encoder": {"model": "none", "dim": 4, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {},
    "versions": {"av": "18.1.0"},
}


def read_norm(data: bytes | memoryview, name: object) -> float:
    try:
        return float(bytes(data))
    except ValueError as error:
        raise DamagedFileError(name, "", str(error), "Encode again.") from None


NORM = SampleMember(
    "norm", lambda triple: f"{np.linalg.norm(triple.vectors):.3f}".encode(), read_norm, "string", aliases=("length",)
)


def triples() -> list[Triple]:
    made = []
    for i in range(5):
        sample = Sample(f"k{i}", "train", f"{i}.mp4", (f"caption {i}",))
        vectors = np.full((i + 1, 4), i + 0.5, np.float16)
        made.append(Triple(sample.key, vectors, sample.captions[0], triple_meta(sample, i + 1, range(i + 1), i, False)))
    return made


def packed(out: Path, kind: ProcessedKind) -> Path:
    layout = Layout(out, "CLIP-Demo")
    processed = Processed(layout.processed, kind)
    processed.prepare()
    write_json(layout.encoding, ENCODING)
    rows = [Sample(one.key, "train", one.meta["source"], (one.text,)).to_json() for one in triples()]
    layout.samples.write_text("".join(canonical_json(row) + "\n" for row in rows))
    writer = processed.writer()
    published = [key for triple in triples() for key in writer.add("train", triple)] + writer.finish()
    assert sorted(one.key for one in published) == ["k0", "k1", "k2", "k3", "k4"]
    pack_dataset(layout, SPEC)
    return layout.dataset / "ds_00000.tar"


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_added_to_the_table_is_packed_indexed_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ProcessedKind
) -> None:
    monkeypatch.setattr(members, "MEMBERS", (*MEMBERS, NORM))
    tar = packed(tmp_path, kind)
    expected = {one.key: f"{np.linalg.norm(one.vectors):.3f}" for one in triples()}
    with tarfile.open(tar) as archive:
        names = archive.getnames()
        assert [name.partition(".")[2] for name in names] == ["npy", "txt", "json", "norm"] * 5
    index = ShardIndex(tar)
    assert index.places.shape == (5, 4, 2)
    assert _fast_index(mapped(tar)) is not None, "the fast way knows the table too"
    for source in (iter_triples(tar), map(index.triple, range(5))):
        read = [(members.parse_json(one.json, "")["key"], bytes(one.more[0]).decode()) for one in source]
        assert dict(read) == expected
    (table,) = read_tables(str(tar), infer_features(str(tar)))
    assert (
        dict(zip([row["key"] for row in map(_json, table["json"])], table["norm"].to_pylist(), strict=True)) == expected
    )
    assert len(EmbeddingsBuilder.from_folder(tar.parent, cache_dir=str(tmp_path / "cache")).config.data_files) == 1


def _json(value: object) -> dict[str, object]:
    return members.parse_json(str(value).encode(), "")


def test_a_member_is_checked_when_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = SampleMember("norm", lambda triple: b"not a number", read_norm, "string")
    monkeypatch.setattr(members, "MEMBERS", (*MEMBERS, bad))
    with pytest.raises(DamagedFileError, match=r"k\d\.norm"):
        packed(tmp_path, "files")


def test_without_it_the_member_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(members, "MEMBERS", (*MEMBERS, NORM))
        tar = packed(tmp_path, "files")
    assert [one.more for one in iter_triples(tar)] == [()] * 5
    assert len(ShardIndex(tar)) == 5


def test_an_alias_is_read_as_its_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MEMBERS", (*MEMBERS, NORM))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("v.length", "v.cap", "v.json", "v.npy"):
            archive.addfile(tarfile.TarInfo(name))
    (one,) = iter_triples(buffer.getvalue(), strict=True)
    assert len(one.parts) == 4

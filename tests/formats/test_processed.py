"""Triples as files and as parts, in a local folder and in an object store, behind one interface."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from preprocess.errors import DamagedFileError, UnknownNameError
from preprocess.formats import parts, processed
from preprocess.formats.layout import Layout, write_json
from preprocess.formats.places import TriplePlace
from preprocess.formats.processed import KINDS, Processed, ProcessedKind
from preprocess.formats.triple_files import read_triple
from preprocess.formats.triples import triple_meta
from preprocess.sample_numbers import SampleNumbers
from preprocess.samples import Sample, Split, Triple
from preprocess.storage import file_names, location, remove


def triple(key: str, rows: int = 2, seed: int = 0) -> Triple:
    vectors = np.random.default_rng([len(key), rows, seed]).standard_normal((rows, 4)).astype(np.float16)
    sample = Sample(key, "train", f"{key}.mp4", (f"about {key}",))
    return Triple(key, vectors, f"about {key}", triple_meta(sample, rows, range(rows), rows, False))


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "local":
        return tmp_path / "processed"
    return location(f"{request.getfixturevalue('s3')}/{tmp_path.name}/processed")


def written(folder: Path, kind: ProcessedKind, keys: list[str], split: Split = "train") -> Processed:
    store = Processed(folder, kind)
    store.prepare()
    writer = store.writer()
    for i, key in enumerate(keys):
        writer.add(split, triple(key, 1 + i % 3))
    writer.finish()
    return store


def content(store: Processed, keys: list[str]) -> list[dict[str, bytes]]:
    return list(store.read("train", places(store, keys).values()))


def places(store: Processed, keys: list[str]) -> dict[str, TriplePlace]:
    samples = [Sample(key, "train", f"{key}.mp4", (key,)) for key in keys]
    found = store.find(samples)
    assert found.there.all()
    return {place.key: place for place in found.take(np.arange(len(keys)), samples)}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_there_and_read_in_any_order(folder: Path, kind: ProcessedKind) -> None:
    keys = [f"k{i}" for i in range(7)]
    store = written(folder, kind, keys)
    assert store.keys("train") == set(keys)
    assert store.keys("val") == set()
    for i, data in zip((5, 0, 3), content(store, ["k5", "k0", "k3"]), strict=True):
        expected = triple(f"k{i}", 1 + i % 3)
        np.testing.assert_array_equal(parts.members.npy_array(data["npy"]), expected.vectors)
        assert parts.members.parse_json(data["json"], "") == expected.meta


def test_a_part_is_a_plain_tar(tmp_path: Path) -> None:
    store = written(tmp_path, "parts", ["a", "b"])
    (name,) = file_names(tmp_path / "train")
    with tarfile.open(tmp_path / "train" / name) as archive:
        assert archive.getnames() == [".index", *(f"{key}.{e}" for key in "ab" for e in ("npy", "txt", "json"))]
        assert archive.extractfile("b.txt").read() == b"about b"  # type: ignore[union-attr]
        (data,) = content(store, ["a"])
        assert archive.extractfile("a.npy").read() == data["npy"]  # type: ignore[union-attr]


def test_a_triple_is_published_with_its_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processed, "_PART_TRIPLES", 2)
    store = Processed(folder, "parts")
    store.prepare()
    writer = store.writer()
    assert writer.add("train", triple("a")) == []
    assert writer.add("val", triple("v")) == []
    assert store.keys("train") == set(), "what is not published does not exist"
    assert [one.key for one in writer.add("train", triple("b"))] == ["a", "b"]
    assert writer.add("train", triple("c")) == []
    assert sorted((one.key, one.frames) for one in writer.finish()) == [("c", 2), ("v", 2)]
    assert writer.finish() == []
    assert store.keys("train") == {"a", "b", "c"}
    assert len(file_names(folder / "train")) == 2


def test_an_index_longer_than_the_first_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_HEAD", 600)
    keys = [f"{'x' * 50}{i}" for i in range(40)]
    store = written(folder, "parts", keys)
    assert store.keys("train") == set(keys)
    assert len(content(store, keys)) == 40


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    store = written(tmp_path, "parts", ["a", "b", "c"])
    before = places(store, ["a", "b"])
    store.remove([("train", "c")])
    after = places(store, ["a", "b"])
    assert {key: place.stamp for key, place in after.items()} == {key: place.stamp for key, place in before.items()}
    assert before["a"].entry is not None
    assert after["a"].entry is not None
    assert after["a"].entry.part != before["a"].entry.part
    store.remove([("train", "a")])
    writer = store.writer()
    writer.add("train", triple("a", seed=1))
    writer.finish()
    assert places(store, ["a"])["a"].stamp != before["a"].stamp


def test_a_triple_that_has_lost_a_file_is_named_before_anything_is_packed(folder: Path) -> None:
    store = written(folder, "files", ["a", "b"])
    remove(folder / "train" / "b.npy")
    assert list(places(store, ["a"])) == ["a"]
    with pytest.raises(DamagedFileError, match=r"b\.npy: is missing: the triple is incomplete"):
        store.find([Sample("b", "train", "b.mp4", ("b",))])


@pytest.mark.parametrize("kind", KINDS)
def test_which_samples_have_a_triple(folder: Path, kind: ProcessedKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processed, "BLOCK", 2)
    store = written(folder, kind, ["a", "b", "of_no_sample", "c", "d"])
    written(folder, kind, ["e", "a"], "val")
    samples = [Sample(key, split, f"{key}.mp4", (key,)) for key, split in (("a", "train"), ("d", "val"), ("e", "val"))]  # type: ignore[arg-type]
    samples += [Sample("gone", "train", "gone.mp4", ("gone",)), Sample("b", "train", "b.mp4", ("b",))]
    found = store.there(SampleNumbers(samples))
    assert found.tolist() == [True, False, True, False, True], "d is there, but in another split"


@pytest.mark.parametrize("kind", KINDS)
def test_stale_triples_are_removed_and_no_other(folder: Path, kind: ProcessedKind) -> None:
    keys = ["a", "b", "c"]
    store = written(folder, kind, keys)
    kept = content(store, ["a", "c"])
    store.remove([("train", "b"), ("train", "never seen"), ("val", "a")])
    assert store.keys("train") == {"a", "c"}
    assert content(store, ["a", "c"]) == kept
    store.remove([("train", "a"), ("train", "c")])
    assert store.keys("train") == set()
    assert file_names(folder / "train") == []


def test_killed_while_a_part_is_rewritten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two steps both parts are there; what is stale is stale still, and nothing else is lost."""
    store = written(folder, "parts", ["a", "b", "c"])
    kept = content(store, ["a", "c"])

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    for module, step in ((parts, "write_part"), (processed, "remove")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, killed)
            with pytest.raises(KeyboardInterrupt):
                store.remove([("train", "b")])
        assert store.keys("train") == {"a", "b", "c"}
        assert content(store, ["a", "c"]) == kept
    store.remove([("train", "b")])
    assert store.keys("train") == {"a", "c"}
    assert len(file_names(folder / "train")) == 1


def test_unpack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = written(folder, "parts", ["a", "b", "c"])
    before = content(store, ["a", "b", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(processed, "remove", None)
        with pytest.raises(TypeError):
            store.unpack()
    assert content(store, ["a", "b", "c"]) == before
    remove(folder / "train" / "b.json")
    assert store.unpack() == 1, "what a killed run unpacked is not unpacked twice"
    assert file_names(folder / "train") == sorted(f"{key}.{e}" for key in "abc" for e in ("npy", "txt", "json"))
    assert content(store, ["a", "b", "c"]) == before
    assert read_triple(folder, "train", "b").text == "about b"
    assert store.unpack() == 0


def test_files_count_where_a_triple_is_in_a_part_too(tmp_path: Path) -> None:
    written(tmp_path, "parts", ["a"])
    store = Processed(tmp_path, "files")
    store.writer().add("train", triple("a", 3, seed=7))
    (data,) = content(store, ["a"])
    np.testing.assert_array_equal(parts.members.npy_array(data["npy"]), triple("a", 3, seed=7).vectors)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"members"', b'"numbers"', "index"),
        (b'["npy", "txt", "json"]', b'["npy", "cap", "json"]', "has the members \\['npy', 'cap', 'json'\\]"),
        (b'["npy", "txt", "json"]', b"[[1], null, 7        ]", "has the members"),
        (b'["npy", "txt", "json"]', b"7                     ", "index"),
        (b'[["a"', b'[["/"', "index: '/' has sizes"),
        (b'"samples": [', b'"samples": [[[', "index"),
        (b".index", b".xedni", "begins with|checksum"),
        (b"about a", b"about b", "a: is not what was written"),
    ],
)
def test_a_damaged_part_is_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    store = written(tmp_path, "parts", ["a"])
    (name,) = file_names(tmp_path / "train")
    path = tmp_path / "train" / name
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(DamagedFileError, match=message) as error:
        content(store, ["a"])
    assert name in str(error.value)


def test_an_empty_or_cut_part_is_named(tmp_path: Path) -> None:
    store = written(tmp_path, "parts", ["a"])
    (name,) = file_names(tmp_path / "train")
    path = tmp_path / "train" / name
    whole = path.read_bytes()
    for size in (0, 100, 512, 700, 1500, 2600):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFileError, match=name):
            content(store, ["a"])


def test_the_kind_is_recorded_chosen_or_by_the_storage(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "CLIP-X")
    remote = Layout(location("memory://out"), "CLIP-X")
    assert (Processed.open(layout).kind, Processed.open(remote).kind) == ("files", "parts")
    assert Processed.open(layout, "parts").kind == "parts"
    layout.work.mkdir(parents=True)
    write_json(layout.source, {"processed": "parts"})
    assert Processed.open(layout).kind == "parts"
    assert Processed.open(layout, "files").kind == "files"
    with pytest.raises(UnknownNameError, match=r"'file'.*Did you mean 'files'"):
        Processed.open(layout, "file")

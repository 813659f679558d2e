from __future__ import annotations

import hashlib
import io
import tarfile
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.formats import shards
from preprocess.formats.shards import SHARD_NAME, Shard, TripleBytes, plan_shards, write_shard
from preprocess.formats.tar import iter_triples
from preprocess.samples import SPLITS, Split

NAMES = st.sets(st.text("abcXYZ019_-:", min_size=1, max_size=8), max_size=40)
PER_SPLIT = st.fixed_dictionaries({}, optional=dict.fromkeys(SPLITS, NAMES))


@given(PER_SPLIT, st.integers(1, 15), st.integers(0, 5), st.booleans())
def test_every_name_is_planned_once(names: dict[Split, set[str]], per_shard: int, seed: int, shuffle: bool) -> None:
    plan = plan_shards(names, per_shard=per_shard, seed=seed, shuffle=shuffle)
    for split in SPLITS:
        planned = [name for shard in plan if shard.split == split for name in shard.names]
        assert sorted(planned) == sorted(names.get(split, ()))
        sizes = [len(shard.names) for shard in plan if shard.split == split]
        assert all(size == per_shard for size in sizes[:-1])
        assert all(0 < size <= per_shard for size in sizes)
    ids = [id_ for shard in plan for id_ in shard.ids]
    assert ids == [f"vid_{i:05d}" for i in range(len(ids))]
    assert [shard.file for shard in plan] == [f"ds_{i:05d}.tar" for i in range(len(plan))]
    assert [split for split, _ in groupby(shard.split for shard in plan)] == [s for s in SPLITS if names.get(s)]


@given(PER_SPLIT, st.integers(1, 15), st.booleans())
def test_the_plan_does_not_depend_on_the_order_of_the_names(
    names: dict[Split, set[str]], per_shard: int, shuffle: bool
) -> None:
    forwards = plan_shards({s: sorted(n) for s, n in names.items()}, per_shard=per_shard, shuffle=shuffle)
    backwards = plan_shards(
        {s: sorted(n, reverse=True) for s, n in names.items()}, per_shard=per_shard, shuffle=shuffle
    )
    assert forwards == backwards


@pytest.mark.parametrize("head", [0, 1, 8])
def test_the_order_is_that_of_the_hashes(head: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out, so that no change of the code goes unseen: published shards could not be rebuilt.

    Nor does it depend on how much of the hashes is compared first.
    """
    monkeypatch.setattr(shards, "_HEAD", head)
    many = [f"name{i}" for i in range(2_000)]
    planned = [name for shard in plan_shards({"val": many}, per_shard=300) for name in shard.names]
    assert planned == sorted(many, key=lambda name: hashlib.sha256(b"42:" + name.encode()).digest())
    names = [f"video{i}" for i in range(8)]
    by_hash = sorted(names, key=lambda name: hashlib.sha256(b"42:" + name.encode()).hexdigest())
    (shard,) = plan_shards({"train": names})
    assert list(shard.names) == by_hash
    assert " ".join(by_hash) == "video2 video7 video4 video5 video1 video3 video0 video6"
    assert plan_shards({"train": names}, seed=7)[0].names != shard.names
    assert plan_shards({"train": names[::-1]}, shuffle=False)[0].names == tuple(names)


def test_ids_and_files_grow_together_when_five_digits_do_not_do() -> None:
    plan = plan_shards({"train": map(str, range(100_001)), "val": ["x"]}, per_shard=1)
    assert (plan[0].ids, plan[0].file) == (("vid_000000",), "ds_000000.tar")
    assert (plan[-1].ids, plan[-1].file, plan[-1].split) == (("vid_100001",), "ds_100001.tar", "val")
    exactly = plan_shards({"train": map(str, range(100_000))})
    assert exactly[-1].ids[-1] == "vid_99999"
    assert all(SHARD_NAME.fullmatch(shard.file) for shard in plan)


@pytest.mark.parametrize("per_shard", [0, -1])
def test_a_shard_holds_at_least_one_sample(per_shard: int) -> None:
    with pytest.raises(ValueError, match=f"got {per_shard}"):
        plan_shards({"train": ["a"]}, per_shard=per_shard)


SHARD = Shard("ds_00000.tar", "val", ("vid_00000", "vid_00001"), ("a", "b"))
PARTS = [TripleBytes(b"npy0", b"txt0", b"{}", 3), TripleBytes(b"npy1" * 500, "ü".encode(), b'{"a": 1}', 4)]


def test_a_shard_is_what_tarfile_would_write(tmp_path: Path) -> None:
    report = write_shard(tmp_path, SHARD, PARTS)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for id_, part in zip(SHARD.ids, PARTS, strict=True):
            for suffix, data in (("npy", part.npy), ("txt", part.txt), ("json", part.json)):
                info = tarfile.TarInfo(f"{id_}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    data = (tmp_path / "ds_00000.tar").read_bytes()
    assert data == buffer.getvalue()
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert (report.file, report.split, report.samples, report.frames) == ("ds_00000.tar", "val", 2, 7)
    assert report.bytes == len(data)
    triples = list(iter_triples(tmp_path / "ds_00000.tar", strict=True))
    assert [(t.id, bytes(t.npy), bytes(t.txt), bytes(t.json)) for t in triples] == [
        (id_, *part[:3]) for id_, part in zip(SHARD.ids, PARTS, strict=True)
    ]


@pytest.mark.parametrize("parts", [PARTS[:1], [*PARTS, PARTS[0]]])
def test_too_few_or_too_many_triples_leave_no_tar(tmp_path: Path, parts: list[TripleBytes]) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_shard(tmp_path, SHARD, parts)
    assert not list(tmp_path.iterdir())

"""Batches are what the tars hold; every sample once, over any workers and ranks; a run continues where it stopped."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from builders import shard_index
from builders.shard_index import ShardIndex
from builders.torch_reader import EmbeddingReader, collate
from preprocess.errors import DamagedFileError, SettingsError, UserError
from preprocess.formats.tar import end_of_archive, member
from preprocess.storage import mapped

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def reference(folder: Path, files: list[str]) -> dict[str, tuple[np.ndarray[Any, Any], str, Any]]:
    """From id to vectors, text and metadata; read with the standard library and numpy alone."""
    parts: dict[str, dict[str, bytes]] = {}
    for file in files:
        with tarfile.open(folder / file) as tar:
            for info in tar:
                id_, _, extension = info.name.partition(".")
                parts.setdefault(id_, {})[extension] = tar.extractfile(info).read()
    return {i: (np.load(io.BytesIO(p["npy"])), p["txt"].decode(), json.loads(p["json"])) for i, p in parts.items()}


TRAIN = ["ds_00000.tar", "ds_00001.tar"]


def keys(batches: Any) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def flat(batches: list[list[str]]) -> list[str]:
    return [key for batch in batches for key in batch]


def test_batches_hold_what_the_tars_hold(make_dataset: Any):
    folder = make_dataset()
    expected = reference(folder, TRAIN)
    batches = list(EmbeddingReader(folder, "train", batch_size=3))
    assert [len(batch["key"]) for batch in batches] == [3, 3, 2]
    assert flat(keys(batches)) == list(expected)
    for batch in batches:
        assert batch["embeddings"].dtype == torch.float16
        assert batch["embeddings"].shape[:2] == batch["mask"].shape
        for i, key in enumerate(batch["key"]):
            vectors, text, meta = expected[key]
            assert np.array_equal(batch["embeddings"][i][batch["mask"][i]].numpy(), vectors)
            assert not batch["embeddings"][i][~batch["mask"][i]].any()
            assert (batch["text"][i], batch["meta"][i]) == (text, meta)


@pytest.mark.parametrize("split", ["val", "validation"])
def test_both_names_of_the_second_split(make_dataset: Any, split: str):
    folder = make_dataset()
    assert flat(keys(EmbeddingReader(folder, split))) == list(reference(folder, ["ds_00002.tar"]))


def test_lengths():
    arrays = [np.arange(n * 2, dtype=np.float16).reshape(n, 2) for n in (1, 5, 3)]
    padded, mask = collate(arrays)
    assert (padded.shape, mask.sum(1).tolist()) == ((3, 5, 2), [1, 5, 3])
    cut, mask = collate(arrays, length=4)
    assert (cut.shape, mask.sum(1).tolist()) == ((3, 4, 2), [1, 4, 3])
    assert cut[1].tolist() == arrays[1][:4].tolist()
    even, mask = collate(arrays, length=3, fit="resample")
    assert mask.all()
    assert even[:, :, 0].tolist() == [[0, 0, 0], [0, 2, 6], [0, 2, 4]]
    same, mask = collate([arrays[1], arrays[1].astype(np.float32) + 0.25, arrays[1][::-1]], length=5)
    assert mask.all()
    assert same.dtype == torch.float32
    assert same.tolist() == [arrays[1].tolist(), (arrays[1] + 0.25).tolist(), arrays[1][::-1].tolist()]
    for width in (2, 0):
        empty, mask = collate([np.zeros((0, width), np.float16)] * 3)
        assert (empty.shape, mask.shape) == ((3, 0, width), (3, 0))
    _, mask = collate([arrays[0][:0], arrays[1]], length=2, fit="resample")
    assert mask.tolist() == [[False, False], [True, True]]
    with pytest.raises(DamagedFileError, match="widths"):
        collate([arrays[0], np.ones((1, 3), np.float16)])


def test_dtype_tokens_and_no_meta(make_dataset: Any):
    reader = EmbeddingReader(
        make_dataset(), batch_size=4, dtype=torch.float32, meta=False, tokenize=lambda t: [len(x) for x in t]
    )
    batch = next(iter(reader))
    assert batch["embeddings"].dtype == torch.float32
    assert batch["tokens"] == [len(text) for text in batch["text"]]
    assert "meta" not in batch


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(make_dataset: Any, workers: int):
    folder = make_dataset(counts={"train": 11}, per_shard=4)
    alone = list(EmbeddingReader(folder, batch_size=2, shuffle=True, seed=3))
    plain = list(
        DataLoader(EmbeddingReader(folder, batch_size=2, shuffle=True, seed=3), batch_size=None, num_workers=workers)
    )
    ours = list(EmbeddingReader(folder, batch_size=2, shuffle=True, seed=3).loader(workers))
    assert keys(alone) == keys(plain) == keys(ours)
    for others in (plain, ours):
        for a, b in zip(alone, others, strict=True):
            assert torch.equal(a["embeddings"], b["embeddings"])
            assert {name: value for name, value in a.items() if name not in ("embeddings", "mask")} == {
                name: value for name, value in b.items() if name not in ("embeddings", "mask")
            }


@pytest.mark.parametrize("workers", [0, 2])
def test_metadata_that_is_not_json_is_named(make_dataset: Any, workers: int):
    folder = make_dataset(counts={"train": 4})
    tar = folder / "ds_00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'{"key": "train_002"', b'["key": "train_002"'))
    with pytest.raises(DamagedFileError, match=r"ds_00000\.tar: vid_00001\.json: not JSON"):
        list(EmbeddingReader(folder, batch_size=2).loader(workers))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_once_over_ranks_and_workers(make_dataset: Any, world_size: int, workers: int):
    folder = make_dataset(counts={"train": 13}, per_shard=4)
    ranks = [
        EmbeddingReader(folder, batch_size=2, shuffle=True, rank=rank, world_size=world_size).loader(workers)
        for rank in range(world_size)
    ]
    seen = [key for loader in ranks for batch in keys(loader) for key in batch]
    assert sorted(seen) == sorted(reference(folder, [f"ds_{i:05d}.tar" for i in range(4)]))


def test_epochs_differ_and_come_again(make_dataset: Any):
    folder = make_dataset(counts={"train": 13}, per_shard=4)
    loader = EmbeddingReader(folder, batch_size=4, shuffle=True).loader()
    first, second = keys(loader), keys(loader)
    assert first != second
    assert sorted(flat(first)) == sorted(flat(second))
    loader.set_epoch(1)
    assert keys(loader) == second
    assert keys(EmbeddingReader(folder, batch_size=4, shuffle=True).loader(2)) == first


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 2), (2, 0), (2, 3)])
@pytest.mark.parametrize("taken", [0, 1, 3, 7])
def test_going_on_in_the_middle_with_other_workers(make_dataset: Any, before: int, after: int, taken: int):
    folder = make_dataset(counts={"train": 13}, per_shard=4)

    def fresh() -> EmbeddingReader:
        return EmbeddingReader(folder, batch_size=2, shuffle=True, seed=5)

    whole = fresh().loader()
    expected = [keys(whole), keys(whole)]
    loader = fresh().loader(before)
    batches = iter(loader)
    head = [next(batches)["key"] for _ in range(taken)]
    state = json.loads(json.dumps(loader.state_dict()))
    del batches
    resumed = fresh().loader(after)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert head + keys(resumed) == expected[0]
    assert keys(resumed) == expected[1], "and the pass after it is the next epoch, whole"


def test_going_on_with_other_ranks_and_batches(make_dataset: Any):
    folder = make_dataset(counts={"train": 13}, per_shard=4)

    def rank(i: int, of: int, size: int) -> Any:
        return EmbeddingReader(folder, batch_size=size, shuffle=True, rank=i, world_size=of).loader()

    seen, states = [], []
    for i in range(2):
        loader = rank(i, 2, 2)
        batches = iter(loader)
        seen += [key for _ in range(2) for key in next(batches)["key"]]
        states.append(loader.state_dict())
    assert states[0] == states[1]
    for i in range(3):
        loader = rank(i, 3, 1)
        loader.load_state_dict(states[0])
        seen += flat(keys(loader))
    assert sorted(seen) == sorted(reference(folder, [f"ds_{i:05d}.tar" for i in range(4)]))


def test_a_pass_that_is_left_starts_again(make_dataset: Any):
    loader = EmbeddingReader(make_dataset(), batch_size=2, shuffle=True).loader()
    first = next(iter(loader))["key"]
    assert keys(loader)[0] == first


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loaded_state_counts_for_one_pass(make_dataset: Any, workers: int):
    loader = EmbeddingReader(make_dataset(), batch_size=2, shuffle=True).loader(workers)
    whole = keys(EmbeddingReader(make_dataset("CLIP-2"), batch_size=2, shuffle=True))
    loader.load_state_dict({"epoch": 0, "position": 4, "seed": 0, "samples": 8})
    assert next(iter(loader))["key"] == whole[2]
    assert next(iter(loader))["key"] == whole[0], "that pass was left: the next one is whole"


def test_a_state_of_another_dataset_is_refused(make_dataset: Any):
    state = EmbeddingReader(make_dataset(), seed=1).state_dict()
    with pytest.raises(SettingsError, match="seed 1"):
        EmbeddingReader(make_dataset("CLIP-2"), seed=2).load_state_dict(state)
    with pytest.raises(SettingsError, match="samples 8"):
        EmbeddingReader(make_dataset("CLIP-3", counts={"train": 9}), seed=1).load_state_dict(state)


def test_lengths_are_told(make_dataset: Any):
    folder = make_dataset(counts={"train": 13})
    assert len(EmbeddingReader(folder, batch_size=2)) == 7
    assert len(EmbeddingReader(folder, batch_size=2, world_size=2, rank=1).loader()) == 3
    assert len(EmbeddingReader(folder, batch_size=2, world_size=2, rank=0, drop_last=True)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"fit": "stretch"}, "unknown fit"),
        ({"rank": 2, "world_size": 2}, "rank = 2"),
    ],
)
def test_options_that_are_none(make_dataset: Any, options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        EmbeddingReader(make_dataset(), **options)


def test_a_split_that_is_not_there_and_a_folder_that_is_none(make_dataset: Any, tmp_path: Path):
    with pytest.raises(UserError, match="unknown split 'test'"):
        EmbeddingReader(make_dataset(counts={"train": 2}), "test")
    with pytest.raises(UserError, match="neither"):
        EmbeddingReader(tmp_path / "nothing")


def test_text_that_is_not_utf8_is_named(make_dataset: Any):
    folder = make_dataset(counts={"train": 4})
    tar = folder / "ds_00000.tar"
    (damaged,) = (i for i, (_, text, _) in reference(folder, ["ds_00000.tar"]).items() if text.endswith("number 2"))
    tar.write_bytes(tar.read_bytes().replace(b"left, number 2", b"left, number\xff2", 1))
    with pytest.raises(DamagedFileError, match=rf"ds_00000\.tar: {damaged}\.txt"):
        list(EmbeddingReader(folder))


# --- the index --------------------------------------------------------------------------------------------------------


def test_the_fast_index_is_the_slow_one(make_dataset: Any):
    tar = make_dataset() / "ds_00000.tar"
    view = mapped(tar)
    fast, slow = shard_index._fast_index(view), shard_index._index(view, tar)
    assert fast is not None
    assert fast[0] == slow[0]
    assert np.array_equal(fast[1], slow[1])


@pytest.mark.parametrize("size", [40, 200_000])
def test_the_fast_index_of_small_and_of_large_samples(tmp_path: Path, size: int):
    """Headers are found by looking at each block, or by following the sizes."""
    tar = tmp_path / "0.tar"
    contents = [(f"s{i}.{part}", bytes(size + i)) for i in range(4) for part in ("npy", "txt", "json")]
    body = b"".join(member(name, data) for name, data in contents)
    tar.write_bytes(body + end_of_archive(len(body)))
    found = shard_index._fast_index(mapped(tar))
    assert found is not None
    assert found[0] == ["s0", "s1", "s2", "s3"]
    with tarfile.open(tar) as reference:
        assert found[1].reshape(-1, 2).tolist() == [[m.offset_data, m.size] for m in reference]


TRIPLE = b"".join(member(f"a.{part}", b"x") for part in ("npy", "txt", "json"))


@pytest.mark.parametrize(
    "tar",
    [
        *(
            b"".join(member(name, b"x") for name in names)
            for names in [
                ("a.npy", "b.txt", "a.json"),
                ("a.npy", "a.json", "a.txt"),
                ("a.npy", "a.txt"),
                ("a.b.npy", "a.b.txt", "a.b.json"),
                ("\xe9.npy", "\xe9.txt", "\xe9.json"),
                (".npy", ".txt", ".json"),
            ]
        ),
        TRIPLE.replace(b"a.", b"/."),
        TRIPLE.replace(b"00000000001\0", b"00000000009\0"),
        TRIPLE[:156] + b"5" + TRIPLE[157:],
        TRIPLE[:157] + b"b" + TRIPLE[158:],
        TRIPLE[:345] + b"b" + TRIPLE[346:],
        TRIPLE[:-1024],
        TRIPLE + bytes(512).replace(b"\0", b"x", 1),
        member("a.npy", TRIPLE[1024:] + member("b.npy", b"x")) + member("b.txt", b"x") + member("b.json", b"x"),
    ],
    ids=lambda tar: repr(tar[:5]),
)
def test_what_is_not_laid_out_as_ours_is_left_to_the_slow_index(tar: bytes):
    assert shard_index._fast_index(memoryview(tar + end_of_archive(len(tar)))) is None


def test_a_tar_that_ends_without_zeros_is_left_to_the_slow_index():
    assert shard_index._fast_index(memoryview(TRIPLE)) is None
    assert shard_index._fast_index(memoryview(TRIPLE + bytes(100))) is None


def test_a_member_that_holds_a_header_is_no_header():
    """A tar in a caption: whatever the fast index says of it, it is not that the caption's headers are samples."""
    body = member("a.npy", b"x") + member("a.txt", TRIPLE) + member("a.json", b"{}")
    tar = memoryview(body + end_of_archive(len(body)))
    ids, places = shard_index._fast_index(tar) or shard_index._index(tar, Path("0.tar"))
    assert (ids, places.tolist()) == (["a"], [[[512, 1], [1536, len(TRIPLE)], [1536 + len(TRIPLE) + 512, 2]]])


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("long", [False, True])
def test_older_tars(tmp_path: Path, tar_format: int, long: bool):
    name = "0" * (90 if long else 6)
    with tarfile.open(tmp_path / "0.tar", "w", format=tar_format) as tar:
        for i in range(3):
            file = io.BytesIO()
            np.save(file, np.full((i + 1, 4), i, np.float32))
            for extension, data in (("cap", b"x"), ("json", b"{}"), ("npy", file.getvalue())):
                info = tarfile.TarInfo(f"{name}{i}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    batch = next(iter(EmbeddingReader(tmp_path)))
    assert batch["key"] == [f"{name}{i}" for i in range(3)]
    assert batch["embeddings"].sum((1, 2)).tolist() == [0, 8, 24]


def test_a_cut_tar_and_a_missing_part_are_named(make_dataset: Any, tmp_path: Path):
    tar = make_dataset() / "ds_00000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[:3000])
    with pytest.raises(DamagedFileError, match="cut off"):
        ShardIndex(tar)
    body = member("vid_00000.npy", b"") + member("vid_00000.txt", b"")
    tar.write_bytes(body + end_of_archive(len(body)))
    with pytest.raises(DamagedFileError, match=r"no \.json"):
        ShardIndex(tar)


# --- addresses --------------------------------------------------------------------------------------------------------


def test_url(make_dataset: Any, tmp_path: Path):
    folder = make_dataset()
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        read = partial(EmbeddingReader, url, cache_dir=tmp_path / "cache", batch_size=2)
        there = keys(read("train"))
        assert there == keys(EmbeddingReader(folder, batch_size=2))
        assert not any("ds_00002" in path for path in asked), "only the split that was asked for"
        count = len(asked)
        assert keys(read("train")) == there
        assert not any(".tar" in path for path in asked[count:]), "the second time nothing is copied"
        manifest = folder / "manifest.json"
        manifest.write_bytes(manifest.read_bytes() + b"\n")
        assert keys(read("train")) == there
        assert any("ds_00000.tar" in path for path in asked[count:]), "after it was packed again, all of it is"
        with pytest.raises(UserError, match="does not exist"):
            EmbeddingReader(f"{url}/nothing", cache_dir=tmp_path / "cache")
    finally:
        server.shutdown()
        server.server_close()

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from preprocess.errors import DamagedFileError, UserError
from preprocess.formats import manifest as manifests
from preprocess.samples import Reject, Sample, ShardReport

ENCODING = {
    "encoder": {"model": "tiny-clip", "dim": 8, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {"shortest_edge": 32},
    "versions": {"av": "18.1.0"},
    "of no concern": 1,
}
SHARDS = [
    ShardReport("ds_00000.tar", "train", 2, 11, 10240, "a" * 64),
    ShardReport("ds_00001.tar", "train", 1, 5, 10240, "b" * 64),
    ShardReport("ds_00002.tar", "test", 1, 7, 10240, "c" * 64),
]
REJECTS = [
    Reject("x", "train", "find", "missing", ""),
    Reject("y", "train", "decode", "unreadable", ""),
    Reject("z", "train", "decode", "unreadable", ""),
    Reject("w", "val", "decode", "timeout", ""),
]


def built(**changes: Any) -> manifests.Manifest:
    arguments: dict[str, Any] = {
        "dataset": "CLIP-Demo",
        "encoding": ENCODING,
        "caption_mode": "first",
        "order": {"shuffle": True, "seed": 42, "per_shard": 10_000},
        "meta_keys": {"key": "string"},
        "inputs": {"train": 6, "val": 1, "test": 1},
        "rejects": REJECTS,
        "shards": SHARDS,
    }
    return manifests.build(**{**arguments, **changes})


def test_the_manifest_counts_what_there_is_and_what_there_is_not(tmp_path: Path) -> None:
    manifest = built()
    assert manifest["splits"] == {
        "train": {"inputs": 6, "samples": 3, "frames": 16, "missing": 1, "rejected": {"unreadable": 2}},
        "val": {"inputs": 1, "samples": 0, "frames": 0, "missing": 0, "rejected": {"timeout": 1}},
        "test": {"inputs": 1, "samples": 1, "frames": 7, "missing": 0, "rejected": {}},
    }
    required = manifests.Manifest.__required_keys__
    assert list(manifest) == [field for field in manifests.Manifest.__annotations__ if field in required]
    path = tmp_path / "manifest.json"
    path.write_bytes(manifests.manifest_json(manifest))
    assert manifests.read(path) == manifest


def test_a_split_without_samples_is_not_listed() -> None:
    manifest = built(inputs={"train": 6, "test": 1}, rejects=REJECTS[:3])
    assert list(manifest["splits"]) == ["train", "test"]
    manifests.validate(manifest)


def test_with_a_triple_per_caption_there_may_be_more_samples_than_inputs() -> None:
    manifest = built(inputs={"train": 4, "val": 1, "test": 1}, caption_mode="each")
    manifests.validate(manifest)
    manifest["caption_mode"] = "first"
    with pytest.raises(DamagedFileError, match=r"splits\.train\.inputs"):
        manifests.validate(manifest)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["dataset"], None),
        (["format_version"], 2),
        (["caption_mode"], "all"),
        (["encoder"], []),
        (["encoder", "dim"], "8"),
        (["shards"], {}),
        (["shards", 0], {}),
        (["shards", 0, "file"], "../../etc/passwd"),
        (["shards", 0, "file"], "ds_00001.tar"),
        (["shards", 0, "split"], "validation"),
        (["shards", 0, "samples"], 1),
        (["shards", 0, "frames"], -1),
        (["shards", 0, "bytes"], True),
        (["shards", 0, "sha256"], "a" * 63),
        (["splits", "test"], {}),
        (["splits", "train", "inputs"], 7),
        (["splits", "train", "samples"], 4),
        (["splits", "train", "frames"], 17),
        (["splits", "train", "missing"], 0),
        (["splits", "train", "rejected"], {"bored": 2}),
        (["splits", "train", "rejected"], {"unreadable": "2"}),
    ],
)
def test_what_does_not_add_up_is_refused(path: list[Any], value: object) -> None:
    manifest: Any = copy.deepcopy(built())
    place = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DamagedFileError, match=path[0]):
        manifests.validate(manifest)


@pytest.mark.parametrize("field", sorted(manifests.Manifest.__required_keys__))
def test_a_missing_field_is_refused(field: str) -> None:
    manifest: Any = built()
    del manifest[field]
    with pytest.raises(DamagedFileError, match=field):
        manifests.validate(manifest)


def test_a_split_that_only_the_shards_know_is_refused() -> None:
    manifest = built()
    del manifest["splits"]["test"]
    with pytest.raises(DamagedFileError, match="splits"):
        manifests.validate(manifest)


@pytest.mark.parametrize("text", ["", "[]", "null"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=r"manifest\.json"):
        manifests.read(path)


def test_no_manifest_at_all_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist\. Pack the dataset first"):
        manifests.read(tmp_path / "manifest.json")


def sample(key: str, **meta: Any) -> Sample:
    return Sample(key, "train", f"{key}.mp4", ("a",), meta=meta)


def test_types_of_the_json_keys() -> None:
    samples = [
        sample("a", videoID=5, z=None, n=1, x=1, o={}, b=True),
        sample("b", n=2.5, x="one", start_time="0:01"),
        sample("c", n=None, l=[]),
    ]
    types = manifests.meta_types(samples, "each")
    assert list(types)[-8:] == ["truncated", "caption_index", "b", "l", "n", "o", "x", "z"]
    assert types["videoID"] == types["start_time"] == types["x"] == "mixed"
    assert (types["n"], types["o"], types["b"], types["l"], types["z"]) == (
        "number",
        "object",
        "boolean",
        "array",
        "null",
    )
    assert manifests.meta_types([sample("a", videoID=5)], "first")["videoID"] == "number"
    assert "caption_index" not in manifests.meta_types(samples, "first")


def test_the_file_is_plain_json() -> None:
    assert json.loads(manifests.manifest_json(built())) == built()

"""The corpus: valid documents to start from, what is made to harm, and what fuzzing has found. Replayed in every run.

CORPUS["npy"]["nested brackets"]    # b"\\x93NUMPY…(((("
"""

from __future__ import annotations

import functools
import importlib
import json
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from preprocess.formats.parts import write_part
from preprocess.formats.splits import sizes_json, splits_csv
from preprocess.formats.tar import END, member
from preprocess.formats.triples import triple_meta
from preprocess.samples import Reject, Sample, canonical_json
from tests.fuzz.hostile import DIGITS, GNU_NAME, HOSTILE_FILES, JSON, NPY, TARS, VECTORS, npy, pax, tar_of
from tests.fuzz.targets import MANIFEST, recipe_files

# --- the corpus -------------------------------------------------------------------------------------------------------


def _sample(i: int) -> Sample:
    return Sample(f"video_{i}", "train", f"a/{i}.mp4", ("a man sings", "ein Mann"), "singing", 0.5, 2.5, {"camera": i})


def _triple(i: int, **members: bytes) -> dict[str, bytes]:
    meta = triple_meta(_sample(i), 2, [0.5, 1.5], 2.0, False)
    parts = {"npy": VECTORS, "txt": b"a man sings", "json": canonical_json(meta).encode(), **members}
    return {f"vid_{i:05d}.{extension}": data for extension, data in parts.items()}


def _part() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_part(Path(folder), [(f"video_{i}", (VECTORS, b"a man", b"{}")) for i in range(2)])
        return next(Path(folder).iterdir()).read_bytes()


def _parquet(columns: Mapping[str, Any]) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.table(columns), sink, compression="none")
    return sink.getvalue()


_REJECT = Reject("lost", "train", "find", "missing", "no such file")
_ENCODING = {"encoder": {"dim": 4, "dtype": "float16"}, "sampling": {}, "preprocessing": {}, "versions": {}}
_CARD = """---
license: mit
language: [en]
configs:
- config_name: default
  data_files:
  - {split: train, path: [ds_00000.tar]}
dataset_info:
  features:
  - {name: npy, dtype: {array2_d: {shape: [null, 4], dtype: float16}}}
  - {name: txt, dtype: string}
  splits:
  - {name: train, num_bytes: 1, num_examples: 1}
  download_size: 1
  dataset_size: 1
---
# A [link](assets/x.png), an <img src="y%00.png">
"""
_SCENES = [
    {"video": "a.mp4", "start": 0, "end": "00:09.5", "text": ["one", "two"]},
    {"video": "b", "start": 3, "end": 7},
]
_EPISODE = {
    "episode": "e1", "video": "a.mp4", "seconds": 6, "starts": [0.0, 3.0], "scene_ends": [6.0, 6.0],
    "scene_start": [True, False], "scene_end": [False, True], "text_0": "one", "text_1": "two",
}  # fmt: skip
_KARPATHY = {"images": [{"filename": "1.jpg", "split": "restval", "sentences": [{"raw": "a dog"}]}]}


@functools.cache
def corpus(name: str) -> dict[str, bytes]:
    """The corpus of one target: inputs by what they are."""
    valid = {f"valid {number}": data for number, data in enumerate(_valid(name))}
    prefixes = [bytes([n]) for n in range(_variants(name))] or [b""]
    hostile = {"tar": TARS, "shard": _SHARDS, "part": TARS, "npy": NPY}.get(name, HOSTILE_FILES | JSON)
    found = {f"found {number}": data for number, data in enumerate(FOUND.get(name, ()))}
    behind = {f"{kind} {prefix!r}": prefix + data for kind, data in hostile.items() for prefix in prefixes}
    return valid | behind | found


_SHARDS = {
    **TARS,
    **{f"npy: {kind}": tar_of(_triple(0) | _triple(1, npy=data)) for kind, data in NPY.items()},
    **{f"json: {kind}": tar_of(_triple(0) | _triple(1, json=data)) for kind, data in JSON.items()},
    "a text that is not UTF-8": tar_of(_triple(0, txt=b"\xff")),
    "half a triple": tar_of({"vid_00000.npy": VECTORS, "vid_00000.txt": b"x"}),
}

_TABLE = b"\0videoID,videoLoc,caption,split,start_time,end_time,camera\n"
FOUND: dict[str, tuple[bytes, ...]] = {
    "card": (b"---\nlicense: mit\nconfigs: []\ndataset_info: {features: 3}\n---\n",),
    "samples_jsonl": (canonical_json(_sample(0).to_json()).replace('"camera": 0', '"camera": 1e999').encode(),),
    "scenes": (b'\2video,start,end,"text\na.mp4,0,9,one\n', b'\0[{"video": "\\ud800", "start": 0, "end": 3}]'),
    "recipe_kinetics700": (
        b"\0label,youtube_id,time_start,time_end\nabse\0iling,zyxwvutsrqp,200,210\n",
        b"\0label,youtube_id,time_start,time_end\n..,zyxwvutsrqp,200,210\n",
        b'\0label,"val,time_start\n',
    ),
    "recipe_msrvtt": (b'""', b'\0{"videos": [], "sentences": [' + DIGITS + b"]}"),
    "recipe_table": (
        _TABLE + b"a,a.mp4,one,train,,1e308,\n",
        _TABLE + b"a,https://a]b/c.mp4,one,train,,,\n",
        b'\2{"videoLoc": "a.mp4", "x": 1e999}',
        b'\2{"videoLoc": "a.mp4", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    ),
}
"""Inputs on which a target once failed."""


def _variants(name: str) -> int:
    """Of targets whose first byte chooses the kind of file: how many kinds there are; else 0."""
    if name.startswith("recipe_"):
        return len(recipe_files(name.removeprefix("recipe_")))
    return {"scenes": 3, "caption_tables": 2}.get(name, 0)


def _valid(name: str) -> list[bytes]:
    """Documents that the target reads without an error."""
    if name.startswith("recipe_"):
        return _annotations(name.removeprefix("recipe_"))
    sample, reject = _sample(0).to_json(), _REJECT.to_json()
    return {
        "tar": [
            tar_of({"a.npy": b"x" * 600, "b.txt": b"y"}),
            pax(b"10 path=b\n"),
            GNU_NAME + member("a.npy", b"") + END,
        ],
        "shard": [tar_of(_triple(0) | _triple(1)), tar_of({"0.cap": b"x", "0.json": b"{}", "0.npy": VECTORS})],
        "npy": [VECTORS, npy("'>f4'", "(2, 3)", "True", bytes(24))],
        "json_member": [canonical_json(sample).encode()],
        "part": [_part()],
        "splits_csv": [splits_csv({"ds_00000.tar": "train", "ds_00001.tar": "val"})],
        "sizes_json": [sizes_json({"ds_00000.tar": 10})],
        "manifest_json": [json.dumps(MANIFEST).encode()],
        "samples_jsonl": [b"".join(canonical_json(_sample(i).to_json()).encode() + b"\n" for i in range(2))],
        "rejects_jsonl": [canonical_json(reject).encode() + b"\n"],
        "encoding_json": [json.dumps(_ENCODING).encode()],
        "source_json": [b'{"dataset": "folder", "raw": "/videos", "model": "tiny-clip"}'],
        "card": [_CARD.encode()],
        "scenes": [
            b"\0" + json.dumps(_SCENES).encode(),
            b"\1" + "\n".join(map(json.dumps, _SCENES)).encode(),
            b"\2video,start,end,text_0\na.mp4,0,0:09.5,one\n",
        ],
        "episodes": [json.dumps(_EPISODE).encode() + b"\n"],
        "caption_tables": [
            b"0image,caption\n1.jpg,\"a dog, a cat\"\n",
            b"0image_name| comment_number| comment\n1.jpg| 0| a dog\n1.jpg| 1 a cat\n",
            b"1" + json.dumps(_KARPATHY).encode(),
        ],
    }[name]  # fmt: skip


def _annotations(name: str) -> list[bytes]:
    """The annotation files of a recipe's fixture, each behind the byte that chooses it."""
    columns = {
        "videoID": ["a", "b"],
        "videoLoc": ["a.mp4", "b.mp4"],
        "caption": ["one", None],
        "start_time": [0.5, None],
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    listed = {"file_name": ["juggling/a.mp4"], "text": ["a man juggles"], "score": [1.5]}
    made = {
        "videos.tsv": b"videoID\tvideoLoc\tcaption\na\ta.mp4\ta cat\n",
        "videos.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "videos.parquet": _parquet(columns),
        "test/metadata.jsonl": b'{"file_name": "juggling/a.mp4", "captions": ["one"], "label": "x", "split": "test"}\n',
        "test/metadata.parquet": _parquet(listed),
    }
    with tempfile.TemporaryDirectory() as folder:
        importlib.import_module(f"tests.recipes.fixtures.{name}").make(Path(folder))
        return [
            bytes([number]) + (made.get(file) or Path(folder, file).read_bytes())
            for number, file in enumerate(recipe_files(name))
        ]

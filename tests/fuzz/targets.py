"""Everything that parses bytes from outside, each as a function of these bytes, which may raise our own errors alone.

    TARGETS["npy"](b"\\x93NUMPY…")    # returns, or raises an EmbeddingDatasetError; anything else is a fault

`test_parsers.py` calls them with a corpus and with hypothesis, `run.py` with atheris.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from builders import card_check, shard_check
from builders.card_yaml import check_front_matter, read_front_matter
from builders.embeddings import infer_features, pinned_features, read_tables
from builders.features import embedding_features
from builders.folder_check import check_manifest, check_rejects, check_sizes, check_splits
from builders.sample_check import SampleSchema
from dataset_cards.card_inputs import read_rejects
from preprocess import recipes
from preprocess.errors import EmbeddingDatasetError
from preprocess.formats import layout, manifest, parts
from preprocess.formats.splits import read_sizes, read_splits
from preprocess.formats.tar import first_member, iter_members, iter_triples
from preprocess.formats.triples import META_KEYS, npy_array, npy_vectors, parse_json
from preprocess.long_video.scenes import read_scenes
from preprocess.long_video.segments import Episode
from preprocess.pipeline.encode_output import read_encoding, read_samples
from preprocess.pipeline.ledger import Ledger
from preprocess.readers.annotations import read_jsonl
from preprocess.readers.image_captions import read_caption_table, read_karpathy
from preprocess.samples import RecipeOptions, canonical_json

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    """Registers a target under the name of its function."""
    TARGETS[function.__name__] = function
    return function


# --- formats ----------------------------------------------------------------------------------------------------------


@target
def tar(data: bytes) -> None:
    """A tar as a buffer and as a stream, which must agree."""
    seen: list[object] = []
    for source in (data, BytesIO(data)):
        try:
            seen.append([(one.name, bytes(one.data), one.offset) for one in iter_members(source)])
        except EmbeddingDatasetError as error:
            seen.append(str(error))
    assert seen[0] == seen[1]
    for read in (iter_triples, first_member):
        with suppress(EmbeddingDatasetError):
            list(read(data, name="x.tar"))  # type: ignore[operator]


@target
def shard(data: bytes) -> None:
    """A tar of triples, as verify, the builder and the index read it; what the builder reads, verify has read."""
    path = _file("ds_00000.tar", data)
    scan = shard_check.scan_shard(path, SampleSchema(4, "float16", META_KEYS, "first"))
    for finding in scan.findings:
        str(finding).encode()
    features = infer_features(str(path))
    for table in read_tables(str(path), features):
        table.validate(full=True)
    for table in read_tables(str(path), embedding_features(4, "float16", scan.types)):
        table.validate(full=True)


@target
def npy(data: bytes) -> None:
    npy_array(data).tobytes()
    npy_vectors(data)


@target
def json_member(data: bytes) -> None:
    canonical_json(parse_json(data, "x.json")).encode()


@target
def part(data: bytes) -> None:
    """A part of the processed dataset."""
    path = _file("part_0000000000000000.tar", data)
    entries = list(parts.read_indexes(path.parent, [path.name]).items())
    parts.read_entries(path.parent, entries)


# --- files of a dataset -----------------------------------------------------------------------------------------------


@target
def splits_csv(data: bytes) -> None:
    list(check_splits([], read_splits(_file("splits.csv", data)), 10))


@target
def sizes_json(data: bytes) -> None:
    list(check_sizes([], read_sizes(_file("sizes.json", data))))


@target
def manifest_json(data: bytes) -> None:
    list(check_manifest([], None, manifest.read(_file("manifest.json", data))))


@target
def samples_jsonl(data: bytes) -> None:
    for sample in read_samples(_file("samples.jsonl", data)):
        canonical_json(sample.to_json()).encode()


@target
def rejects_jsonl(data: bytes) -> None:
    path = _file("rejects.jsonl", data)
    for finding in check_rejects(path, MANIFEST, frozenset()):
        str(finding).encode()
    with suppress(EmbeddingDatasetError):
        list(read_rejects(path))
    Ledger(path).by_reason()


@target
def encoding_json(data: bytes) -> None:
    read_encoding(_file("encoding.json", data))


@target
def source_json(data: bytes) -> None:
    layout.read_json(_file("source.json", data))


@target
def card(data: bytes) -> None:
    """README.md: problems are findings, and an unreadable card pins nothing."""
    path = _file("README.md", data)
    for finding in card_check.check_card(path.parent, [], embedding_features(4, "float16", {})):
        str(finding).encode()
    pinned_features(path.parent)
    with suppress(ValueError):  # what is wrong with a card is a finding, so its reader has no error of its own
        check_front_matter(read_front_matter(data.decode()))


# --- annotations ------------------------------------------------------------------------------------------------------


@target
def scenes(data: bytes) -> None:
    """Scenes of long videos, as .json, .jsonl or .csv; the first byte says which."""
    suffix = (".json", ".jsonl", ".csv")[data[0] % 3] if data else ".json"
    for scene in read_scenes(_file(f"scenes{suffix}", data[1:])):
        canonical_json(scene.to_json()).encode()


@target
def episodes(data: bytes) -> None:
    path = _file("episodes.jsonl", data)
    for line, row in read_jsonl(path):
        canonical_json(Episode.from_json(row, path, line).to_json()).encode()


@target
def caption_tables(data: bytes) -> None:
    """Kaggle's tables and Karpathy's JSON; the first byte says which."""
    path = _file("captions", data[1:])
    (read_caption_table if data[:1] != b"1" else read_karpathy)(path)


def recipe_files(name: str) -> tuple[str, ...]:
    """The annotation files of a recipe's raw folder, which its target replaces; by the first byte of the data."""
    return ANNOTATIONS.get(name) or importlib.import_module(f"tests.recipes.fixtures.{name}").BREAKABLE


ANNOTATIONS = {
    "table": ("videos.csv", "videos.tsv", "videos.jsonl", "videos.parquet"),
    "folder": (
        "train/juggling/a.json",
        "train/juggling/a.txt",
        "test/metadata.csv",
        "test/metadata.jsonl",
        "test/metadata.parquet",
    ),
    "webdataset": ("train-000.tar", "val/0.tar"),
}
"""Beyond what the fixtures of the conformance tests have."""


def _recipe(name: str) -> Target:
    files, recipe = recipe_files(name), recipes.load(name)

    def run(data: bytes) -> None:
        chosen = files[data[0] % len(files)] if data else files[0]
        raw, path, replaced = _places(name, chosen)
        for file in replaced:
            file.unlink(missing_ok=True)
        path.write_bytes(data[1:])
        try:
            for entry in recipes.entries(recipe, raw, RecipeOptions()):
                canonical_json(entry.to_json()).encode()
        finally:
            path.unlink()
            for file, content in replaced.items():
                file.write_bytes(content)

    return run


@functools.cache
def _places(name: str, chosen: str) -> tuple[Path, Path, dict[Path, bytes]]:
    """RAW, the file that the data becomes, and what is put back after that."""
    raw, originals = _tree(name)
    base = raw if raw.is_dir() else raw.parent
    path = base / chosen
    # metadata.jsonl stands in for metadata.csv, not beside it
    same = [file for file in originals if Path(base, file).with_suffix("") == path.with_suffix("")]
    replaced = {base / file: originals[file] for file in same if file.endswith(".csv") or file == chosen}
    return raw if raw.is_dir() else path, path, replaced


@functools.cache
def _tree(name: str) -> tuple[Path, dict[str, bytes]]:
    """RAW of a recipe's fixture, and the content of those files that its target replaces."""
    folder = _scratch() / name
    folder.mkdir()
    raw: Path = importlib.import_module(f"tests.recipes.fixtures.{name}").make(folder)
    base = raw if raw.is_dir() else raw.parent
    return raw, {file: (base / file).read_bytes() for file in recipe_files(name) if (base / file).is_file()}


for _name in recipes.names():
    if not hasattr(recipes.load(_name), "prepare"):
        TARGETS[f"recipe_{_name}"] = _recipe(_name)


# --- files on disk ----------------------------------------------------------------------------------------------------


@functools.cache
def _scratch() -> Path:
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _file(name: str, data: bytes) -> Path:
    """A file of this content, in a folder of its own."""
    folder = _scratch() / f"file {name}"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


MANIFEST: Any = {
    "dataset": "CLIP-Shapes",
    "format_version": 1,
    "encoder": {"dim": 4, "dtype": "float16"},
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {},
    "versions": {},
    "caption_mode": "first",
    "order": {"shuffle": True, "seed": 42, "per_shard": 10},
    "meta_keys": dict.fromkeys(META_KEYS, "string"),
    "splits": {"train": {"inputs": 2, "samples": 2, "frames": 4, "missing": 0, "rejected": {}}},
    "shards": [{"file": "ds_00000.tar", "split": "train", "samples": 2, "frames": 4, "bytes": 0, "sha256": "0" * 64}],
}

"""The features of `json` hold every value of every sample, and `datasets` gives each one back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Features, Json, List, Value, load_dataset

from builders.embeddings import EmbeddingsBuilder
from builders.features import MIN_DATASETS, MIN_DATASETS_JSON, embedding_features, min_datasets
from builders.json_types import MetaTypes, add_meta, merge_meta
from tests.builders.conftest import write_dataset

FLOAT, INT, TEXT = Value("float64"), Value("int64"), Value("string")
CASES: dict[str, tuple[list[Any], Any]] = {
    "texts": (["a", "12", None], TEXT),
    "whole numbers": ([1, None, -3], INT),
    "numbers of both kinds": ([1, 1.5, None], FLOAT),
    "the largest that both types hold": ([2**53, 0.5], FLOAT),
    "an integer that float64 cannot hold": ([2**53 + 1, 0.5], Json()),
    "an integer that int64 holds": ([2**63 - 1], INT),
    "an integer that int64 cannot hold": ([2**63], Json()),
    "truth": ([True, None], Value("bool")),
    "truth and numbers": ([True, 1], Json()),
    "never a value": ([None, None], TEXT),
    "empty lists": ([[], None], List(TEXT)),
    "an empty list first": ([[], [1], [None, 2.5]], List(FLOAT)),
    "lists in lists": ([[[0.0, 1.5]], [[0.0, 1.0], [1.0, 2.0]]], List(List(FLOAT))),
    "a list and a text": ([["a"], "b"], Json()),
    "a mixed list": ([["a", 1]], Json()),
    "records": ([{"x": 1, "y": "a"}, None, {"x": 2.5, "y": None}], {"x": FLOAT, "y": TEXT}),
    "records in a list": ([[{"x": 1}], []], List({"x": INT})),
    "objects keyed by id": ([{"a1": 1}, {"b2": 2}, {"a1": 1}], Json()),
    "empty objects": ([{}, None], Json()),
    "a record with a mixed field": ([{"x": 1}, {"x": "a"}], Json()),
}


def types_of(values: list[Any], name: str = "own") -> MetaTypes:
    types: MetaTypes = {}
    for value in values:
        add_meta(types, {name: value})
    return types


@pytest.mark.parametrize("case", CASES)
def test_the_feature_of_a_key(case: str):
    values, feature = CASES[case]
    assert embedding_features(4, "float16", types_of(values))["json"] == {"own": feature}
    assert min_datasets(types_of(values)) == (MIN_DATASETS_JSON if feature == Json() else MIN_DATASETS)


@pytest.mark.parametrize("case", CASES)
def test_shards_that_are_read_apart_have_the_types_of_all(case: str):
    values, _ = CASES[case]
    together: MetaTypes = {}
    for value in values:
        merge_meta(together, types_of([value]))
    assert together == types_of(values)


def test_a_time_without_a_value_is_a_number():
    types = types_of([None], "start_time")
    assert embedding_features(4, "float16", types)["json"] == {"start_time": FLOAT}


def test_a_string_that_reads_as_json_among_other_types_stays_a_string():
    assert embedding_features(4, "float16", types_of(["12", 12]))["json"] == Json()
    assert embedding_features(4, "float16", types_of(["n/a", 12]))["json"] == {"own": Json()}
    assert embedding_features(4, "float16")["json"] == Json()


def test_every_value_comes_back(tmp_path: Path):
    """All cases as keys of one dataset: prepared, streamed, and by the builder, against the bytes of the tars."""
    length = max(len(values) for values, _ in CASES.values())
    own = [{name: values[i % len(values)] for name, (values, _) in CASES.items()} for i in range(length)]
    folder = write_dataset(tmp_path / "CLIP-Types", {"train": length}, own=own)
    wanted = {f"train_{i:03d}": meta for i, meta in enumerate(own)}
    options = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    built = EmbeddingsBuilder.from_folder(folder, cache_dir=str(tmp_path / "ours"))
    built.download_and_prepare()
    ways = {
        "prepared": load_dataset(str(folder), **options),
        "streamed": load_dataset(str(folder), streaming=True, **options),
        "built": built.as_dataset("train"),
    }
    for way, rows in ways.items():
        assert {row["json"]["key"]: {name: row["json"][name] for name in CASES} for row in rows} == wanted, way
    assert isinstance(ways["prepared"].features, Features)
    assert ways["prepared"].features == ways["built"].features
    assert ways["prepared"].to_list() == ways["built"].to_list()

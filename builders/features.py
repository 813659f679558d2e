"""The features of a dataset's columns, as the card pins them and `datasets` reads them.

    {"npy": Array2D((None, 512), "float16"), "txt": Value("string"),
     "json": {"key": Value("string"), …, "timestamps": List(Value("float64")), …},
     "__key__": Value("string"), "__url__": Value("string")}

`json` is a struct of the dataset's own keys, typed by the values of all samples: every version of `datasets` that reads
tars can read it, and Parquet, DuckDB and the Hub's viewer see typed columns.

`npy` is `Array2D` and not a list of lists (`benchmarks/vector_columns.py` compares them). `datasets` 2.21 and 3.6
prepare it in half the time. 5.2 prepares both in about the same time, but streams lists as Python objects and not as
float16 arrays, and lists of a video without frames lose their width. In NumPy, both are float32. The price is that the
Hub's Croissant has no field for it; that of the Parquet of rows has one. A table of samples cannot be a config beside
the tars: every version of `datasets` takes the format of all configs from the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builders.json_types import JsonType
from preprocess.formats import members
from preprocess.formats.triples import TIME_KEYS

if TYPE_CHECKING:
    from datasets import Features

MIN_DATASETS = "2.21"
"""The oldest version of `datasets` that is tested to load these features."""

MIN_DATASETS_JSON = "4.7"
"""The first version of `datasets` that has the feature type `Json`."""

DTYPES = ("float16", "float32")

_EXACT_IN_FLOAT64 = 2**53
_INT64 = 2**63


def embedding_features(dim: int, dtype: str, types: Mapping[str, JsonType] | None = None) -> Features:
    """The features of a dataset of triples.

    Args:
        dim: Length of one vector.
        dtype: `float16` or `float32`, as stored in the `.npy`.
        types: Of the keys of the `.json`, over all samples; None if they are not known, which makes it `Json`.

    Returns:
        `npy` is `(n_frames, dim)` and keeps its width if a video has no frame; `json` keeps nulls, keys that appear
        late, and 1.5 after 1.
    """
    from datasets import Array2D, Features, Value

    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    of_column = {
        "vectors": Array2D(shape=(None, dim), dtype=dtype),
        "string": Value("string"),
        "json": _json_feature(types),
        "binary": Value("binary"),
    }
    columns = {member.extension: of_column[member.column] for member in members.MEMBERS}
    return Features({**columns, **_origin()})


def preview_features() -> Features:
    """The features of the `preview` config: one contact sheet and one caption per video."""
    from datasets import Features, Image, Value

    return Features({"jpg": Image(), "txt": Value("string"), **_origin()})


def min_datasets(types: Mapping[str, JsonType]) -> str:
    """The first version of `datasets` that loads a dataset with these types."""
    from datasets import Json

    feature = _json_feature(types)
    needs_json = isinstance(feature, Json) or any(isinstance(own, Json) for own in feature.values())
    return MIN_DATASETS_JSON if needs_json else MIN_DATASETS


def value_feature(seen: JsonType, unknown: str = "string") -> Any:
    """The feature that holds every value that was seen, or None if there is none.

    Args:
        seen: Integers and floats together are `float64` if it holds them exactly. Objects must have the same names:
            those keyed by ids would make a column for each id.
        unknown: Type of a value that is always null.
    """
    from datasets import List, Value

    kinds = seen.kinds - {"null"}
    if not kinds:
        return Value(unknown)
    if kinds == {"int"}:
        return Value("int64") if seen.largest < _INT64 else None
    if kinds <= {"int", "float"}:
        return Value("float64") if seen.largest <= _EXACT_IN_FLOAT64 else None
    if len(kinds) > 1:
        return None
    if seen.items is not None:
        item = value_feature(seen.items)
        return None if item is None else List(item)
    if seen.fields is not None:
        fields = {name: value_feature(own) for name, own in seen.fields.items()}
        return fields if fields and None not in fields.values() else None
    return Value(kinds.pop())


def _origin() -> dict[str, Any]:
    """What `datasets` adds to a sample of a tar: its id, and the tar's address. Before 4.4 it must be declared."""
    from datasets import Value

    return {"__key__": Value("string"), "__url__": Value("string")}


def _json_feature(types: Mapping[str, JsonType] | None) -> Any:
    """The feature of the `.json`: a struct, in which a key whose values have several types is `Json`.

    `datasets` parses a string in a `Json` column where it can: "12" would become 12. If a key without one type has such
    a string, the whole `.json` is `Json`, in which it stays a string.
    """
    from datasets import Json

    if not types:
        return Json()
    features = {name: value_feature(seen, "float64" if name in TIME_KEYS else "string") for name, seen in types.items()}
    if any(features[name] is None and seen.reads_as_json for name, seen in types.items()):
        return Json()
    return {name: Json() if feature is None else feature for name, feature in features.items()}

from __future__ import annotations

import pickle

import pytest

from preprocess.errors import (
    AnnotationError,
    DamagedFileError,
    EmbeddingDatasetError,
    MediaError,
    UnknownNameError,
    UserError,
)


@pytest.mark.parametrize(
    "error",
    [
        UserError("cause", "Remedy."),
        UnknownNameError("dataset", "demmo", ["demo"]),
        AnnotationError("a.csv", "line 3", "no key", "a column key"),
        DamagedFileError("a.tar", "byte 0", "cut off", "Pack again."),
        MediaError("missing", "not there"),
    ],
)
def test_every_error_comes_whole_out_of_a_worker(error: EmbeddingDatasetError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_an_unknown_name_is_answered_with_a_few_known_ones() -> None:
    labels = [f"class {i:04d}" for i in range(3000)]
    assert str(UnknownNameError("label", "dog", labels)).endswith("class 0019 and 2,980 more.")
    assert str(UnknownNameError("label", "clas 0042", labels)).endswith("Did you mean 'class 0042'?")
    assert str(UnknownNameError("split", "dev", ["train", "val"])).endswith("Known: train, val.")

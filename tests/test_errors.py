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

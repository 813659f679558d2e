"""The demo, built once by the project's own commands, and a small dataset of known vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import dataset_cards.__main__
import preprocess.__main__
from explorer.index import Index, open_index
from explorer.models import QueryModel
from preprocess.formats.layout import Layout
from preprocess.samples import Sample
from tests.cards.small import ENCODING, Vectors, pack

Make = Callable[..., Index]


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """`make build DATASET=demo`, without evaluation, with contact sheets."""
    layout = Layout(tmp_path_factory.mktemp("data"), "CLIP-Shapes")
    to = ("demo", "--out", str(layout.out))
    for app, command in (
        (preprocess.__main__.app, ("build", *to, "--precision", "fp32", "--workers", "1")),
        (preprocess.__main__.app, ("preview", *to)),
        (dataset_cards.__main__.app, ("card", *to)),
    ):
        done = CliRunner().invoke(app, list(command), catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return layout


@pytest.fixture(scope="session")
def scenes_index(scenes: Layout) -> Index:
    return open_index(str(scenes.dataset))


@pytest.fixture(scope="session")
def scenes_model(scenes_index: Index) -> QueryModel:
    return QueryModel(scenes_index.manifest["encoder"])


@pytest.fixture
def make_index(tmp_path: Path) -> Make:
    """Packs samples with given vectors and opens their index."""

    def make(
        all_samples: Sequence[Sample], vectors: Vectors, dim: int = 8, name: str = "CLIP-Test", **options: Any
    ) -> Index:
        encoding = {**ENCODING, "encoder": {**ENCODING["encoder"], "dim": dim}}
        layout = pack(tmp_path / "data", all_samples, vectors, encoding=encoding, hub_name=name, **options)
        return open_index(str(layout.dataset))

    return make


def directions(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float16)

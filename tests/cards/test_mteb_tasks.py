"""The vectors of a dataset as a model of MTEB; its tasks run with MTEB itself in `tests/clients`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset_cards.evaluation.features import read_videos
from dataset_cards.mteb_tasks import PackedEncoder, packed_tasks
from preprocess.encoders import load_text_tower
from preprocess.encoders.models import resolve
from preprocess.errors import UserError
from tests.builders.conftest import DIM, vectors, write_dataset


def test_videos_are_their_mean_directions(tmp_path: Path) -> None:
    encoder = PackedEncoder(str(write_dataset(tmp_path / "set")))
    of_samples = [vectors("train", i, DIM, "float16") for i in range(5)]
    found = encoder.encode(
        [{"video": of_samples[:3]}, {"video": [v.tolist() for v in of_samples[3:]]}], hf_split="test"
    )
    rows = ((str(i), v, "", {}) for i, v in enumerate(of_samples))
    np.testing.assert_allclose(found, read_videos(rows, 5, DIM, "first").direction, rtol=1e-6)
    cosines = encoder.similarity(found, found)
    np.testing.assert_allclose(np.diag(cosines), encoder.similarity_pairwise(found, found), rtol=1e-6)
    np.testing.assert_allclose(np.diag(cosines), 1, rtol=1e-6)


def test_texts_are_those_of_the_model(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["encoder"]["weights_sha256"] = resolve("tiny-clip").sha256()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = PackedEncoder(str(folder)).encode([{"text": ["a red circle"]}, {"text": ["a blue ring"]}])
    wanted = load_text_tower(resolve("tiny-clip")).encode(["a red circle", "a blue ring"])
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)


def test_the_weights_have_to_be_those_of_the_rows(tmp_path: Path) -> None:
    encoder = PackedEncoder(str(write_dataset(tmp_path / "set")))
    with pytest.raises(UserError, match="the weights of 'tiny-clip' are not those"):
        encoder.encode([{"text": ["a red circle"]}])


def test_without_mteb_its_install_line_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    folder = str(write_dataset(tmp_path / "set"))
    with pytest.raises(UserError, match="pip install"):
        packed_tasks(folder)
    with pytest.raises(UserError, match="pip install"):
        _ = PackedEncoder(folder).mteb_model_meta

"""Finding models: the embedded one, folders, the cache of the Hub; and what is said when there is none."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from preprocess.encoders.models import resolve
from preprocess.errors import UserError


def test_a_folder_is_used_as_it_is(small_clip: Path) -> None:
    files = resolve(str(small_clip))
    assert (files.id, files.revision) == ("small-clip", None)
    assert files.sha256() == hashlib.sha256((small_clip / "model.safetensors").read_bytes()).hexdigest()
    assert files.dim() == 16
    preprocessing = files.preprocessing()
    assert (preprocessing.shortest_edge, preprocessing.crop) == (32, (32, 32))
    assert preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_a_model_in_the_cache_needs_no_network(
    small_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789012345678901234567890123456789"
    repo = tmp_path / "models--some--clip"
    shutil.copytree(small_clip, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    files = resolve("some/clip")
    assert (files.id, files.revision) == ("some/clip", commit)
    (repo / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(UserError, match="Hub could not be reached"):
        resolve("some/clip")


@pytest.mark.parametrize("name", ["no/such-model-anywhere"])
def test_a_model_that_cannot_be_had_names_a_way_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="tiny-clip"):
        resolve(name)


@pytest.mark.parametrize("name", ["tinyclip", "./nowhere", "/no/such/folder", "a/b/c"])
def test_a_name_that_is_no_model(name: str) -> None:
    with pytest.raises(UserError, match="no such folder") as caught:
        resolve(name)
    assert repr(name) in str(caught.value)


def test_a_folder_without_weights_or_of_another_kind(small_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not complete"):
        resolve(str(tmp_path))
    other = tmp_path / "bert"
    shutil.copytree(small_clip, other)
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="'bert'"):
        resolve(str(other)).vision_config()


def test_a_processor_that_does_something_else_is_refused(small_clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "bilinear"
    shutil.copytree(small_clip, other)
    config = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 2}))
    with pytest.raises(UserError, match="'resample': 2"):
        resolve(str(other)).preprocessing()

"""Finding models: the embedded one, folders, the cache of the Hub; and what is said when there is none."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from preprocess.encoders import encoder_spec, load_encoder
from preprocess.encoders.models import TINY_CLIP_FOLDER, resolve
from preprocess.errors import UserError


def test_a_folder_is_used_as_it_is(small_clip: Path) -> None:
    files = resolve(str(small_clip))
    assert (files.id, files.revision) == ("small-clip", None)
    assert files.sha256() == hashlib.sha256((small_clip / "model.safetensors").read_bytes()).hexdigest()
    spec = encoder_spec(files)
    assert (spec.family, spec.title, spec.unit, spec.dim) == ("clip", "CLIP", "frame", 16)
    preprocessing = spec.preprocessing
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
def test_an_unavailable_model_names_an_alternative(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="tiny-clip"):
        resolve(name)


def test_the_folder_of_the_embedded_model_is_that_model(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(TINY_CLIP_FOLDER)
    for path in (TINY_CLIP_FOLDER, tmp_path / "link"):
        assert resolve(str(path)) == resolve("tiny-clip")


def test_no_code_in_the_weights_of_a_model_is_run(small_clip: Path, tmp_path: Path) -> None:
    """PyTorch's own format is a pickle, which can name any function of any module."""
    folder, mark = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(small_clip, folder)
    (folder / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    torch.save({"visual_projection.weight": Evil()}, folder / "pytorch_model.bin")
    files = resolve(str(folder))
    assert files.weights == (folder / "pytorch_model.bin",)
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_encoder(files, "cpu", "fp32", 4)
    assert not mark.exists()


def test_code_that_comes_with_a_model_is_not_run(small_clip: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(small_clip, folder)
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Model: pass\n")
    config = json.loads((folder / "config.json").read_bytes())
    config["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Model", "AutoProcessor": "evil.Model"}
    for model_type in ("clip", "evil"):
        (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
        with suppress(UserError):
            load_encoder(resolve(str(folder)), "cpu", "fp32", 4)
    assert not mark.exists()


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
    with pytest.raises(UserError, match="'bert', which no encoder family serves") as caught:
        encoder_spec(resolve(str(other)))
    assert "clip, clip_vision_model, dinov2" in str(caught.value)
    assert "vjepa2, xclip" in str(caught.value)


@pytest.mark.parametrize("content", [b'{"model_type": "cl', b"[1, 2]", b"\xff\xfe", b""])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_a_damaged_config_is_one_line(small_clip: Path, tmp_path: Path, name: str, content: bytes) -> None:
    other = tmp_path / "damaged"
    shutil.copytree(small_clip, other)
    (other / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is not a JSON object \(.+\)\. Save or download"):
        encoder_spec(resolve(str(other))), resolve(str(other)).tokenizer_config()


def test_a_processor_that_does_something_else_is_refused(small_clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "lanczos"
    shutil.copytree(small_clip, other)
    config = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 1}))
    with pytest.raises(UserError, match="'resample': 1"):
        encoder_spec(resolve(str(other)))
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "do_resize": False, "do_pad": True}))
    with pytest.raises(UserError, match="'do_resize': False, 'do_pad': True"):
        encoder_spec(resolve(str(other)))
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "do_center_crop": False}))
    with pytest.raises(UserError, match="'do_center_crop': False"):
        encoder_spec(resolve(str(other)))
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "image_processor_type": "OtherProcessor"}))
    with pytest.raises(UserError, match="class OtherProcessor, which is not supported"):
        encoder_spec(resolve(str(other)))
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "crop_size": 30}))
    with pytest.raises(UserError, match=r"makes frames of \(30, 30\), the model takes \(32, 32\)"):
        encoder_spec(resolve(str(other)))
    (other / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"no preprocessor_config\.json"):
        encoder_spec(resolve(str(other)))

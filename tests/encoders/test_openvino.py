"""The engine OpenVINO against torch: every family, every batch position, a build, and what is refused."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from preprocess import embed
from preprocess.encoders import Precision, encoder_spec, families, family, load_encoder
from preprocess.encoders.devices import cpu_flags
from preprocess.encoders.engines import check_engine, engine_device
from preprocess.encoders.int8_weights import quantize_weights, quantized_weights
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.encoders.openvino_forward import converted, core, cpu_settings, forward_by
from preprocess.encoders.torch_encoder import Forward, TorchEncoder
from preprocess.errors import SettingsError, UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.processed import Processed
from preprocess.formats.triple_files import read_triple
from preprocess.pipeline.settings import EncodeOptions, resolve_encoding
from preprocess.recipes import load
from tests.encoders.small_models import MODELS
from tests.media_files import write_video

pytest.importorskip("openvino", reason="OpenVINO is not installed: make dev")

LEAST = 0.9995


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def trained(tiny_clip: Path) -> tuple[ModelFiles, NDArray[np.uint8]]:
    """A trained model, and pictures like those of its training: disks of several sizes, places and colors."""
    files = resolve(str(tiny_clip))
    height, width, _ = encoder_spec(files).frame_shape
    y, x = np.mgrid[:height, :width]
    shapes = []
    for i in range(24):
        inside = (x - 12 - 2 * i % (width - 24)) ** 2 + (y - height // 2) ** 2 < (4 + i % 9) ** 2
        color = np.array([[250, 30, 30], [30, 250, 30], [40, 60, 250]][i % 3], np.uint8)
        shapes.append(np.where(inside[..., None], color, np.uint8(20 + 5 * i)))
    return files, np.stack(shapes).astype(np.uint8)


@pytest.fixture(scope="module", params=list(families()))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("models") / request.param
    folder.mkdir()
    MODELS[request.param](folder)
    return resolve(str(folder))


def pictures(files: ModelFiles, count: int = 5) -> NDArray[Any]:
    spec = encoder_spec(files)
    random = np.random.default_rng(7).integers(0, 256, (count, *spec.frame_shape), dtype=np.uint8)
    if spec.preprocessing.frame_dtype == np.uint8:
        return random
    return (random / 255).astype(np.float32)


def centered_cosines(a: NDArray[np.float32], b: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    a, b = a - mean, b - mean
    cosines: NDArray[np.float32] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return cosines


def test_every_family_gives_the_vectors_of_torch(files: ModelFiles) -> None:
    pixels = pictures(files)
    expected = load_encoder(files, "cpu", "fp32", 4).encode(pixels)
    exact = load_encoder(files, "cpu", "fp32", 4, "openvino").encode(pixels)
    np.testing.assert_allclose(exact, expected, atol=1e-5 * np.abs(expected).max())
    fast = load_encoder(files, "cpu", "bf16", 4, "openvino").encode(pixels)
    assert centered_cosines(fast, expected, np.zeros(1, np.float32)).min() >= LEAST
    assert fast.dtype == np.float32
    assert not np.array_equal(fast, exact) or not torch.backends.mkldnn.is_available() or not has_bf16()


def has_bf16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_a_row_does_not_depend_on_what_is_beside_it(files: ModelFiles) -> None:
    pixels = pictures(files)
    for precision in {"bf16", "int8"}.intersection(encoder_spec(files).precisions):
        encoder = load_encoder(files, "cpu", precision, 4, "openvino")
        together, reversed_ = encoder.encode(pixels), encoder.encode(np.ascontiguousarray(pixels[::-1]))
        alone = np.concatenate([encoder.encode(pixels[i : i + 1]) for i in range(len(pixels))])
        assert together.tobytes() == reversed_[::-1].tobytes() == alone.tobytes()


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("int8", 0.99)])
def test_the_trained_model_keeps_its_quality(
    trained: tuple[ModelFiles, NDArray[np.uint8]], precision: Precision, least: float
) -> None:
    """On weights that were trained, and with the mean taken away, which vectors have in common whatever is seen."""
    files, pixels = trained
    expected = load_encoder(files, "cpu", "fp32", 8).encode(pixels)
    fast = load_encoder(files, "cpu", precision, 8, "openvino").encode(pixels)
    assert centered_cosines(fast, expected, expected.mean(0)).min() >= least


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_rounded_to_half_a_step_of_their_output(axis: int) -> None:
    weights = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32)
    weights *= np.arange(20 if axis == 0 else 12, dtype=np.float32).reshape((1, -1) if axis == 0 else (-1, 1))
    quantized, scales = quantized_weights(weights, axis)
    largest = np.abs(weights).max(axis, keepdims=True)
    assert quantized.dtype == np.int8
    assert scales.shape == largest.shape
    assert (scales > 0).all()
    assert np.abs(quantized).max(axis).tolist() == [0, *[127] * (largest.size - 1)]  # the first has weights of 0 alone
    assert (np.abs(quantized * scales - weights) <= largest / 254 * 1.001).all()


def test_all_weights_of_products_are_int8(trained: tuple[ModelFiles, NDArray[np.uint8]]) -> None:
    """Computed in fp32, the quantized model is that of torch with its weights rounded in the same way."""
    files, pixels = trained
    spec = encoder_spec(files)
    load = functools.partial(family(spec.family).load, files)

    def plain_with(forward: Forward) -> TorchEncoder:
        return TorchEncoder(files.id, spec, lambda *_: forward, "cpu", "fp32", 8)

    model = core().read_model(converted(load, files, spec, 8, files.sha256()))
    quantize_weights(model)
    exact = {**cpu_settings("int8"), "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    forward = forward_by(core().compile_model(model, "CPU", exact))
    found = plain_with(forward).encode(pixels)

    from transformers import CLIPVisionModelWithProjection

    reference = CLIPVisionModelWithProjection.from_pretrained(files.folder).eval()
    plain = plain_with(lambda values: reference(values).image_embeds)
    unchanged = plain.encode(pixels)
    for layer in reference.modules():
        if isinstance(layer, torch.nn.Linear):
            steps = layer.weight.data.abs().amax(1, keepdim=True) / 127
            layer.weight.data = (layer.weight.data / steps).round() * steps
    expected = plain.encode(pixels)
    near = np.abs(expected - found).max()
    assert near < np.abs(expected - unchanged).max() / 20

    ran = load_encoder(files, "cpu", "int8", 8, "openvino").encode(pixels)
    assert not np.array_equal(ran, load_encoder(files, "cpu", "bf16", 8, "openvino").encode(pixels))
    if cpu_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"}:  # inputs are rounded, too
        only_weights = {**cpu_settings("int8"), "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
        forward = forward_by(core().compile_model(model, "CPU", only_weights))
        assert not np.array_equal(ran, plain_with(forward).encode(pixels))


CONVERT_AT_ONCE = """
import sys
import numpy as np
from preprocess.encoders import load_encoder
from preprocess.encoders.models import resolve

encoder = load_encoder(resolve(sys.argv[1]), "cpu", "fp32", 2, "openvino")
pixels = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
print(encoder.encode(pixels).tobytes().hex(), "transformers.models.siglip.modeling_siglip" in sys.modules)
"""


def test_one_of_the_processes_converts_and_later_ones_need_no_transformers(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    MODELS["siglip"](tmp_path / "model")
    argv = [sys.executable, "-c", CONVERT_AT_ONCE, str(tmp_path / "model")]
    environment = {**os.environ, "HOME": str(tmp_path)}
    at_once = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    printed = [process.communicate(timeout=280)[0].split() for process in at_once]
    later = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=280, check=True)
    assert {vectors for vectors, _ in (*printed, later.stdout.split())} == {printed[0][0]}
    assert sorted(imported for _, imported in printed) == ["False", "True"]
    assert later.stdout.split()[1] == "False"
    cache = tmp_path / ".cache" / "video-embedding-datasets" / "openvino"
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


LOAD_AND_FREE = """
import signal, sys
import numpy as np
from preprocess.encoders import load_encoder
from preprocess.encoders.models import resolve

first, second = (load_encoder(resolve(sys.argv[1]), "cpu", "fp32", 2, "openvino") for _ in range(2))
for encoder in (first, second):
    encoder.encode(np.zeros((1, 32, 32, 3), np.uint8))
del encoder, first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_handled_when_encoders_have_ended(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    MODELS["siglip"](tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_FREE, tmp_path / "model"], capture_output=True, text=True, timeout=280
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def build(root: Path, raw: Path, out: Path, model: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preprocess", "build", "folder", "--raw", raw, "--out", out, "--model", model]
    return subprocess.run(
        list(map(str, [*command, "--fps", 5, *options])), cwd=root, capture_output=True, text=True, timeout=280
    )


def test_a_build_says_so_and_goes_on_with_it(root: Path, small_clip: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for seed, frames in enumerate((12, 31, 7)):
        write_video(raw / "train" / f"v{seed}.mp4", frames, seed=seed)
    for workers, out in ((1, "one"), (2, "two")):
        done = build(
            root, raw, tmp_path / out, small_clip, "--engine", "openvino", "--precision", "bf16", "--workers", workers
        )
        assert done.returncode == 0, done.stderr
    one, two = (Layout(tmp_path / out, "CLIP-Folder") for out in ("one", "two"))
    tars = sorted(path.relative_to(one.dataset) for path in one.dataset.rglob("*.tar"))
    assert tars
    assert all((one.dataset / tar).read_bytes() == (two.dataset / tar).read_bytes() for tar in tars)

    manifest = json.loads((one.dataset / "manifest.json").read_text())
    assert manifest["encoder"]["engine"] == "openvino"
    assert manifest["encoder"]["precision"] == "bf16"
    import openvino

    assert openvino.__version__.startswith(manifest["versions"]["openvino"])

    write_video(raw / "train" / "later.mp4", 9, seed=9)
    done = build(root, raw, tmp_path / "one", small_clip)  # without the option
    assert done.returncode == 0, done.stderr
    assert "1 triples written, 3 kept" in done.stdout
    assert read_json(one.encoding)["encoder"]["engine"] == "openvino"
    done = build(root, raw, tmp_path / "one", small_clip, "--engine", "torch")
    assert done.returncode == 2
    assert "encoder.engine = 'openvino', not 'torch'" in done.stderr

    done = build(root, raw, tmp_path / "int8", small_clip, "--engine", "openvino", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "int8" / "CLIP-Folder" / "manifest.json").read_text())
    assert manifest["encoder"]["precision"] == "int8"
    layout = Layout(tmp_path / "int8", "CLIP-Folder")
    key = next(key for key in Processed(layout.processed).keys("train") if "v0" in key)
    alone = embed(raw / "train" / "v0.mp4", model=str(small_clip), fps=5, engine="openvino", precision="int8")
    assert alone.vectors.tobytes() == read_triple(layout.processed, "train", key).vectors.tobytes()

    for out in ("one", "int8"):
        again = [sys.executable, "-m", "preprocess", "recheck", "folder", "--out", str(tmp_path / out), "-n", "9"]
        checked = subprocess.run(again, cwd=root, capture_output=True, text=True, timeout=280)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    done = build(root, raw, tmp_path / "torch", small_clip, "--precision", "fp32", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    plain = Layout(tmp_path / "torch", "CLIP-Folder")
    assert "engine" not in read_json(plain.encoding)["encoder"]
    keys = Processed(one.processed).keys("train")
    assert len(keys) == 4
    for key in keys:
        fast, exact = (read_triple(layout.processed, "train", key).vectors for layout in (one, plain))
        zero = np.zeros(1, np.float32)
        assert centered_cosines(fast.astype(np.float32), exact.astype(np.float32), zero).min() >= LEAST


def test_an_output_made_with_torch_is_not_continued_with_another_engine(tmp_path: Path, tiny_clip: Path) -> None:
    spec, layout = load("folder").SPEC, Layout(tmp_path, "CLIP-Folder")
    before = resolve_encoding(spec, layout, EncodeOptions(model=str(tiny_clip)))
    layout.encoding.parent.mkdir(parents=True)
    layout.encoding.write_text(json.dumps(before.record))
    with pytest.raises(SettingsError, match=r"encoder.engine = 'torch', not 'openvino'"):
        resolve_encoding(spec, layout, EncodeOptions(model=str(tiny_clip), engine="openvino"))


def test_what_the_engine_cannot_do_is_said(root: Path, small_clip: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "train" / "v.mp4", 3)
    refused = {
        ("--engine", "openvino", "--precision", "fp16"): "engine 'openvino' does not compute in fp16",
        ("--engine", "openvino", "--device", "cuda"): "device 'cuda'",
        ("--engine", "opnvino"): "Did you mean 'openvino'",
        ("--precision", "int8"): "engine 'torch' does not compute in int8. Use --engine openvino, or --precision fp32",
    }
    if not torch.cuda.is_available():
        for options, message in refused.items():
            done = build(root, tmp_path / "raw", tmp_path / "out", small_clip, *options)
            assert done.returncode == 2, done.stderr
            assert message in done.stderr
            assert not (tmp_path / "out" / "CLIP-Folder").exists()
    with pytest.raises(UserError, match=r"runs on CPUs only, not on 'cuda:1'"):
        engine_device("openvino", "cuda:1")
    with pytest.raises(UserError, match=r"runs on CPUs only, not on 'cuda'"):
        embed(tmp_path / "raw" / "train" / "v.mp4", model=str(small_clip), engine="openvino", device="cuda")


def test_a_missing_engine_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed\. Run pip install -r requirements-openvino\.txt"):
        check_engine("openvino")


def test_a_model_that_cannot_be_converted_ends_with_one_line(small_clip: Path) -> None:
    from preprocess.encoders.openvino_forward import load_openvino

    def load_tower(device: torch.device, dtype: torch.dtype) -> Any:
        return lambda pixels: torch.linalg.eigvals(pixels[:, 0]).real

    files = resolve(str(small_clip))
    with pytest.raises(UserError, match=r"OpenVINO cannot convert model 'small-clip'.*Use --engine torch"):
        load_openvino(load_tower, files, encoder_spec(files), "fp32", 3, "0" * 64)


def test_a_family_that_was_not_judged_is_not_encoded_in_int8(tmp_path: Path) -> None:
    MODELS["siglip"](tmp_path)
    with pytest.raises(UserError, match=r"not known to be safe in int8\. Use --precision fp32 or bf16 or fp16"):
        load_encoder(resolve(str(tmp_path)), "cpu", "int8", 4, "openvino")

"""Every discovered family against `transformers` itself: its processor, a plain forward pass, and its text tower."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from dataset_cards.evaluation.zero_shot import Logits
from preprocess.encoders import PRECISIONS, encoder_spec, families, load_encoder, load_text_tower
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import UserError
from preprocess.media.transforms import resize_crop
from tests.encoders.small_models import MODELS

NAMES = list(families())
WITH_TEXT = [name for name in NAMES if families()[name].text is not None]
SIZES = [(96, 128), (97, 131), (40, 32), (200, 24), (24, 200), (5, 3), (1, 1)]
TEXTS = ["a red circle", "A Blue Ring", "a video of a ring moving left", "red", "a red circle"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in NAMES:
        made[name] = tmp_path_factory.mktemp("models") / f"small-{name}"
        made[name].mkdir()
        MODELS[name](made[name])
    return made


@pytest.fixture(params=NAMES)
def files(request: pytest.FixtureRequest, folders: dict[str, Path]) -> ModelFiles:
    return resolve(str(folders[request.param]))


LOAD_AT_ONCE = """
import sys, threading
from preprocess.encoders import load_encoder, load_text_tower
from preprocess.encoders.models import resolve

files = resolve(sys.argv[1])
start, loaded = threading.Barrier(8), []

def run(load):
    start.wait()
    loaded.append(load(files))

threads = [threading.Thread(target=run, args=(load,)) for load in [load_encoder, load_text_tower] * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(loaded))
"""


def test_threads_of_a_fresh_process_load_at_once(folders: dict[str, Path]) -> None:
    """As on a machine with several GPUs, where `transformers` has not been imported before."""
    argv = [sys.executable, "-c", LOAD_AT_ONCE, str(folders["siglip"])]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert ended.stdout.strip() == "8", ended.stderr


def test_every_family_has_a_small_model() -> None:
    assert sorted(MODELS) == NAMES


def picture(height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(height * 10_007 + width)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def processed(files: ModelFiles, images: list[NDArray[np.uint8]]) -> torch.Tensor:
    """`(N, 3, H, W)`: what the model's own processor makes of images, as `transformers` finds and runs it."""
    if (files.folder / "video_preprocessor_config.json").is_file():
        processor = transformers.AutoVideoProcessor.from_pretrained(files.folder)
        videos = [torch.from_numpy(image)[None].permute(0, 3, 1, 2) for image in images]
        return torch.cat([processor(videos=[v], return_tensors="pt")["pixel_values_videos"][0] for v in videos])
    processor = transformers.AutoImageProcessor.from_pretrained(files.folder)
    pil = [Image.fromarray(image) for image in images]
    return processor(images=pil, return_tensors="pt")["pixel_values"].reshape(len(images), 3, *frame_size(files))


def frame_size(files: ModelFiles) -> tuple[int, int]:
    return encoder_spec(files).preprocessing.frame_size


def normalized(files: ModelFiles, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """What an encoder does to frames before the model."""
    own = encoder_spec(files).preprocessing
    values = pixels if own.rescale_first else pixels.astype(np.float32) * np.float32(own.rescale_factor)
    return ((values - np.float32(own.mean)) / np.float32(own.std)).transpose(0, 3, 1, 2)


def plain_forward(files: ModelFiles, batch: NDArray[Any]) -> NDArray[np.float32]:
    """`AutoModel` on one item after another, as the documentation of `transformers` shows it."""
    model = transformers.AutoModel.from_pretrained(files.folder).eval()
    rows = []
    for item in batch:
        frames = torch.from_numpy(normalized(files, item if item.ndim == 4 else item[None]))
        with torch.no_grad():
            if item.ndim == 3 and hasattr(model, "get_image_features"):
                found = model.get_image_features(pixel_values=frames).pooler_output
            elif item.ndim == 3:
                found = model(pixel_values=frames).pooler_output
            elif hasattr(model, "get_video_features"):
                found = model.get_video_features(pixel_values=frames[None]).pooler_output
            else:
                found = model(pixel_values_videos=frames[None]).last_hidden_state.mean(dim=1)
        rows.append(found.numpy())
    return np.concatenate(rows)


def random_batch(files: ModelFiles, n: int) -> NDArray[Any]:
    spec = encoder_spec(files)
    pixels = np.random.default_rng(0).integers(0, 256, (n, *spec.frame_shape), dtype=np.uint8)
    return (pixels / 255).astype(np.float32) if spec.preprocessing.rescale_first else pixels


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    result: NDArray[Any] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_frames_are_those_of_the_models_own_processor(files: ModelFiles, size: tuple[int, int]) -> None:
    image = picture(*size)
    preprocessing = encoder_spec(files).preprocessing
    frame = resize_crop(preprocessing)(image)
    assert frame.dtype == preprocessing.frame_dtype
    assert frame.shape == (*preprocessing.frame_size, 3)
    theirs = processed(files, [image])[0].numpy().transpose(1, 2, 0)
    undone = theirs.astype(np.float64) * preprocessing.std + preprocessing.mean
    if preprocessing.rescale_first:
        np.testing.assert_allclose(frame, undone, atol=3e-7)
    else:  # the processor's floats, taken back to bytes, are our bytes
        np.testing.assert_allclose(undone / preprocessing.rescale_factor, frame, atol=1e-3)
    np.testing.assert_allclose(normalized(files, frame[None])[0].transpose(1, 2, 0), theirs, atol=2e-6)


def test_fp32_equals_a_plain_forward(files: ModelFiles) -> None:
    batch = random_batch(files, 5)
    encoder = load_encoder(files, "cpu", "fp32", batch_size=2)
    vectors = encoder.encode(batch)
    assert vectors.shape == (5, encoder.dim) == (5, encoder_spec(files).dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, plain_forward(files, batch), atol=1e-5)
    assert np.std(vectors, axis=0).min() > 1e-3, "rows that are all alike would pass any comparison"


def test_bf16_stays_close(files: ModelFiles) -> None:
    batch = random_batch(files, 5)
    vectors = load_encoder(files, "cpu", "bf16", batch_size=8).encode(batch)
    assert cosines(vectors, plain_forward(files, batch)).min() >= 0.9995


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_depends_on_its_own_pixels_only(files: ModelFiles, precision: Any) -> None:
    pixels = random_batch(files, 9)
    encoder = load_encoder(files, "cpu", precision, batch_size=4)
    whole = encoder.encode(pixels)
    order = np.random.default_rng(1).permutation(len(pixels))
    np.testing.assert_array_equal(encoder.encode(pixels[order]), whole[order])
    for i in (0, 3, 8):
        np.testing.assert_array_equal(encoder.encode(pixels[i : i + 1])[0], whole[i])


def test_pixels_of_another_shape_or_type_are_named(files: ModelFiles) -> None:
    encoder = load_encoder(files)
    wrong = np.zeros((1, *encoder.frame_shape[:-1], 4), encoder.frame_dtype)
    with pytest.raises(ValueError, match=r"pixels must be .* \(N, .*got .* pixels.shape = "):
        encoder.encode(wrong)
    with pytest.raises(ValueError, match="got int16"):
        encoder.encode(np.zeros((1, *encoder.frame_shape), np.int16))  # type: ignore[arg-type]


def test_number_formats_that_are_not_safe_are_refused(files: ModelFiles) -> None:
    for precision in set(PRECISIONS) - set(encoder_spec(files).precisions):
        with pytest.raises(UserError, match=f"not known to be safe in {precision}"):
            load_encoder(files, "cpu", precision)  # type: ignore[arg-type]


def test_models_of_texts_have_a_text_tower_and_probabilities(files: ModelFiles) -> None:
    spec = encoder_spec(files)
    assert spec.has_text == (spec.family in WITH_TEXT) == (spec.probabilities is not None)
    assert (spec.unit == "clip") == (spec.clip_frames > 1)


def plain_texts(files: ModelFiles, texts: list[str]) -> NDArray[np.float32]:
    """One text after another through `AutoTokenizer` and `AutoModel`, padded as the family was trained."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(files.folder)
    model = transformers.AutoModel.from_pretrained(files.folder).eval()
    rows = []
    for text in texts:
        if encoder_spec(files).probabilities == "sigmoid":
            tokens = tokenizer(
                [text.lower()], padding="max_length", max_length=12, truncation=True, return_tensors="pt"
            )
            tokens = {"input_ids": tokens["input_ids"]}
        else:
            tokens = tokenizer([text], truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            rows.append(model.get_text_features(**tokens).pooler_output.numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_texts_are_encoded_as_a_plain_forward_does(folders: dict[str, Path], name: str) -> None:
    files = resolve(str(folders[name]))
    tower = load_text_tower(files)
    found = tower.encode(TEXTS)
    theirs = plain_texts(files, TEXTS)
    assert tower.dim == encoder_spec(files).dim
    np.testing.assert_allclose(found, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-2)
    model = transformers.AutoModel.from_pretrained(files.folder)
    assert tower.scale == pytest.approx(model.logit_scale.exp().item())
    assert tower.bias == pytest.approx(getattr(model, "logit_bias", torch.zeros(1)).item())
    tower.encode(["word " * 100])  # longer than the model can take: cut


@pytest.mark.parametrize("name", [name for name in WITH_TEXT if name != "xclip"])  # its texts depend on the video
def test_zero_shot_probabilities_are_the_models_own(folders: dict[str, Path], name: str) -> None:
    """Against `logits_per_image` of the whole model, turned into probabilities as its documentation does."""
    files = resolve(str(folders[name]))
    images, texts = random_batch(files, 3), ["red", "blue ring", "a circle"]
    tower = load_text_tower(files)
    vectors = load_encoder(files).encode(images)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = Logits(tower.probabilities, tower.scale, tower.bias).probabilities(vectors, tower.encode(texts))
    tokenizer = transformers.AutoTokenizer.from_pretrained(files.folder)
    padding = "max_length" if tower.probabilities == "sigmoid" else True
    tokens = tokenizer(texts, padding=padding, max_length=12, truncation=True, return_tensors="pt")
    inputs = {key: tokens[key] for key in (["input_ids"] if padding == "max_length" else list(tokens))}
    model = transformers.AutoModel.from_pretrained(files.folder).eval()
    with torch.no_grad():
        logits = model(pixel_values=torch.from_numpy(normalized(files, images)), **inputs).logits_per_image
    own = logits.sigmoid() if padding == "max_length" else logits.softmax(dim=-1)
    np.testing.assert_allclose(found, own.numpy(), atol=1e-5)
    assert np.ptp(found) > 1e-3

"""The tiny CLIP as anyone would use it: `from_pretrained`, PyAV frames, a plain forward."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    CLIPModel,
    CLIPProcessor,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)
from transformers.utils import logging as transformers_logging

from preprocess.demo import train
from preprocess.demo.prompts import TEMPLATES, UNSEEN_TEMPLATES, build_tokenizer, prompt
from preprocess.demo.render import render_frames, write_video
from preprocess.demo.scenes import SEED, SIZE, Scene, demo_plan, labels, with_article

TEST_CLIPS = [clip for clip in demo_plan() if clip.split == "test"]
ARTICLES = [with_article(label) for label in labels()]


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "preprocess" / "demo" / "tiny_clip"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(folder: Path) -> CLIPModel:
    return CLIPModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def processor(folder: Path) -> CLIPProcessor:
    return CLIPProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def test_videos(tmp_path_factory: pytest.TempPathFactory) -> list[list[NDArray[np.uint8]]]:
    """The demo's test split, rendered and read back: each fourth frame of each clip."""
    raw = tmp_path_factory.mktemp("demo")
    videos = []
    for clip in TEST_CLIPS:
        write_video(raw / clip.media, render_frames(clip.scene, clip.n_frames, SIZE, (SEED, clip.number)), 12)
        with av.open(raw / clip.media) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        videos.append(frames[::4])
    return videos


@torch.inference_mode()
def clip_vectors(model: CLIPModel, processor: CLIPProcessor, videos: list[list[NDArray[np.uint8]]]) -> torch.Tensor:
    means = []
    for frames in videos:
        vectors = model.get_image_features(**processor(images=frames, return_tensors="pt")).pooler_output
        means.append(torch.nn.functional.normalize(vectors, dim=-1).mean(dim=0))
    return torch.nn.functional.normalize(torch.stack(means), dim=-1)


@torch.inference_mode()
def text_vectors(model: CLIPModel, processor: CLIPProcessor, texts: list[str]) -> torch.Tensor:
    inputs = processor(text=texts, padding=True, return_tensors="pt")
    return torch.nn.functional.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)


@pytest.fixture(scope="module")
def videos(model: CLIPModel, processor: CLIPProcessor, test_videos: list[list[NDArray[np.uint8]]]) -> torch.Tensor:
    return clip_vectors(model, processor, test_videos)


@pytest.mark.parametrize(
    "template",
    ["{}", "a photo of {}", "a picture of {}.", "a video of {} moving left", "a photo of {}, a type of thing."],
)
def test_zero_shot_top1_on_the_demo_test_split(
    model: CLIPModel, processor: CLIPProcessor, videos: torch.Tensor, template: str
) -> None:
    texts = text_vectors(model, processor, [template.format(a) for a in ARTICLES])
    nearest = (videos @ texts.T).argmax(dim=1).tolist()
    truth = [labels().index(clip.scene.label) for clip in TEST_CLIPS]
    assert np.mean(np.equal(nearest, truth)) > 0.9


def test_captions_find_their_videos(model: CLIPModel, processor: CLIPProcessor, videos: torch.Tensor) -> None:
    texts = text_vectors(model, processor, [clip.scene.caption for clip in TEST_CLIPS])
    right = torch.arange(len(TEST_CLIPS))
    assert ((texts @ videos.T).argmax(dim=1) == right).float().mean() > 0.9
    assert ((videos @ texts.T).argmax(dim=1) == right).float().mean() > 0.9


def test_motion_and_filler_move_a_text_less_than_colour_or_shape(model: CLIPModel, processor: CLIPProcessor) -> None:
    same = ["a red circle moving left", "a red circle moving up", "a photo of the red circle"]
    other = ["a blue circle moving left", "a red ring moving left"]
    cosine = text_vectors(model, processor, same) @ text_vectors(model, processor, same + other).T
    assert cosine[:, : len(same)].min() > cosine[:, len(same) :].max() + 0.1


def test_the_text_is_read_where_its_end_stands_whatever_follows(model: CLIPModel, processor: CLIPProcessor) -> None:
    text = "a red circle"
    tokenizer = processor.tokenizer
    ids = tokenizer(text)["input_ids"]
    assert ids.count(tokenizer.eos_token_id) == 1
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    config = model.config.text_config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        output = model.text_model(**tokenizer([text, "x " * 30], padding=True, return_tensors="pt"))
    torch.testing.assert_close(output.pooler_output[0], output.last_hidden_state[0, len(ids) - 1])
    alone = text_vectors(model, processor, [text])[0]
    padded = text_vectors(model, processor, [text, "x " * 30])[0]
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=0)


def test_any_text_has_tokens(processor: CLIPProcessor) -> None:
    tokenizer = processor.tokenizer
    for text in ("", "Über 人 🎬 naïve façade", "don't §%&/()= 1234", "\u0000\u200b", "word " * 500):
        ids = tokenizer(text, truncation=True)["input_ids"]
        assert 2 <= len(ids) <= 77
        assert tokenizer.eos_token_id not in ids[:-1], "an unknown piece became the end of the text"
    assert tokenizer.decode(tokenizer("A Photo of a zebra's 2 étoiles")["input_ids"], skip_special_tokens=True) == (
        "a photo of a zebra 's 2 étoiles"
    )


def test_the_stored_tokenizer_is_the_script_s(folder: Path) -> None:
    stored, built = AutoTokenizer.from_pretrained(folder), build_tokenizer()
    assert stored.get_vocab() == built.get_vocab()
    for word in ("orange", "photo", "moving", "an", *labels()[-1].split()):
        assert stored.tokenize(word) == [word + "</w>"]
    texts = [prompt(t, Scene("orange", "ring", "up")) for t in (*TEMPLATES, *UNSEEN_TEMPLATES)]
    assert stored(texts)["input_ids"] == built(texts)["input_ids"]


def test_every_class_finds_all_of_its_weights(folder: Path, model: CLIPModel, caplog: pytest.LogCaptureFixture) -> None:
    transformers_logging.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING):
            whole, whole_report = AutoModel.from_pretrained(folder, output_loading_info=True)
            auto = AutoProcessor.from_pretrained(folder)
        assert not [record.getMessage() for record in caplog.records]
    finally:
        transformers_logging.disable_propagation()
    vision, vision_report = CLIPVisionModelWithProjection.from_pretrained(folder, output_loading_info=True)
    text, text_report = CLIPTextModelWithProjection.from_pretrained(folder, output_loading_info=True)
    for report in (whole_report, vision_report, text_report):
        assert not report["missing_keys"]
        assert not report["mismatched_keys"]
    # What a tower does not take is the other tower's.
    assert not whole_report["unexpected_keys"]
    assert all(key.startswith(("text_", "logit_scale")) for key in vision_report["unexpected_keys"])
    assert all(key.startswith(("vision_", "visual_", "logit_scale")) for key in text_report["unexpected_keys"])
    assert isinstance(whole, CLIPModel)
    assert isinstance(auto, CLIPProcessor)

    pixels = torch.rand(2, 3, 64, 64)
    inputs = auto(text=["a red circle", "a blue ring"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        image_embeds = vision(pixel_values=pixels).image_embeds
        torch.testing.assert_close(image_embeds, model.get_image_features(pixel_values=pixels).pooler_output)
        torch.testing.assert_close(text(**inputs).text_embeds, model.get_text_features(**inputs).pooler_output)
    assert image_embeds.shape == (2, 512)
    assert image_embeds.dtype == torch.float32


def test_the_folder_is_small_and_says_what_it_is(folder: Path) -> None:
    files = {p.name: p.stat().st_size for p in folder.iterdir()}
    assert set(files) == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(files.values()) <= 8_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "motion" in card
    assert "$" not in card, "a blank of the template was left open"
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert preprocessor["size"] == {"shortest_edge": 64}
    assert preprocessor["crop_size"] == {"height": 64, "width": 64}


def test_the_stored_image_processor_is_the_script_s(processor: CLIPProcessor) -> None:
    assert processor.image_processor.to_dict() == train.build_image_processor().to_dict()


def test_training_normalises_as_the_processor_does(processor: CLIPProcessor) -> None:
    frame = render_frames(Scene("red", "star", "up"), 1, size=(64, 64), seed=1)[0]
    expected = processor(images=[frame], return_tensors="pt")["pixel_values"]
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
    torch.testing.assert_close(train.normalise(pixels, processor.image_processor), expected, atol=1e-5, rtol=0)


def test_training_lowers_the_loss_and_is_settled_by_its_seed() -> None:
    tokenizer, processor = build_tokenizer(), train.build_image_processor()
    pool = train.render_pool(1, (9, 9), processor)
    assert pool.pixels.shape == (64, train.FRAMES_PER_CLIP, 3, 64, 64)
    again = train.render_pool(1, (9, 9), processor)
    torch.testing.assert_close(pool.pixels, again.pixels, atol=0, rtol=0)

    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = train.build_model(tokenizer)
        losses = train.train(model, tokenizer, processor, pool, steps=12, seed=seed)
        runs.append((losses, model.state_dict()))
    (losses, weights), (losses_again, weights_again), (losses_other, _) = runs
    assert losses == losses_again != losses_other
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert losses[0] == pytest.approx(np.log(64), abs=0.15), "an untrained model is at chance"
    assert np.mean(losses[-2:]) < losses[0] - 0.15


def test_a_batch_holds_each_class_once_and_its_texts_name_them() -> None:
    scenes = [scene for scene in train.classes() for _ in range(2)]
    marks = torch.arange(128, dtype=torch.uint8)[:, None, None, None, None].expand(128, 2, 3, 64, 64)
    for pixels, texts in train.batches(train.Pool(scenes, marks), 3, np.random.default_rng(0)):
        assert pixels.shape == (64, 3, 64, 64)
        for mark, text, label in zip(pixels[:, 0, 0, 0].tolist(), texts, labels(), strict=True):
            assert scenes[int(mark)].label == label
            assert label in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_script_trains_such_a_model_again(tmp_path: Path, root: Path, folder: Path) -> None:
    out = tmp_path / "tiny_clip"
    command = [sys.executable, "-m", "preprocess.demo.train", "--out", str(out), "--seed", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert {p.name for p in out.iterdir()} == {p.name for p in folder.iterdir()}
    shares = [float(line.split()[-1]) for line in done.stdout.splitlines() if "{" in line]
    assert len(shares) == 6
    assert min(shares) > 0.95

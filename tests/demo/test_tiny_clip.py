"""The embedded tiny CLIP, used through `from_pretrained`, PyAV frames and a plain forward pass."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModel,
    AutoProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)
from transformers.utils import logging as transformers_logging

from preprocess.demo.plan import DemoVideo, demo_plan
from preprocess.demo.render import render_video, write_video
from preprocess.demo.scenes import FPS, labels, with_article

CLIPS = [video for video in demo_plan() if video.clip]
CLEAR_CLIPS = [clip for clip in CLIPS if clip.split == "train"]
TEST_CLIPS = [clip for clip in CLIPS if clip.split == "test"]
ARTICLES = [with_article(label) for label in labels()]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tiny_clip: Path) -> CLIPModel:
    return CLIPModel.from_pretrained(tiny_clip).eval()


@pytest.fixture(scope="module")
def processor(tiny_clip: Path) -> CLIPProcessor:
    return CLIPProcessor.from_pretrained(tiny_clip)


def decode(clips: list[DemoVideo], raw: Path) -> list[list[NDArray[np.uint8]]]:
    """Clips of the demo, rendered and read back: three or more frames of each."""
    videos = []
    for clip in clips:
        write_video(raw / clip.media, render_video(clip), FPS)
        with av.open(raw / clip.media) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        videos.append(frames[:: FPS // 2])
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
def clear(model: CLIPModel, processor: CLIPProcessor, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The vectors of the clear clips."""
    return clip_vectors(model, processor, decode(CLEAR_CLIPS, tmp_path_factory.mktemp("clear")))


def top1(clips: list[DemoVideo], videos: torch.Tensor, texts: torch.Tensor) -> float:
    """The share of clips whose label is the nearest of all."""
    truth = [labels().index(clip.scenes[0].scene.label) for clip in clips]
    return float(np.mean(np.equal((videos @ texts.T).argmax(dim=1).tolist(), truth)))


@pytest.mark.parametrize(
    "template",
    ["{}", "a photo of {}", "a picture of {}.", "a video of {} moving left", "a photo of {}, a type of thing."],
)
def test_zero_shot_top1_on_clear_clips(
    model: CLIPModel, processor: CLIPProcessor, clear: torch.Tensor, template: str
) -> None:
    texts = text_vectors(model, processor, [template.format(a) for a in ARTICLES])
    assert top1(CLEAR_CLIPS, clear, texts) > 0.9


def test_the_test_split_is_harder(model: CLIPModel, processor: CLIPProcessor, tmp_path: Path) -> None:
    videos = clip_vectors(model, processor, decode(TEST_CLIPS, tmp_path))
    texts = text_vectors(model, processor, [f"a video of {a}" for a in ARTICLES])
    assert 0.5 < top1(TEST_CLIPS, videos, texts) < 0.9


def test_captions_find_their_videos(model: CLIPModel, processor: CLIPProcessor, clear: torch.Tensor) -> None:
    texts = text_vectors(model, processor, [clip.scenes[0].scene.caption for clip in CLEAR_CLIPS])
    right = torch.arange(len(CLEAR_CLIPS))
    assert ((texts @ clear.T).argmax(dim=1) == right).float().mean() > 0.9
    assert ((clear @ texts.T).argmax(dim=1) == right).float().mean() > 0.9


def test_motion_and_filler_move_a_text_less_than_color_or_shape(model: CLIPModel, processor: CLIPProcessor) -> None:
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


def test_every_class_finds_all_of_its_weights(
    tiny_clip: Path, model: CLIPModel, caplog: pytest.LogCaptureFixture
) -> None:
    transformers_logging.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING):
            whole, whole_report = AutoModel.from_pretrained(tiny_clip, output_loading_info=True)
            auto = AutoProcessor.from_pretrained(tiny_clip)
        assert not [record.getMessage() for record in caplog.records]
    finally:
        transformers_logging.disable_propagation()
    vision, vision_report = CLIPVisionModelWithProjection.from_pretrained(tiny_clip, output_loading_info=True)
    text, text_report = CLIPTextModelWithProjection.from_pretrained(tiny_clip, output_loading_info=True)
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


def test_the_folder_is_small_and_says_what_it_is(tiny_clip: Path) -> None:
    files = {p.name: p.stat().st_size for p in tiny_clip.iterdir()}
    assert set(files) == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(files.values()) <= 8_000_000
    card = (tiny_clip / "README.md").read_text(encoding="utf-8")
    assert "motion" in card
    assert "$" not in card, "a placeholder of the template was not filled"
    preprocessor = json.loads((tiny_clip / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert preprocessor["size"] == {"shortest_edge": 64}
    assert preprocessor["crop_size"] == {"height": 64, "width": 64}

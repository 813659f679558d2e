"""The script that trained the tiny CLIP: it gives the stored tokenizer and processor, learns, and is deterministic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPProcessor

from preprocess.demo.render import render_frames
from preprocess.demo.scenes import Disturbance, ShapeScene, labels
from tools.tiny_clip import train
from tools.tiny_clip.prompts import TEMPLATES, UNSEEN_TEMPLATES, build_tokenizer, prompt

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def processor(tiny_clip: Path) -> CLIPProcessor:
    return CLIPProcessor.from_pretrained(tiny_clip)


def test_the_stored_tokenizer_matches_the_script(tiny_clip: Path) -> None:
    stored, built = AutoTokenizer.from_pretrained(tiny_clip), build_tokenizer()
    assert stored.get_vocab() == built.get_vocab()
    for word in ("orange", "photo", "moving", "an", *labels()[-1].split()):
        assert stored.tokenize(word) == [word + "</w>"]
    texts = [prompt(t, ShapeScene("orange", "ring", "up")) for t in (*TEMPLATES, *UNSEEN_TEMPLATES)]
    assert stored(texts)["input_ids"] == built(texts)["input_ids"]


def test_the_stored_image_processor_matches_the_script(processor: CLIPProcessor) -> None:
    assert processor.image_processor.to_dict() == train.build_image_processor().to_dict()


def test_training_normalizes_as_the_processor_does(processor: CLIPProcessor) -> None:
    frame = render_frames(ShapeScene("red", "star", "up"), 1, size=(64, 64), seed=1)[0]
    expected = processor(images=[frame], return_tensors="pt")["pixel_values"]
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
    torch.testing.assert_close(train.normalize(pixels, processor.image_processor), expected, atol=1e-5, rtol=0)


def test_training_lowers_the_loss_and_is_determined_by_its_seed() -> None:
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


def test_a_deeper_model_and_disturbed_clips_are_made_the_same_way() -> None:
    processor = train.build_image_processor()
    vision = train.build_model(build_tokenizer(), layers=5, width=64).config.vision_config
    assert (vision.num_hidden_layers, vision.hidden_size, vision.num_attention_heads) == (5, 64, 2)
    clear = train.render_pool(1, (9, 9), processor)
    hazy = train.render_pool(1, (9, 9), processor, lambda _: Disturbance(haze=0.9))
    assert hazy.scenes == clear.scenes
    assert hazy.pixels.float().std() < 0.5 * clear.pixels.float().std()


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
def test_the_script_trains_such_a_model_again(tmp_path: Path, root: Path, tiny_clip: Path) -> None:
    out = tmp_path / "tiny_clip"
    command = [sys.executable, "-m", "tools.tiny_clip.train", "--out", str(out), "--seed", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert {p.name for p in out.iterdir()} == {p.name for p in tiny_clip.iterdir()}
    shares = [float(line.split()[-1]) for line in done.stdout.splitlines() if "{" in line]
    assert len(shares) == 6
    assert min(shares) > 0.95

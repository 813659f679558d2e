"""The length of text embeddings: an episode divides into the mini-batches that it is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from preprocess.long_video import commands
from preprocess.long_video.folder import Folder, read_rows
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.jsonl import frame_settings
from preprocess.long_video.lengths import MOST_TOKENS, fitting_tokens


@pytest.mark.parametrize(("seconds", "tokens"), [(3, 498), (9, 502), (18, 471), (30, 497), (63, 458)])
def test_the_stages_have_the_lengths_of_the_published_configurations(seconds: int, tokens: int) -> None:
    """`txt_maxlen` of ttt-video-dit's configs/eval/ttt-mlp/<stage>.toml."""
    assert fitting_tokens(seconds, FrameFormat()) == (tokens, 64)


@pytest.mark.parametrize("frames", [FrameFormat(), FrameFormat(height=64, width=96), FrameFormat(fps=8, height=256)])
@pytest.mark.parametrize("seconds", [3, 6, 9, 12, 18, 24, 30, 63])
def test_every_episode_divides_into_its_mini_batches(seconds: int, frames: FrameFormat) -> None:
    tokens, mini_batch = fitting_tokens(seconds, frames)
    latent_frames = frames.fps * seconds // 4 + 1
    per_frame = frames.height // 16 * (frames.width // 16)
    whole = latent_frames * per_frame + seconds // 3 * tokens
    assert whole % mini_batch == 0
    assert MOST_TOKENS - 64 < tokens <= MOST_TOKENS
    larger = range(tokens + 1, MOST_TOKENS + 1)
    assert not any((latent_frames * per_frame + seconds // 3 * n) % mini_batch == 0 for n in larger)


def test_some_lengths_fit_smaller_mini_batches_only() -> None:
    assert fitting_tokens(12, FrameFormat())[1] == 2


def test_each_stage_gets_texts_of_its_length(copy: Folder, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both in one folder, and the JSONL names those of its stage."""
    commands.text(copy.root, model=str(models), precision="fp32", device="cpu", overwrite=True)
    printed = capsys.readouterr().out
    frames = frame_settings(copy)
    commands.jsonl(copy.root)
    commands.check(copy.root)
    for seconds in copy.stages():
        tokens, mini_batch = fitting_tokens(seconds, frames)
        assert mini_batch == 64
        assert f"{tokens} tokens a text in episodes of {seconds} s\n" in printed
        for _, row in read_rows(copy.train(seconds)):
            for name in row["text_chunk_emb"]:
                assert name.startswith(f"text/{tokens}/")
                assert torch.load(copy.root / name, weights_only=True).shape == (tokens, 32)


def test_a_length_that_does_not_fit_is_said(copy: Folder, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.text(copy.root, model=str(models), precision="fp32", device="cpu", max_tokens=493, overwrite=True)
    assert "493 tokens a text in episodes of 3 s; train with mini_batch_size = " in capsys.readouterr().out

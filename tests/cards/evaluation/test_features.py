"""Which rows become videos, and what their vectors are."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_cards.evaluation.features import frame_blocks, one_per_video, read_videos, unit


def row(key: str, vectors: np.ndarray, text: str = "a text", **meta: object):
    return f"vid_{key}", vectors.astype(np.float16), text, {"key": key, "captions": ["one", "two"], **meta}


def frames(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 4)) * 5


def test_vectors_are_pooled_in_both_ways() -> None:
    own = frames(3).astype(np.float16)
    videos = read_videos([row("a", own, label="x")], 1, 4, "first")
    exact = own.astype(np.float64)
    np.testing.assert_allclose(videos.mean[0], exact.mean(0), rtol=1e-5)
    pooled = (exact / np.linalg.norm(exact, axis=1, keepdims=True)).mean(0)
    np.testing.assert_allclose(videos.direction[0], pooled / np.linalg.norm(pooled), rtol=1e-5)
    assert (videos.keys, videos.labels, videos.captions) == (("a",), ("x",), (("one", "two"),))


def test_a_video_without_frames_is_passed_over() -> None:
    videos = read_videos([row("a", frames(0)), row("b", frames(2))], 2, 4, "first")
    assert videos.keys == ("b",)
    assert videos.direction.shape == (1, 4)
    assert np.isfinite(videos.mean).all()


@pytest.mark.parametrize(
    ("mode", "captions"),
    [
        ("first", ("one", "two")),
        ("join", ("one", "two")),
        ("each", ("one", "two")),
        ("concat", ("a text",)),
    ],
)
def test_caption_modes(mode: str, captions: tuple[str, ...]) -> None:
    assert read_videos([row("a", frames(1))], 3, 4, mode).captions == (captions,)


def test_a_triple_per_caption_is_one_video() -> None:
    rows = [row("a", frames(1), "one"), row("b", frames(2)), row("a", frames(1), "two")]
    assert [(r[3]["key"], r[2]) for r in one_per_video(rows)] == [("a", "one"), ("b", "a text")]


def test_frame_blocks_lose_nothing() -> None:
    own = [frames(1 + i % 5, seed=i) for i in range(20)]
    rows = [row(f"k{i}", v, label=None if i == 3 else f"l{i}") for i, v in enumerate(own)]
    rows.insert(5, row("empty", frames(0), label="l"))
    blocks = list(frame_blocks(rows, frames=7))
    assert len(blocks) > 3
    assert [label for _, _, labels in blocks for label in labels] == [f"l{i}" for i in range(20) if i != 3]
    cut = [part for block, starts, _ in blocks for part in np.split(block, starts[1:])]
    for part, whole in zip(cut, [v for i, v in enumerate(own) if i != 3], strict=True):
        np.testing.assert_allclose(part, unit(whole.astype(np.float16).astype(np.float32)), rtol=1e-6)

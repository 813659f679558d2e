"""Every measure against an independent implementation, and against cases whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score

from dataset_cards.evaluation.features import unit
from dataset_cards.evaluation.leakage import nearest, worst
from dataset_cards.evaluation.linear_probe import fit_blockwise, fit_sklearn, probe_ranks
from dataset_cards.evaluation.metrics import accuracy, ranks, recalls, share_within
from dataset_cards.evaluation.retrieval import retrieval, text_to_video_ranks, video_to_text_ranks
from dataset_cards.evaluation.zero_shot import (
    IMAGE_TEMPLATES,
    Logits,
    class_weights,
    frame_ranks,
    frame_scores,
    pooled_ranks,
    read_templates,
    strongest_labels,
)
from preprocess.errors import UserError


def gaussian(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_ranks_by_hand() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    assert ranks(scores, np.array([2, 0, 0])).tolist() == [2, 1, 2.5]


def test_a_model_that_says_nothing_is_at_chance() -> None:
    places = ranks(np.zeros((10, 7)), np.arange(10) % 7)
    assert places.tolist() == [4.0] * 10
    assert accuracy(places) == {"top1": 0.0, "top5": 1.0, "mean": 0.5}


def test_accuracy_is_scikit_learns() -> None:
    scores, targets = gaussian(0, 200, 12), np.random.default_rng(1).integers(12, size=200)
    found = accuracy(ranks(scores, targets))
    top1, top5 = (top_k_accuracy_score(targets, scores, k=k, labels=range(12)) for k in (1, 5))
    assert found == pytest.approx({"top1": top1, "top5": top5, "mean": (top1 + top5) / 2})


def test_recalls_by_hand() -> None:
    found = recalls(np.array([1, 1, 4, 8, 30.0]))
    assert found == {"R@1": 0.4, "R@5": 0.6, "R@10": 0.8, "median_rank": 4.0, "mean_rank": 8.8}


# --- zero-shot --------------------------------------------------------------------------------------------------------


def laion_zero_shot(videos: list[np.ndarray], weights: np.ndarray, scale: float) -> torch.Tensor:
    """One video at a time, as temporal-embedding-aggregation's `zero_shot_evaluation` scores it."""
    scores = []
    for video in videos:
        emb = torch.from_numpy(video)[None].clone()
        emb /= emb.norm(dim=-1, keepdim=True)
        similarity = (scale * emb @ torch.from_numpy(weights).T).softmax(dim=-1)
        scores.append(similarity.mean(dim=1)[0])
    return torch.stack(scores)


def test_frame_scores_are_laions() -> None:
    videos = [gaussian(i, 1 + i % 5, 16) for i in range(40)]
    weights = unit(gaussian(99, 9, 16))
    starts = np.cumsum([0, *(len(v) for v in videos[:-1])])
    expected = laion_zero_shot(videos, weights, 15.0).numpy()
    found = frame_scores(unit(np.concatenate(videos)), starts, weights, Logits("softmax", 15.0))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    labels = [f"c{i}" for i in range(9)]
    own = [labels[i % 9] for i in range(40)]
    halves = [
        (unit(np.concatenate(v)), np.cumsum([0, *map(len, v[:-1])]), o)
        for v, o in ((videos[:15], own[:15]), (videos[15:], own[15:]))
    ]
    places = frame_ranks(halves, weights, labels, Logits("softmax", 15.0))
    targets = np.arange(40) % 9
    for k in (1, 5):
        in_top = torch.from_numpy(expected).topk(k, 1)[1].eq(torch.from_numpy(targets)[:, None]).any(1)
        assert share_within(places, k) == pytest.approx(in_top.float().mean().item())


def test_sigmoid_scores_are_averaged_over_frames() -> None:
    """Per label on its own: a frame may show several labels, or none."""
    weights = np.eye(2, dtype=np.float32)
    frames = unit(np.array([[1, 1], [1, -1], [-1, -1]], np.float32))
    logits = 5.0 * torch.from_numpy(frames) - 2.0
    own = logits.sigmoid().numpy()
    found = frame_scores(frames, np.array([0, 2]), weights, Logits("sigmoid", 5.0, -2.0))
    np.testing.assert_allclose(found, [own[:2].mean(axis=0), own[2]], atol=1e-6)
    assert found[1].sum() < 0.1


def test_sigmoids_do_not_overflow() -> None:
    weights = np.array([[1.0, 0.0]], np.float32)
    frames = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert Logits("sigmoid", 1e4).probabilities(frames, weights).tolist() == [[1.0], [0.0]]


def test_frames_outvote_the_mean() -> None:
    """Two frames say a, one says b loudly: the mean direction says b, the mean of softmaxes says a."""
    weights = np.eye(2, dtype=np.float32)
    frames = np.array([[1, 0.9], [1, 0.9], [0, 1]], np.float32)
    own = unit(frames)
    scores = frame_scores(own, np.array([0]), weights, Logits("softmax", 100.0))
    assert scores[0, 0] > 0.6
    assert pooled_ranks(unit(own.mean(0, keepdims=True)), weights, np.array([0])).tolist() == [2.0]


def test_class_weights_average_the_prompts() -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts], np.float32)

    found = class_weights(["crab_nebula", "{x}"], ["{}", "a {}."], encode)
    assert asked == ["crab nebula", "a crab nebula.", "{x}", "a {x}."]
    first = np.array([[11, 1], [14, 1]]) / np.linalg.norm([[11, 1], [14, 1]], axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], first.sum(0) / np.linalg.norm(first.sum(0)), rtol=1e-6)


def test_templates(tmp_path) -> None:
    assert len(read_templates()) >= 8
    assert len(read_templates(IMAGE_TEMPLATES)) >= 8
    assert not any("video" in prompt or "clip" in prompt for prompt in read_templates(IMAGE_TEMPLATES))
    file = tmp_path / "prompts.txt"
    file.write_text("a {}\n\n  b {}  \n")
    assert read_templates(file) == ("a {}", "b {}")
    for bad in ("", "no place", "{} and {}"):
        file.write_text(bad)
        with pytest.raises(UserError, match="exactly once"):
            read_templates(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_templates(tmp_path / "absent.txt")


# --- linear probe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_linear_probe_is_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(0)
    centres = gaussian(1, classes, 12)
    y = np.arange(400) % classes
    x = (centres[y] + 1.5 * rng.standard_normal((400, 12))).astype(np.float32)
    names = [f"n{c}" for c in range(classes)]
    model = LogisticRegression(random_state=0, C=0.316, max_iter=1000).fit(x[:300], [names[i] for i in y[:300]])
    (places,) = probe_ranks(x[:300], [names[i] for i in y[:300]], [(x[300:], [names[i] for i in y[300:]])])
    assert share_within(places, 1) == pytest.approx(model.score(x[300:], [names[i] for i in y[300:]]))
    if classes > 5:
        top5 = top_k_accuracy_score([names[i] for i in y[300:]], model.predict_proba(x[300:]), k=5, labels=names)
        assert share_within(places, 5) == pytest.approx(top5)


def test_blockwise_solver_finds_the_same_weights() -> None:
    y = np.arange(500) % 6
    x = (gaussian(1, 6, 10)[y] + 2 * gaussian(2, 500, 10)).astype(np.float32)
    weights, bias = fit_sklearn(x, y)
    ours, our_bias = fit_blockwise(x, y, 6, block=64)  # 500 = 7 · 64 + 52
    np.testing.assert_allclose(ours, weights, atol=5e-3)
    np.testing.assert_allclose(our_bias - our_bias.mean(), bias - bias.mean(), atol=5e-3)
    assert np.abs(weights).max() > 0.3


def test_a_label_that_train_does_not_have_is_never_found() -> None:
    x = np.repeat(np.eye(2, dtype=np.float32) * 9, 10, axis=0)
    (places,) = probe_ranks(x, ["a"] * 10 + ["b"] * 10, [(x[:2], ["a", "z"])])
    assert places.tolist() == [1.0, np.inf]
    assert accuracy(places)["top5"] == 0.5


def test_the_strongest_labels_include_the_videos_own() -> None:
    weights = np.eye(5, dtype=np.float32)
    vectors = np.array([[5, 4, 3, 2, 1], [5, 4, 3, 2, 1]], np.float32)
    logits = Logits("softmax", 10.0)
    for own, expected in ((0, [0, 1, 2]), (2, [0, 1, 2]), (4, [0, 1, 4])):
        labels, shares = strongest_labels(vectors, weights, logits, own, shown=3)
        assert labels == expected
        np.testing.assert_allclose(shares, logits.probabilities(unit(vectors), weights)[:, expected])


# --- retrieval --------------------------------------------------------------------------------------------------------


def laion_ranks(videos: np.ndarray, texts: np.ndarray, captions: int) -> dict[str, np.ndarray]:
    """The ranks of `get_metrics` in temporal-embedding-aggregation, written out by sorting; the same number of
    captions for each video."""
    scores = torch.from_numpy(texts.reshape(len(videos), captions, -1)) @ torch.from_numpy(videos).T  # v n t
    by_text = scores.permute(1, 0, 2)
    by_video = by_text.max(dim=0)[0].T[None]
    found = {}
    for name, logits in {"text_to_video": by_text, "video_to_text": by_video}.items():
        order = torch.argsort(torch.argsort(logits, dim=-1, descending=True), dim=-1)
        found[name] = torch.diagonal(order, dim1=-1, dim2=-2).flatten().numpy() + 1
    return found


@pytest.mark.parametrize("captions", [1, 3])
def test_retrieval_is_laions(captions: int) -> None:
    videos = unit(gaussian(5, 60, 8))
    texts = unit(np.repeat(videos, captions, axis=0) + 0.4 * gaussian(6, 60 * captions, 8))
    found = retrieval(videos, texts, [captions] * 60)
    for name, places in laion_ranks(videos, texts, captions).items():
        expected = {f"R@{k}": np.mean(places <= k) for k in (1, 5, 10)}
        expected |= {"mean_rank": places.mean(), "median_rank": np.median(places)}
        assert found[name] == pytest.approx(expected)
        assert 0.2 < found[name]["R@1"] < 0.9


def test_retrieval_by_hand_with_several_captions() -> None:
    videos = np.eye(3, dtype=np.float32)
    texts = unit(np.array([[1, 0, 0], [0, 1, 0], [0.5, 1, 0], [0, 0.5, 0.4]], np.float32))
    owner = np.array([0, 1, 1, 2])
    assert text_to_video_ranks(videos, texts, owner, block=3).tolist() == [1, 1, 1, 2]
    # Video 1 is found by its first caption; video 2 is nearest to nobody else's caption.
    assert video_to_text_ranks(videos, texts, owner, block=2).tolist() == [1, 1, 1]


def test_equal_captions_share_their_place() -> None:
    videos = np.eye(2, dtype=np.float32)
    texts = np.array([[1, 0], [1, 0]], np.float32)
    found = retrieval(videos, texts, [1, 1])
    assert found["video_to_text"]["mean_rank"] == 1.5
    assert found["text_to_video"]["R@1"] == 0.5


# --- near-duplicates --------------------------------------------------------------------------------------------------


def test_the_first_of_equal_neighbors_is_named() -> None:
    """Copies of one video are as near as each other: the report must not depend on how the others are cut in blocks."""
    others = np.tile(unit(gaussian(9, 5, 6)), (4, 1))
    queries = others[[3, 0, 4]]
    for width in (1, 3, 5, 7, 99):
        assert nearest(queries, others, block=2, width=width).index.tolist() == [3, 0, 4]
    found = nearest(queries, others)
    assert worst(found, float(found.similarity.min()), n=3) == [0, 1, 2], (
        "at the threshold counts; ties keep their order"
    )


def test_nearest_is_brute_force() -> None:
    queries, others = unit(gaussian(7, 50, 6)), unit(gaussian(8, 130, 6))
    found = nearest(queries, others, block=16, width=32)
    cosines = queries @ others.T
    assert found.index.tolist() == cosines.argmax(1).tolist()
    np.testing.assert_allclose(found.similarity, cosines.max(1), rtol=1e-5)
    order = np.argsort(-cosines.max(1))
    assert worst(found, 0.0, n=3) == order[:3].tolist()
    assert worst(found, 1.1) == []

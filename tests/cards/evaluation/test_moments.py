"""Moments on curves whose answer is known; their measures against the numbers of QVHighlights' own evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_cards.evaluation.moment_retrieval import (
    TimedQuery,
    average_precision,
    evaluate_split,
    measures,
    random_windows,
)
from dataset_cards.evaluation.moments import find_moments, iou, runs_above, two_groups
from preprocess.errors import UserError
from preprocess.formats.times import caption_windows, row_spans

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "moment_retrieval.json").read_text())
QUERIES = [TimedQuery(np.array(q["truths"]), np.array(q["found"])) for q in FIXTURE["queries"]]


def test_measures_are_those_of_the_published_evaluation() -> None:
    found = measures(QUERIES)
    assert 100 * found["mAP"] == pytest.approx(FIXTURE["mAP"]["average"], abs=0.006)
    for threshold in ("0.5", "0.7"):
        assert 100 * found["R@1"][threshold] == pytest.approx(FIXTURE["R1"][threshold], abs=0.006)
    for query, expected in zip(QUERIES, FIXTURE["average_precision"], strict=True):
        assert average_precision(query).mean() == pytest.approx(expected, abs=1e-6)
    assert found["R@5"]["0.5"] >= found["R@1"]["0.5"]


def test_each_threshold_alone() -> None:
    for threshold, expected in FIXTURE["mAP"].items():
        if threshold != "average":
            mean = np.mean([average_precision(query, [float(threshold)]) for query in QUERIES])
            assert 100 * mean == pytest.approx(expected, abs=0.006)


def test_rows_meet_in_the_middle() -> None:
    meta = {"timestamps": [0.0, 1.0, 2.0, 3.0], "duration": 3.4}
    np.testing.assert_allclose(row_spans(meta), [[0, 0.5], [0.5, 1.5], [1.5, 2.5], [2.5, 3.4]])
    np.testing.assert_allclose(row_spans({**meta, "spans": [[0, 2], [1, 3], [2, 4], [3, 5]]})[1], [1, 3])
    np.testing.assert_allclose(row_spans({"timestamps": [30.0, 31.0], "duration": 2.0}), [[30, 30.5], [30.5, 32]])
    np.testing.assert_allclose(row_spans({"timestamps": [0.0], "duration": 0}), [[0, 0]])
    assert row_spans({"timestamps": [], "duration": 0}).shape == (0, 2)


@pytest.mark.parametrize("seed", range(20))
def test_two_groups_have_the_least_variance_within(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=2 + seed)
    ordered = np.sort(scores)
    cut = min(range(1, len(scores)), key=lambda k: k * ordered[:k].var() + (len(scores) - k) * ordered[k:].var())
    assert two_groups(scores) == pytest.approx((ordered[:cut].mean(), ordered[cut:].mean()))


def test_the_part_above_the_background_is_the_moment() -> None:
    spans = row_spans({"timestamps": list(range(12)), "duration": 12})
    scores = np.array([0.11, 0.12, 0.1, 0.27, 0.29, 0.28, 0.26, 0.12, 0.11, 0.21, 0.1, 0.12])
    best, *others = find_moments(scores, spans)
    assert best[:3] == (2.5, 6.5, 0.29)
    assert best.best == 4
    assert all(iou([best[:2]], [other[:2]])[0, 0] < 0.8 for other in others)
    assert (8.5, 9.5) in [other[:2] for other in others]
    assert find_moments(np.full(12, 0.2), spans)[0][:2] == (0, 12)
    assert find_moments(np.array([0.3]), spans[:1])[0][:2] == (0, 0.5)
    # What is far above the background for one query need not be for another: no absolute threshold is in it.
    assert find_moments(scores / 10 - 0.5, spans)[0][:2] == (2.5, 6.5)


def test_runs() -> None:
    assert runs_above(np.array([1, 0, 1, 1.0]), 0.5) == [(0, 1), (2, 4)]
    assert runs_above(np.zeros(3), 0.5) == []
    assert runs_above(np.ones(3), 0.5) == [(0, 3)]


def test_iou_of_windows() -> None:
    np.testing.assert_allclose(iou([[0, 2], [5, 5]], [[1, 3], [0, 2], [5, 5]]), [[1 / 3, 1, 0], [0, 0, 0]])


def test_times_of_captions() -> None:
    timed = {"captions": ["a", "b"], "caption_timestamps": [[0, 2.5], [3, 3]]}
    assert caption_windows(timed) == [[(0, 2.5)], []]
    didemo = {
        "captions": ["a"],
        "times": [[[1, 1], [1, 1], [0, 0], [4, 5]]],
        "num_segments": 6,
        "timestamps": [float(i) for i in range(28)],
        "duration": 27.5,
    }
    assert caption_windows(didemo) == [[(5, 10)]]
    assert caption_windows({**didemo, "times": [[[0, 0], [4, 5]]]}) == [[(0, 5), (20, 27.5)]]
    assert caption_windows({"captions": ["a"]}) is None
    with pytest.raises(UserError, match="2 captions and 1 times"):
        caption_windows({**timed, "caption_timestamps": [[0, 1]]})


def test_a_split_is_evaluated_beside_chance() -> None:
    meta = {
        "captions": ["first", "second", "no time"],
        "caption_timestamps": [[0, 4], [4, 10], [3, 3]],
        "timestamps": [float(i) for i in range(10)],
        "duration": 10.0,
    }
    rows = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], [4, 6], axis=0)
    texts = {"first": [1.0, 0.1, 0], "second": [0.1, 1.0, 0]}

    def encode(captions):
        vectors = np.array([texts[caption] for caption in captions], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    untimed = ("vid_1", rows, "x", {"captions": ["x"], "timestamps": list(range(10))})
    found = evaluate_split([("vid_0", rows, "first", meta), untimed], encode)
    assert found is not None
    assert (found["queries"], found["videos"]) == (2, 1)
    assert found["R@1"] == {"0.5": 1.0, "0.7": 1.0}
    assert found["chance"]["R@1"]["0.7"] < 0.5
    assert found["chance"]["mAP"] < found["mAP"]
    assert evaluate_split([untimed], encode) is None


def test_random_windows_lie_in_the_video() -> None:
    spans = row_spans({"timestamps": [0.0, 1.0, 2.0], "duration": 3.0})
    windows = random_windows(spans, np.random.default_rng(0))
    assert windows.shape == (10, 2)
    assert (windows[:, 0] < windows[:, 1]).all()
    assert set(windows.ravel()) <= set(spans.ravel())


def test_a_moment_that_repeats_a_better_one_is_dropped() -> None:
    """At the lower level the same part is found again, with one row more at each end."""
    scores = np.array([0.0] * 10 + [0.45] + [1.0] * 20 + [0.45] + [0.0] * 10, np.float32)
    spans = np.stack([np.arange(42.0), np.arange(42.0) + 1], axis=1)
    assert [moment[:2] for moment in find_moments(scores, spans)] == [(11.0, 31.0)]
    scores[14] = 0.1  # now the parts at the levels differ by more than a fifth
    assert len(find_moments(scores, spans)) > 1


def test_recall_counts_the_first_moments() -> None:
    found = np.array([[20.0, 30], [40, 50], [60, 70], [0, 10], [80, 90], [0, 9]])
    result = measures([TimedQuery(np.array([[0.0, 10]]), found), TimedQuery(np.array([[20.0, 30]]), found)])
    assert (result["R@1"], result["R@5"]) == ({"0.5": 0.5, "0.7": 0.5}, {"0.5": 1.0, "0.7": 1.0})
    late = TimedQuery(np.array([[0.0, 9]]), np.array([[20.0, 30]] * 5 + [[0, 9]]))
    assert measures([late])["R@5"] == {"0.5": 0.0, "0.7": 0.0}

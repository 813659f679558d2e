"""Search against sorting every cosine in float64, and the ten planted sentences of the demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_cards.evaluation.moments import iou
from explorer import search as searching
from explorer.approximate import FILE, ApproximateShortlist
from explorer.index import Index
from explorer.models import QueryModel
from explorer.samples import Query
from explorer.search import ExactShortlist, Searcher
from preprocess.demo.plan import PLANTED, demo_plan
from preprocess.encoders import devices
from preprocess.errors import UnknownNameError, UserError
from tests.cards.small import random_vectors, samples
from tests.explorer.conftest import Make, directions


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def reference(index: Index, vector) -> list[tuple[int, float]]:
    """Samples by their best row, from the stored rows in float64."""
    best = []
    for number in range(len(index)):
        rows = index.vectors[index.rows(number)].astype(np.float64)
        if len(rows):
            best.append((number, float((rows @ vector / np.linalg.norm(rows, axis=1)).max())))
    return sorted(best, key=lambda pair: -pair[1])


@pytest.mark.parametrize(("flag", "dtype"), [("avx512_bf16", "torch.float16"), ("amx_bf16", "torch.bfloat16")])
def test_the_best_videos_are_those_of_an_exhaustive_comparison(
    make_index: Make, monkeypatch: pytest.MonkeyPatch, flag: str, dtype: str
) -> None:
    monkeypatch.setattr(searching, "LARGE_ROWS", 0)
    monkeypatch.setattr(devices, "cpu_flags", lambda: frozenset({flag}))
    monkeypatch.setattr(searching, "BLOCK_ROWS", 64)
    index = make_index(samples(120), lambda i, s: directions(1 + i % 5, 32, i), dim=32)
    searcher = Searcher(index)
    assert str(ExactShortlist(index)._rows.dtype) == dtype
    for seed in range(5):
        vector = unit(directions(1, 32, 1000 + seed)[0].astype(np.float32))
        expected = reference(index, vector)[:10]
        hits = searcher.find(Query(vector, "q"), 10)
        assert [hit.number for hit in hits] == [number for number, _ in expected]
        np.testing.assert_allclose([hit.moment.score for hit in hits], [score for _, score in expected], atol=1e-5)


def test_split_label_and_left_out_samples(make_index: Make) -> None:
    index = make_index(samples(40), random_vectors)
    searcher, query = Searcher(index), Query(unit(np.arange(8.0)), "q")
    found = searcher.find(query, 100, split="val", label="class 1")
    assert found
    assert {(index.sample(h.number).split, index.sample(h.number).label) for h in found} == {("val", "class 1")}
    everything = searcher.find(query, 100)
    assert len(everything) == 40
    assert len(searcher.find(query, 100, without=[everything[0].number])) == 39
    with pytest.raises(UnknownNameError, match=r"unknown label 'klass 1'\. Did you mean 'class 1'"):
        searcher.find(query, label="klass 1")


def test_videos_without_rows_are_not_found(make_index: Make) -> None:
    index = make_index(samples(6), lambda i, s: np.zeros((0, 8), np.float16) if i % 2 else random_vectors(i, s))
    assert len(Searcher(index).find(Query(unit(np.ones(8)), "q"), 10)) == 3


def test_the_ten_planted_sentences_are_found_first(scenes_index: Index, scenes_model: QueryModel) -> None:
    searcher, overlaps = Searcher(scenes_index), []
    for scene in PLANTED:
        video, window = next(
            (v, w) for v in demo_plan() for part, w in zip(v.scenes, v.windows, strict=True) if part.scene == scene
        )
        hit = searcher.find(scenes_model.text(scene.caption), 1)[0]
        assert scenes_index.sample(hit.number).key == video.key
        assert window[0] <= hit.best_s < window[1]
        overlaps.append(iou([hit.moment[:2]], [window])[0, 0])
    assert sum(overlap >= 0.5 for overlap in overlaps) >= 9


def test_an_image_and_a_moment_find_their_own_video(scenes, scenes_index: Index, scenes_model: QueryModel) -> None:
    from preprocess.media.sampling import Sampling
    from preprocess.media.video import read_video

    source = scenes.work / "raw" / "test" / "scenes_112.mp4"
    frame = read_video(source, Sampling.fps(1)).frames.pixels[7]
    path = scenes.out / "frame.png"
    Image.fromarray(frame).save(path)
    for query in (scenes_model.image(path), scenes_index.query_at("scenes_112@7")):
        hit = Searcher(scenes_index).find(query, 1)[0]
        assert (scenes_index.sample(hit.number).key, hit.best_s) == ("scenes_112", 7.0)
        assert hit.moment.score > 0.99


@pytest.mark.parametrize(
    ("sentence", "cause"), [("x" * 100_000, "100,000 characters"), ("", "empty"), (" \n\t", "empty")]
)
def test_a_query_that_is_refused_takes_one_line(scenes_model: QueryModel, sentence: str, cause: str) -> None:
    with pytest.raises(UserError, match=cause) as error:
        scenes_model.text(sentence)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_an_image_bomb_is_refused(scenes_model: QueryModel, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30_000, 30_000)).save(bomb)
    assert bomb.stat().st_size < 1_000_000
    text = tmp_path / "text.png"
    text.write_text("<svg onload=alert(1)>")
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(20_000_001))
    for path, cause in (
        (bomb, "pixels|30000"),
        (text, "is not an image"),
        (large, "20,000,001"),
        (tmp_path / "none.png", "does not exist"),
    ):
        with pytest.raises(UserError, match=cause) as error:
            scenes_model.image(path)
        assert "\n" not in str(error.value)


def test_approximate_search_gives_what_exact_search_gives(make_index: Make, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed: make dev")
    centers = directions(12, 32, 5).astype(np.float32)
    near = lambda i, s: (centers[i % 12] + 0.3 * directions(4, 32, i)).astype(np.float16)  # noqa: E731
    index = make_index(samples(600), near, dim=32)
    ApproximateShortlist(index)
    printed = capsys.readouterr().err
    assert "recall@10 against exact search" in printed
    assert float(printed.split("exact search ")[1].split()[0]) > 0.95
    assert (index.folder / FILE).is_file()
    exact, fast = Searcher(index), Searcher(index, ApproximateShortlist(index))
    assert "recall" not in capsys.readouterr().err, "made once"
    for i in range(12):
        query = Query(unit(centers[i]), "center")
        wanted = {hit.number for hit in exact.find(query, 10)}
        assert len(wanted & {hit.number for hit in fast.find(query, 10)}) >= 9
        of_test = fast.find(query, 10, split="test")
        assert [index.sample(hit.number).split for hit in of_test] == ["test"] * 10
        assert of_test[0].number == exact.find(query, 1, split="test")[0].number


def test_a_timed_caption_is_shown_for_its_moment(scenes_index: Index) -> None:
    sample = scenes_index.sample(scenes_index.number("scenes_112"))
    broken = dataclasses.replace(sample, meta={**sample.meta, "caption_timestamps": "soon"})
    assert sample.windows is not None
    assert broken.windows is None

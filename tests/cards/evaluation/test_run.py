"""A dataset whose answers are known: the vectors of a video are those of its own label, by the model's own text tower.

The model has random weights: what is tested is that the right things are compared, not that they are alike.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dataset_cards import card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.evaluation.run import Options, evaluate
from dataset_cards.evaluation.text import encoder_files
from dataset_cards.prose import Prose
from dataset_cards.results import audit, sections, summary
from preprocess.encoders import TextTower, load_text_tower
from preprocess.encoders.models import resolve
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.samples import Sample
from tests.cards.small import ENCODING, SPEC, pack, samples

LABELS = ("red circle", "blue ring", "green star", "old tree", "fast car", "gray cat", "tall house")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights, saved as `save_pretrained` does, with a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model") / "small-clip"
    spoken = sorted(
        {word for label in LABELS for word in label.split()} | {"a", "video", "of", "clip", "number", "same"}
    )
    # Not 2 for the end: there `transformers` keeps an old way of finding the end of a text.
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "<unk>", "</s>", *spoken])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)])
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 24,
    }
    config = CLIPConfig(
        text_config={**size, "vocab_size": len(vocabulary), "max_position_embeddings": 16, "eos_token_id": 3,
                     "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**size, "image_size": 32, "patch_size": 16},
        projection_dim=24,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tower(model: Path) -> TextTower:
    return load_text_tower(resolve(str(model)))


@pytest.fixture
def build(model: Path, tower: TextTower, out: Path):
    """Packs samples whose frames are the label's (or caption's) text vector, with a little noise, at any length."""
    encoder = {**ENCODING["encoder"], "model": "small-clip", "dim": 24, "weights_sha256": resolve(str(model)).sha256()}

    def make(all_samples: list[Sample], by: str = "label", images: bool = False, **more) -> Layout:
        texts = [s.label if by == "label" else s.captions[0] for s in all_samples]
        rows = tower.encode([str(text) for text in texts])

        def vectors(i: int, sample: Sample) -> np.ndarray:
            noise = np.random.default_rng(i).standard_normal((1 if images else 1 + i % 4, 24))
            return ((rows[i] + 0.001 * noise) * (3 + i)).astype(np.float16)

        return pack(out, all_samples, vectors, encoding={**ENCODING, "encoder": encoder}, **more)

    return make


def labeled(n: int = 56) -> list[Sample]:
    return [dataclasses.replace(s, label=LABELS[i // 4 % len(LABELS)]) for i, s in enumerate(samples(n))]


def options(model: Path, **more) -> Options:
    return Options(model=str(model), templates=("{}",), **more)


def test_the_text_tower_is_the_models_own(model: Path, tower: TextTower) -> None:
    import torch
    from transformers import AutoTokenizer, CLIPModel

    whole = CLIPModel.from_pretrained(model).eval()
    texts = ["a video of red circle", "gray cat", "a video of red circle"]
    tokens = AutoTokenizer.from_pretrained(model)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = whole.text_projection(whole.text_model(**tokens).pooler_output)
    np.testing.assert_allclose(tower.encode(texts), found / found.norm(dim=-1, keepdim=True), atol=1e-6)
    assert tower.scale == pytest.approx(whole.logit_scale.exp().item())
    tower.encode(["word " * 100])  # longer than the model can take: cut


def test_known_answers(build, model: Path) -> None:
    layout = build(labeled())
    result = evaluate(layout, options(model))
    assert result == json.loads((layout.work / "evaluation.json").read_text())
    assert result["model"] == "small-clip"
    assert result["zero_shot"]["classes"] == 7
    for split in ("val", "test"):
        perfect = {"top1": 1.0, "top5": 1.0, "mean": 1.0}
        numbers = result["zero_shot"]["splits"][split]
        assert numbers == {"samples": 14, "frame": perfect, "pooled": perfect}
        assert result["linear_probe"]["splits"][split] == {"samples": 14, **perfect}
    assert result["linear_probe"]["train_samples"] == 28
    pairs = {(p["split"], p["other"]): p for p in result["leakage"]["pairs"]}
    assert set(pairs) == {("val", "train"), ("test", "train"), ("test", "val")}
    for pair in pairs.values():
        assert pair["near_duplicates"] == pair["videos"] == 14
        assert all(w["similarity"] >= 0.98 and w["key"] != w["other_key"] for w in pair["worst"])


@pytest.mark.parametrize(("what", "duration"), [("video", 1.0), ("image", 0.0)])
def test_an_image_is_a_photo_and_its_own_mean(build, model: Path, what: str, duration: float) -> None:
    layout = build(labeled(), images=what == "image", duration=lambda rows: duration)
    result = evaluate(layout, Options(model=str(model)))
    assert result["thing"] == what
    found = audit(result)
    assert found is not None
    text = "\n".join([found.text, *(f"{one.text} {one.table}" for one in sections(result))])
    assert ("a photo of" in text, "a video of" in text) == (what == "image", what == "video")
    assert ("mean vector" in text.lower()) == (what == "video")
    assert "vector" in text


def test_wrong_labels_are_seen(build, model: Path) -> None:
    """Shift the labels of the test split by one class: nothing is right there any more, and val is as it was."""
    shifted = [
        dataclasses.replace(s, label=LABELS[(LABELS.index(s.label) + 1) % 7]) if s.split == "test" else s
        for s in labeled()
    ]
    layout = build(labeled())
    for file in layout.dataset.glob("*"):
        file.unlink()
    rows = {s.key: s.label for s in labeled()}
    tower = load_text_tower(resolve(str(model)))
    encoder = {**ENCODING["encoder"], "model": "small-clip", "dim": 24, "weights_sha256": resolve(str(model)).sha256()}
    layout = pack(
        layout.out,
        shifted,
        lambda i, s: np.repeat(tower.encode([rows[s.key]]), 2, axis=0).astype(np.float16),
        encoding={**ENCODING, "encoder": encoder},
    )
    result = evaluate(layout, options(model))
    assert result["zero_shot"]["splits"]["test"]["frame"]["top1"] == 0.0
    assert result["zero_shot"]["splits"]["val"]["frame"]["top1"] == 1.0
    assert result["linear_probe"]["splits"]["test"]["top1"] == 0.0


def test_captions_find_their_videos(build, model: Path) -> None:
    words = [f"{a} {b}" for a in ("red", "blue", "green", "old") for b in ("circle", "ring", "star", "tree", "car")]
    ours = [dataclasses.replace(s, captions=(words[i],), label=None) for i, s in enumerate(samples(20))]
    result = evaluate(build(ours, by="caption"), options(model))
    assert set(result) & {"zero_shot", "linear_probe"} == set()
    for split in ("val", "test"):
        numbers = result["retrieval"]["splits"][split]
        assert (numbers["videos"], numbers["captions"]) == (5, 5)
        for way in ("text_to_video", "video_to_text"):
            assert numbers[way] == {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "median_rank": 1.0, "mean_rank": 1.0}


def test_captions_that_are_labels_are_no_retrieval(build, model: Path) -> None:
    ours = [dataclasses.replace(s, captions=(s.label,)) for s in labeled()]
    assert "retrieval" not in evaluate(build(ours), options(model))


def test_done_is_not_done_twice_and_other_shards_are(build, model: Path) -> None:
    layout = build(labeled())
    file = layout.work / "evaluation.json"
    first = evaluate(layout, options(model))
    stamp = file.stat().st_mtime_ns
    evaluate(layout, options(model))
    assert file.stat().st_mtime_ns == stamp
    build(labeled(40))
    second = evaluate(layout, options(model))
    assert second["dataset_sha256"] != first["dataset_sha256"]
    assert second["zero_shot"]["splits"]["test"]["samples"] == 10


def test_another_model_is_refused(build, model: Path, tmp_path: Path) -> None:
    layout = build(labeled())
    with pytest.raises(UserError, match="--model FOLDER"):
        evaluate(layout, Options(templates=("{}",)))
    encoder = json.loads((layout.dataset / "manifest.json").read_text())["encoder"]
    with pytest.raises(UserError, match="the weights of"):
        encoder_files({**encoder, "weights_sha256": "0" * 64}, str(model))


def shown(layout: Layout) -> str:
    return card.write_card(read_card_inputs(SPEC, layout, prose=Prose())).read_text()


def test_the_card_shows_what_was_run_and_nothing_else(build, model: Path) -> None:
    titles = {
        "zero-shot": "### Zero-shot Evaluation",
        "linear-probe": "### Linear-probe Evaluation",
        "retrieval": "### Retrieval",
        "leakage": "## Leakage Audit",
    }
    layout = build(labeled())
    assert not any(title in shown(layout) for title in [*titles.values(), "## Evaluation"])
    for task in titles:
        evaluate(layout, options(model, tasks=(task,)))
        page = shown(layout)
        assert [t for t, title in titles.items() if f"\n{title}\n" in page] == [task]
    evaluate(layout, options(model))
    page = shown(layout)
    assert all(f"\n{title}\n" in page for title in titles.values())
    assert "| test | 14 | frames | 100.0% | 100.0% | 100.0% |" in page
    assert "|  |  | chance | 14.3% | 71.4% | 42.9% |" in page
    assert shown(layout) == page


def test_the_terminal_shows_the_numbers_and_why_a_task_was_skipped(build, model: Path) -> None:
    text = summary("CLIP-Test", evaluate(build(labeled()), options(model)))
    lines = text.splitlines()
    assert lines[0] == "CLIP-Test, with small-clip"
    zero_shot = lines.index("Zero-shot Evaluation")
    assert lines[zero_shot + 1].split() == ["split", "samples", "scored", "by", "top-1", "top-5", "mean"]
    assert lines[zero_shot + 4].split() == ["test", "14", "frames", "100.0%", "100.0%", "100.0%"]
    assert "Near-duplicates across Splits" in lines
    assert "moments is skipped: no caption has a start and an end time" in lines


def test_no_labels_no_section(build, model: Path) -> None:
    layout = build([dataclasses.replace(s, label=None) for s in samples(20)], by="caption")
    evaluate(layout, options(model))
    page = shown(layout)
    assert "Retrieval" in page
    assert not re.search("zero-shot|linear-probe|classes with", page, re.IGNORECASE)


def test_an_evaluation_of_other_shards_is_not_shown(build, model: Path) -> None:
    layout = build(labeled())
    evaluate(layout, options(model))
    assert "## Embedding Quality" in shown(layout)
    build(labeled(40))
    assert "## Embedding Quality" not in shown(layout)


def reference(layout: Layout, key: str, tower: TextTower) -> tuple[np.ndarray, np.ndarray]:
    """The L2-normalized rows of a sample, read with `tarfile`, and its captions, each encoded on its own."""
    for path in sorted(layout.dataset.glob("ds_*.tar")):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".json") and (meta := json.loads(tar.extractfile(name).read()))["key"] == key:
                    rows = np.load(io.BytesIO(tar.extractfile(name[:-5] + ".npy").read())).astype(np.float32)
                    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
                    return unit, np.concatenate([tower.encode([caption]) for caption in meta["captions"]])
    raise AssertionError(key)


def test_timed_captions_are_searched_for_in_their_videos(build, model: Path) -> None:
    timed = {"caption_timestamps": [[0.0, 0.5], [0.5, 1.0]]}
    ours = [dataclasses.replace(s, label=None, meta={**s.meta, **timed}) for s in samples(20)]
    layout = build(ours, by="caption")
    found = evaluate(layout, options(model, tasks=("moments",)))["moments"]["splits"]
    assert {split: (n["queries"], n["videos"]) for split, n in found.items()} == {"val": (10, 5), "test": (10, 5)}
    strip = evaluate(layout, options(model, tasks=("moments",)))["moments"]["strip"]
    vectors, captions = reference(layout, strip["key"], load_text_tower(resolve(str(model))))
    np.testing.assert_allclose(strip["shares"], vectors @ captions.T, atol=2e-3)
    assert strip["windows"] == [[[0.0, 0.5]], [[0.5, 1.0]]]
    assert len(strip["bounds"]) == len(strip["timestamps"]) + 1 == len(vectors) + 1
    page = shown(layout)
    assert "### Moment Retrieval" in page
    assert ("![One Video over Time]" in page) == (len(vectors) > 1)
    assert re.search(r"\|  \|  \|  \| chance \| [0-9.]+% \|", page)
    assert "moments" not in evaluate(build(labeled()), options(model))

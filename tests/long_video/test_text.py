from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")

from preprocess.errors import DamagedFileError, UserError
from preprocess.long_video.components import find_component, load_text_encoder, load_tokenizer
from preprocess.long_video.text import (
    END,
    START,
    Prompt,
    Variant,
    add_scene_tokens,
    embed_prompts,
    load_scene_tokens,
    prompts_of,
    save_scene_tokens,
    token_ids,
)

TEXT = "a red circle moving left"
VARIANTS: list[tuple[Variant, str]] = [
    ("none", TEXT),
    ("start", f"<start_scene>{TEXT}"),
    ("end", f"{TEXT}<end_scene>"),
    ("both", f"<start_scene>{TEXT}<end_scene>"),
]


def load(models: Path) -> tuple[Any, Any]:
    tokenizer = load_tokenizer(find_component(str(models), "tokenizer"))
    return tokenizer, load_text_encoder(find_component(str(models), "text_encoder"), "cpu", torch.float32)


def test_scene_flags_call_for_variants() -> None:
    flags = [(False, False, "a"), (True, False, "b"), (False, True, "c"), (True, True, "d")]
    assert [p.variant for p in prompts_of(flags)] == ["none", "start", "end", "both"]
    assert [Prompt(TEXT, variant).tagged for variant, _ in VARIANTS] == [tagged for _, tagged in VARIANTS]
    names = {Prompt(text, variant).file for text in ("a", "b") for variant, _ in VARIANTS}
    assert len(names) == 8


@pytest.mark.parametrize("batch_size", [1, 3])
def test_embeddings_are_those_of_a_plain_forward(models: Path, batch_size: int) -> None:
    tokenizer, model = load(models)
    rows = add_scene_tokens(tokenizer, model, seed=3)
    prompts = [Prompt(TEXT, variant) for variant, _ in VARIANTS]
    ours = {p.variant: e for p, e, _ in embed_prompts(model, tokenizer, prompts, 493, batch_size)}

    plain_tokenizer = T5Tokenizer.from_pretrained(models / "tokenizer")
    plain = T5EncoderModel.from_pretrained(models / "text_encoder").eval()
    plain_tokenizer.add_special_tokens({"additional_special_tokens": [END, START]})  # as ttt-video-dit does
    plain.resize_token_embeddings(len(plain_tokenizer))
    with torch.no_grad():
        for token, row in rows.items():
            plain.get_input_embeddings().weight[plain_tokenizer.convert_tokens_to_ids(token)] = row
        for variant, tagged in VARIANTS:
            inputs = plain_tokenizer(tagged, padding="max_length", max_length=493, truncation=True, return_tensors="pt")
            expected = plain(input_ids=inputs.input_ids).last_hidden_state[0]
            assert expected.shape == (493, 32)
            torch.testing.assert_close(ours[variant], expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours["none"], ours["start"], atol=1e-3)
    assert not torch.allclose(ours["start"], ours["both"], atol=1e-3)


def test_an_embedding_does_not_depend_on_its_neighbours(models: Path) -> None:
    tokenizer, model = load(models)
    add_scene_tokens(tokenizer, model)
    prompts = [Prompt(text, "none") for text in ("a", "a red star", "moving", "up", "a blue ring")]
    alone = [embedding for p in prompts for _, embedding, _ in embed_prompts(model, tokenizer, [p], 16, 4)]
    together = [embedding for _, embedding, _ in embed_prompts(model, tokenizer, prompts, 16, 4)]
    assert len(together) == 5
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_scene_tokens_are_added_once_and_are_the_same_in_every_run(models: Path) -> None:
    tokenizer, model = load(models)
    before = len(tokenizer)
    rows = add_scene_tokens(tokenizer, model, seed=0)
    assert len(tokenizer) == before + 2
    assert tokenizer.convert_tokens_to_ids([END, START]) == [before, before + 1]
    ids = tokenizer(f"{START}a red circle{END}").input_ids
    assert ids.count(before + 1) == ids.count(before) == 1
    assert ids[0] == before + 1

    again = add_scene_tokens(tokenizer, model, seed=0)
    assert len(tokenizer) == before + 2
    assert all(torch.equal(rows[token], again[token]) for token in rows)
    fresh = add_scene_tokens(*load(models), seed=0)
    assert all(torch.equal(rows[token], fresh[token]) for token in rows)
    other = add_scene_tokens(*load(models), seed=1)
    assert not any(torch.equal(rows[token], other[token]) for token in rows)
    assert not torch.equal(rows[START], rows[END])


def test_rows_that_the_checkpoint_has_are_kept(models: Path) -> None:
    """T5's own checkpoints have 28 rows more than its tokenizer has tokens; ttt-video-dit takes the first two."""
    tokenizer, _ = load(models)
    torch.manual_seed(1)
    config = T5Config(vocab_size=len(tokenizer) + 28, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    model = T5EncoderModel(config)
    weight = model.get_input_embeddings().weight.detach().clone()
    rows = add_scene_tokens(tokenizer, model, seed=5)
    first = len(weight) - 28
    assert torch.equal(rows[END], weight[first])
    assert torch.equal(rows[START], weight[first + 1])
    assert torch.equal(model.get_input_embeddings().weight, weight)


def test_saved_rows_give_inference_the_same_embeddings(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "scene_tokens.safetensors"
    tokenizer, model = load(models)
    save_scene_tokens(path, add_scene_tokens(tokenizer, model, seed=11))
    first = path.read_bytes()
    save_scene_tokens(path, add_scene_tokens(*load(models), seed=11))
    assert path.read_bytes() == first

    later_tokenizer, later = load(models)
    load_scene_tokens(path, later_tokenizer, later)
    prompt = [Prompt(TEXT, "both")]
    ((_, ours, _),) = embed_prompts(model, tokenizer, prompt, 16, 1)
    ((_, theirs, _),) = embed_prompts(later, later_tokenizer, prompt, 16, 1)
    assert torch.equal(ours, theirs)

    save_scene_tokens(path, {END: torch.zeros(32), START: torch.zeros(8)})
    with pytest.raises(DamagedFileError, match=START):
        load_scene_tokens(path, *load(models))
    path.write_bytes(b"nothing")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        load_scene_tokens(path, *load(models))


@pytest.mark.parametrize("variant", ["none", "start", "end", "both"])
def test_a_text_that_is_too_long_loses_words_and_never_a_scene_token(models: Path, variant: Variant) -> None:
    tokenizer, model = load(models)
    add_scene_tokens(tokenizer, model)
    prompt = Prompt("moving " * 40, variant)
    ids, cut = token_ids(tokenizer, prompt, 12)
    assert cut
    assert len(ids) == 12
    assert ids[-1] == tokenizer.eos_token_id
    start, end = tokenizer.convert_tokens_to_ids([START, END])
    assert (ids[0] == start) == (variant in ("start", "both"))
    assert (ids[-2] == end) == (variant in ("end", "both"))
    if variant in ("none", "start"):
        assert ids == tokenizer(prompt.tagged, truncation=True, max_length=12).input_ids
    short, cut = token_ids(tokenizer, Prompt("up", variant), 12)
    assert not cut
    assert short == tokenizer(Prompt("up", variant).tagged, padding="max_length", max_length=12).input_ids


def test_t5s_own_sentencepiece_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf", reason="requirements-long-video.txt is not installed")
    spm = pytest.importorskip("sentencepiece", reason="requirements-long-video.txt is not installed")
    model = io.BytesIO()
    sentences = ["a red circle moving left", "a blue star moving up and down", "an orange heart"] * 5
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
    )
    (tmp_path / "spiece.model").write_bytes(model.getvalue())
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": 100, "tokenizer_class": "T5Tokenizer"}')
    tokenizer = load_tokenizer(find_component(str(tmp_path), "tokenizer"))
    processor = spm.SentencePieceProcessor(model_proto=model.getvalue())
    assert tokenizer(TEXT).input_ids == [*processor.encode(TEXT), 1]
    assert len(tokenizer) == processor.vocab_size() + 100


def test_a_model_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_component("./nowhere", "vae")
    with pytest.raises(UserError, match="has no vae"):
        find_component(str(tmp_path), "vae")
    with pytest.raises(UserError, match="could not be reached"):
        find_component("nobody/nothing-of-this-name", "vae")
    assert find_component(str(models / "vae"), "vae").record() == find_component(str(models), "vae").record() | {
        "model": "vae"
    }

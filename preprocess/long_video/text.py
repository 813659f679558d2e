"""T5 embeddings of texts, in the scene-token variants that the segments need.

The first segment of a scene is encoded as `<start_scene>Tom sleeps.`, the last one as `Tom sleeps.<end_scene>`, a
segment that is both with both tokens, and all others without. Each distinct text and variant is one file:

    text/502/3b6f0c2d5e7a9148_start.pt      bfloat16 (502, 4096)

No attention mask is passed, so padding tokens are attended to, as in CogVideoX's own pipelines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preprocess.errors import DamagedFileError
from preprocess.storage import write_atomic

if TYPE_CHECKING:
    import torch

Variant = Literal["none", "start", "end", "both"]

START, END = "<start_scene>", "<end_scene>"
SCENE_TOKENS = (END, START)
"""In the order in which ttt-video-dit adds them, so that their ids are the same."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and its scene-token variant."""

    text: str
    variant: Variant

    @property
    def tagged(self) -> str:
        """The text that is tokenized."""
        start = START if self.variant in ("start", "both") else ""
        end = END if self.variant in ("end", "both") else ""
        return f"{start}{self.text}{end}"

    @property
    def file(self) -> str:
        """Name of the embedding file: the first digits of the SHA-256 of the text, and the variant."""
        return f"{hashlib.sha256(self.text.encode()).hexdigest()[:16]}_{self.variant}.pt"


def variant_of(scene_start: bool, scene_end: bool) -> Variant:
    """The variant of a segment, from whether it starts and ends a scene."""
    if scene_start:
        return "both" if scene_end else "start"
    return "end" if scene_end else "none"


def prompts_of(segments: Iterable[tuple[bool, bool, str]]) -> list[Prompt]:
    """One prompt per segment, from `scene_start`, `scene_end` and text."""
    return [Prompt(text, variant_of(start, end)) for start, end, text in segments]


def add_scene_tokens(tokenizer: Any, model: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """Adds `<end_scene>` and `<start_scene>` to the vocabulary, once, with rows that are the same in every run.

    T5's checkpoints have more rows (32,128) than its tokenizer has tokens (32,100): there the two tokens use
    existing rows, the same as in ttt-video-dit. Missing rows are drawn from a normal distribution with the mean and
    standard deviation of the vocabulary, seeded by `seed`; `resize_token_embeddings` alone draws new ones in each run.

    Returns:
        The row of each token, `(d,)`.
    """
    import torch
    from transformers import AddedToken

    tokens = [AddedToken(token, special=True, normalized=False) for token in SCENE_TOKENS]
    tokenizer.add_tokens(tokens, special_tokens=True)
    ids = tokenizer.convert_tokens_to_ids(list(SCENE_TOKENS))
    rows = model.get_input_embeddings().weight
    if max(ids) >= len(rows):
        old = len(rows)
        mean, spread = rows.float().mean(0).cpu(), rows.float().std(0).cpu()
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
        rows = model.get_input_embeddings().weight
        generator = torch.Generator().manual_seed(seed)
        drawn = mean + spread * torch.randn((len(rows) - old, rows.shape[1]), generator=generator)
        with torch.no_grad():
            rows[old:] = drawn.to(rows)
    return {token: rows[i].detach().clone() for token, i in zip(SCENE_TOKENS, ids, strict=True)}


def save_scene_tokens(path: Path, rows: dict[str, torch.Tensor]) -> None:
    """Writes the rows for `load_scene_tokens`."""
    from safetensors.torch import save

    write_atomic(path, save({token: row.cpu() for token, row in sorted(rows.items())}))


def load_scene_tokens(path: Path, tokenizer: Any, model: Any) -> None:
    """Loads the scene tokens of a training set into a tokenizer and encoder, for inference.

    Raises:
        DamagedFileError: The file does not hold both rows with the width of the model.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = "Use scene_tokens.safetensors from the folder of text embeddings made with this model."
    try:
        saved = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(path, "", f"cannot be read ({type(error).__name__})", remedy) from error
    add_scene_tokens(tokenizer, model)
    weight = model.get_input_embeddings().weight
    for token in SCENE_TOKENS:
        if token not in saved or saved[token].shape != weight.shape[1:]:
            found = f"shape {tuple(saved[token].shape)}" if token in saved else "nothing"
            raise DamagedFileError(path, token, f"expected shape ({weight.shape[1]},), found {found}", remedy)
        with torch.no_grad():
            weight[tokenizer.convert_tokens_to_ids(token)] = saved[token].to(weight)


def token_ids(tokenizer: Any, prompt: Prompt, max_tokens: int) -> tuple[list[int], bool]:
    """The token ids of a prompt, padded to `max_tokens`, and whether the text was truncated.

    Truncation removes the end of the text but keeps `<end_scene>`: without it, the embedding would be that of another
    variant.
    """
    ids: list[int] = tokenizer(prompt.tagged, add_special_tokens=True).input_ids
    if len(ids) <= max_tokens:
        return ids + [tokenizer.pad_token_id] * (max_tokens - len(ids)), False
    kept = 2 if prompt.variant in ("end", "both") else 1  # </s>, and <end_scene> before it
    return ids[: max_tokens - kept] + ids[-kept:], True


def embed(model: Any, batch: Sequence[Sequence[int]]) -> torch.Tensor:
    """The last hidden state of token ids `(B, N)`: `(B, N, d)`."""
    import torch

    with torch.inference_mode():
        hidden: torch.Tensor = model(input_ids=torch.tensor(batch, device=model.device)).last_hidden_state
    return hidden


def embed_prompts(
    model: Any, tokenizer: Any, prompts: Iterable[Prompt], max_tokens: int, batch_size: int
) -> Iterator[tuple[Prompt, torch.Tensor, bool]]:
    """Encodes prompts in batches of one fixed size, so that an embedding does not depend on its batch.

    Yields:
        Prompt, embedding `(max_tokens, d)`, and whether the text was truncated.
    """
    todo = list(prompts)
    for first in range(0, len(todo), batch_size):
        batch = todo[first : first + batch_size]
        tokens = [token_ids(tokenizer, prompt, max_tokens) for prompt in batch]
        ids = [row for row, _ in tokens]
        embeddings = embed(model, ids + ids[-1:] * (batch_size - len(ids)))
        for prompt, embedding, (_, cut) in zip(batch, embeddings, tokens, strict=False):
            yield prompt, embedding, cut

"""The prompts that the tiny CLIP is trained on, and its tokenizer.

>>> prompt("a photo of {a_label}", ShapeScene("orange", "ring", "up"))
'a photo of an orange ring'
>>> build_tokenizer().tokenize("a photo of an orange ring")
['a</w>', 'photo</w>', 'of</w>', 'an</w>', 'orange</w>', 'ring</w>']
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from preprocess.demo.scenes import COLORS, MOTIONS, SHAPES, ShapeScene, with_article

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

OPENERS = (
    "{label}",
    "{a_label}",
    "the {label}",
    "a photo of {a_label}",
    "a photo of the {label}",
    "an image of {a_label}",
    "a picture of {a_label}",
    "a drawing of {a_label}",
    "a video of {a_label}",
    "a video clip of the {label}",
    "a frame of {a_label}",
    "a rendering of the {label}",
    "this is {a_label}",
    "there is {a_label}",
    "it shows {a_label}",
)
CLOSERS = (
    "",
    "",
    "",
    ".",
    " moving {motion}",
    " moving {motion}.",
    " that moves {motion}",
    " moves {motion}",
    " on a grey background",
    " in the scene",
    ", a shape",
)
TEMPLATES = tuple(opener + closer for opener, closer in itertools.product(OPENERS, CLOSERS))
"""Prompts of training; those that only name the shape are more frequent."""

SEEN_TEMPLATES = ("{label}", "a photo of {a_label}", "a video of {a_label} moving {motion}")
"""Used in training: the prompts that zero-shot evaluation and retrieval use most."""

UNSEEN_TEMPLATES = (
    "i can see {a_label} here",
    "a blurry screenshot with {a_label} somewhere in it",
    "an animation in which the {label} drifts slowly {motion}",
)
"""Not used in training, with unseen words: they measure whether the rest of a sentence is ignored."""

MAX_TOKENS = 77
"""Longest text in tokens, start and end included; the same as OpenAI's CLIP."""

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def prompt(template: str, scene: ShapeScene) -> str:
    """Fills a template's `{label}`, `{a_label}` (with article) and `{motion}`."""
    return template.format(label=scene.label, a_label=with_article(scene.label), motion=scene.motion)


def random_prompt(scene: ShapeScene, rng: np.random.Generator) -> str:
    """A prompt for training; a third of them have random words in front or behind, which the model learns to ignore."""
    text = prompt(TEMPLATES[rng.integers(len(TEMPLATES))], scene)
    if rng.random() < 1 / 3:
        words = " ".join(_random_word(rng) for _ in range(rng.integers(1, 5)))
        text = f"{words} {text}" if rng.random() < 0.5 else f"{text} {words}"
    return text


def _random_word(rng: np.random.Generator) -> str:
    letters = rng.integers(len(string.ascii_lowercase), size=rng.integers(2, 9))
    return "".join(string.ascii_lowercase[i] for i in letters.tolist())


def build_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer of the same kind as CLIP's, with a token for each word of the templates.

    Any other word is split into smaller pieces, down to bytes, so no token is unknown. As in OpenAI's vocabulary, the
    bytes come first, then the bytes at a word's end, the merged pieces, start and end; end is also the padding.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    words = {word.strip(".,") for template in TEMPLATES for word in template.split() if "{" not in word}
    merges = list(learn_merges(sorted({"a", "an", *words, *COLORS, *SHAPES, *MOTIONS})))
    byte_tokens = sorted(ByteLevel.alphabet())
    tokens = [*byte_tokens, *(b + WORD_END for b in byte_tokens), *("".join(pair) for pair in merges), START, END]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    # Annotated as strings, but the backend takes only pairs.
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)  # type: ignore[arg-type]


def learn_merges(words: Iterable[str]) -> dict[tuple[str, str], int]:
    """Pairs to merge, with their rank, such that each of the words becomes one token.

    `tokenizers` has a trainer, but its choice between equally frequent pairs, as here, differs from run to run.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        # A later pair never affects an earlier word, whose own pairs rank before it.
        while len(pieces := _pieces(word, ranks)) > 1:
            ranks[pieces[0], pieces[1]] = len(ranks)
    return ranks


def _pieces(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding: merges the adjacent pair of lowest rank until no pair has a rank."""
    pieces = [*word[:-1], word[-1] + WORD_END]
    while known := [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(pieces)) if pair in ranks]:
        _, i = min(known)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces

"""How many tokens a text embedding has, so that an episode can be trained on.

ttt-video-dit cuts the tokens of an episode, those of its texts and of its latent frames, into mini-batches of 64 (of 16
with `ttt_linear`) and refuses an episode that leaves a rest. The length of the texts makes it come out even. These are
the `txt_maxlen` of its configurations:

>>> [fitting_tokens(seconds, FrameFormat())[0] for seconds in (3, 9, 18, 30, 63)]
[498, 502, 471, 497, 458]
"""

from __future__ import annotations

from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.latents import expected_latents
from preprocess.long_video.scenes import SEGMENT_S

MOST_TOKENS = 502
"""Most tokens of a text, if they are chosen here."""

MINI_BATCH = 64
"""Tokens of a mini-batch in ttt-video-dit's configurations of `ttt_mlp`."""

_PATCH = 2
"""Height and width of the part of a latent frame that becomes one token."""


def video_tokens(seconds: int, frames: FrameFormat) -> int:
    """Tokens of the latent frames of an episode."""
    latent_frames, _, height, width = expected_latents(seconds, frames).shape
    return int(latent_frames or 0) * (int(height or 0) // _PATCH) * (int(width or 0) // _PATCH)


def fitting_tokens(seconds: int, frames: FrameFormat) -> tuple[int, int]:
    """Tokens of each text of an episode, and those of the mini-batches that the episode then divides into.

    Args:
        seconds: Length of the episode.
        frames: Of its video.

    Returns:
        The largest number up to `MOST_TOKENS` that fits mini-batches of 64 tokens; where none does, as for 12 s of
        480x720, of 32, 16, …
    """
    video, texts = video_tokens(seconds, frames), seconds // SEGMENT_S
    mini_batch = MINI_BATCH
    while True:
        for tokens in range(MOST_TOKENS, MOST_TOKENS - mini_batch, -1):
            if (video + texts * tokens) % mini_batch == 0:
                return tokens, mini_batch
        mini_batch //= 2

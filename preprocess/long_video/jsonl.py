"""Writes the training JSONL: the latents of each episode and the text embedding of each segment.

    {"vid_emb": "latents/09s/tom_09s_0000_6d1f09c2.pt",
     "text_chunk_emb": ["text/502/3b6f0c2d5e7a9148_start.pt", "text/502/9a01d2c3b4e5f607_none.pt", "text/502/…_end.pt"]}

Paths are relative to the folder of the JSONL: pass that folder to `PreembeddingDataset` as `dataset_path`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import UserError
from preprocess.formats.layout import read_json
from preprocess.long_video.check import Defect, Expectation, check_file, check_rows
from preprocess.long_video.folder import Folder, read_rows, write_rows
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.lengths import MINI_BATCH, fitting_tokens, video_tokens
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.segments import Episode, segment_texts
from preprocess.long_video.text import prompts_of
from preprocess.pipeline.ledger import Ledger
from preprocess.samples import JSON


@dataclass(frozen=True, slots=True)
class JsonlReport:
    """Lines written for one stage, and episodes left out because their video was rejected."""

    lines: int
    rejected: int


def read_episodes(folder: Folder, seconds: int) -> list[Episode]:
    """The episodes of a stage.

    Raises:
        UserError: There are no episodes, or the file is damaged.
    """
    path = folder.episodes(seconds)
    return [Episode.from_json(row, path, line) for line, row in read_rows(path)]


def frame_settings(folder: Folder) -> FrameFormat:
    """Rate and size of the frames, as given to `segments`."""
    return FrameFormat(**read_json(folder.frames))


def text_tokens(folder: Folder, seconds: int) -> int:
    """Tokens of the text embeddings of a stage: as given to `text`, else what fits."""
    return read_json(folder.text_settings).get("max_tokens") or fitting_tokens(seconds, frame_settings(folder))[0]


def mini_batch(folder: Folder, seconds: int) -> int:
    """Tokens of the largest mini-batches, up to `MINI_BATCH`, that the episodes of a stage divide into."""
    tokens = video_tokens(seconds, frame_settings(folder)) + seconds // SEGMENT_S * text_tokens(folder, seconds)
    return math.gcd(tokens, MINI_BATCH)


def plan_row(folder: Folder, episode: Episode, tokens: int) -> JSON:
    """The line of an episode, with texts of so many tokens."""
    path = folder.episodes(episode.seconds)
    prompts = prompts_of(segment_texts(episode.to_json(), path, 0))
    latents = folder.latents(episode.seconds) / f"{episode.key}.pt"
    return {
        "vid_emb": latents.relative_to(folder.root).as_posix(),
        "text_chunk_emb": [
            (folder.texts(tokens) / prompt.file).relative_to(folder.root).as_posix() for prompt in prompts
        ],
    }


def expectation(folder: Folder, seconds: int) -> Expectation:
    """The expected content of the JSONL of a stage, from all files of the folder."""
    text = read_json(folder.text_settings)
    tokens = text_tokens(folder, seconds)
    rows = [plan_row(folder, episode, tokens) for episode in read_episodes(folder, seconds)]
    rejects = Ledger(folder.rejects("latents"))
    return Expectation(
        frames=frame_settings(folder),
        tokens=tokens,
        width=text.get("dim"),
        seconds=seconds,
        plan={row["vid_emb"]: row["text_chunk_emb"] for row in rows},
        rejected=frozenset(episode.key for episode in read_episodes(folder, seconds) if episode.key in rejects),
    )


def write_jsonl(folder: Folder, seconds: int) -> JsonlReport:
    """Checks and writes the training JSONL of a stage.

    Raises:
        UserError: A check failed; nothing was written.
    """
    expected = expectation(folder, seconds)
    rows = list(_usable(folder, expected.plan or {}, expected.rejected))
    path = folder.train(seconds)
    findings = check_rows([(f"{path.name} line {n}", row) for n, row in enumerate(rows, 1)], path, expected)
    if findings:
        raise UserError(
            f"{path.name} was not written: {len(findings)} problems found, first: {findings[0]}",
            f"Run {folder.command('latents')} --seconds {seconds}, then {folder.command('text')} --seconds {seconds}: "
            "both make what is missing or damaged. Or write other stages only: --seconds.",
        )
    write_rows(path, rows)
    return JsonlReport(len(rows), len(expected.plan or {}) - len(rows))


def check_folder(folder: Folder, stages: Sequence[int] | None = None) -> list[Defect]:
    """Finds all problems of the JSONL files of a folder, one per stage, and of the files they need."""
    found = []
    for seconds in folder.stages(stages):
        found += check_file(folder.train(seconds), expectation(folder, seconds))
    if not folder.scene_tokens.is_file():
        found.append(Defect("missing_file", folder.scene_tokens.name, "not found; inference needs it"))
    return found


def _usable(folder: Folder, plan: Mapping[str, object], rejected: frozenset[str]) -> list[JSON]:
    """The rows of all episodes except those that were rejected and still have no latents."""
    return [
        {"vid_emb": latents, "text_chunk_emb": texts}
        for latents, texts in plan.items()
        if Path(latents).stem not in rejected or (folder.root / latents).is_file()
    ]

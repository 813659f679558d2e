"""All evaluations of one dataset, into `data/work/<hub_name>/evaluation.json`.

    {"dataset": "CLIP-Shapes", "dataset_sha256": "…", "model": "tiny-clip", "weights_sha256": "…",
     "settings": {"tasks": […], "templates": […], "seed": 0, "near_duplicate": 0.98},
     "zero_shot": {"classes": 24, "splits": {"test": {"samples": 16, "frame": {"top1": 1.0, …}, "pooled": {…}}}},
     "linear_probe": {…}, "retrieval": {…}, "leakage": {…}}

A task that does not apply (no labels, no train split, captions that are nothing but labels) leaves no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from dataset_cards.evaluation.features import Matrix, Videos, frame_blocks, one_per_video, read_videos
from dataset_cards.evaluation.leakage import THRESHOLD, nearest, worst
from dataset_cards.evaluation.linear_probe import probe_ranks
from dataset_cards.evaluation.metrics import accuracy
from dataset_cards.evaluation.retrieval import retrieval
from dataset_cards.evaluation.text import NoTextTowerError, TextTower, encoder_files
from dataset_cards.evaluation.zero_shot import class_weights, frame_ranks, pooled_ranks, read_templates
from dataset_cards.evaluation.zero_shot import strip as video_strip
from dataset_cards.facts import dataset_sha256, read_shards, rows
from dataset_cards.statistics import Row
from preprocess.console import progress
from preprocess.formats.layout import Layout, read_json, write_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.manifest import read as read_manifest
from preprocess.samples import JSON, SPLITS, ShardReport, Split

TASKS = ("zero-shot", "linear-probe", "retrieval", "leakage")
FILE = "evaluation.json"
STRIP_FRAMES = 120


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose.

    Attributes:
        tasks: Of `TASKS`.
        templates: The prompts of zero-shot classification.
        seed: Of the linear probe.
        near_duplicate: Cosine from which two videos count as near-duplicates.
        model: Folder of the model, when the manifest's name does not lead to it.
        device: A torch device.
    """

    tasks: tuple[str, ...] = TASKS
    templates: tuple[str, ...] = ()
    seed: int = 0
    near_duplicate: float = THRESHOLD
    model: str | None = None
    device: str = "cpu"

    def to_json(self) -> JSON:
        """Everything the numbers depend on."""
        return {
            "tasks": list(self.tasks),
            "templates": list(self.templates or read_templates()),
            "seed": self.seed,
            "near_duplicate": self.near_duplicate,
        }


@dataclass(frozen=True, slots=True)
class Data:
    """What the tasks look at.

    Attributes:
        videos: Per split that has any.
        rows: The samples of a split, read anew.
        tower: The text tower; loaded when first asked for.
    """

    videos: Mapping[Split, Videos]
    rows: Callable[[Split], Iterator[Row]]
    tower: Callable[[], TextTower]

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes of the dataset, sorted."""
        return tuple(sorted({label for v in self.videos.values() for label in v.labels if label is not None}))

    def judged(self, labelled: bool = False) -> list[Split]:
        """The splits to be judged on: val and test, or train where there is nothing else."""
        able = [s for s, v in self.videos.items() if not labelled or any(label is not None for label in v.labels)]
        return [s for s in able if s != "train"] or able


def evaluate(layout: Layout, options: Options, overwrite: bool = False) -> JSON:
    """Runs the tasks that apply and writes the file.

    What is there already for these shards, this model and these settings is kept, unless `overwrite`.

    Raises:
        UserError: The dataset is not whole, or its model is not there.
    """
    manifest = read_manifest(layout.dataset / MANIFEST_FILE)
    shards = read_shards(layout.dataset, manifest)
    head = {
        "dataset": layout.hub_name,
        "dataset_sha256": dataset_sha256(shards),
        "model": manifest["encoder"]["model"],
        "weights_sha256": manifest["encoder"]["weights_sha256"],
        "settings": options.to_json(),
    }
    before = read_json(layout.work / FILE)
    if not overwrite and {key: before.get(key) for key in head} == head:
        return before
    data = _data(layout, manifest, shards, options)
    tasks: dict[str, Callable[[Data, Options], JSON | None]] = {
        "zero-shot": zero_shot,
        "linear-probe": linear_probe,
        "retrieval": text_retrieval,
        "leakage": leakage,
    }
    found: dict[str, JSON | None] = {}
    for name, task in tasks.items():
        if name in options.tasks:
            try:
                found[name.replace("-", "_")] = task(data, options)
            except NoTextTowerError as error:
                print(f"{name} is left out: {error.cause}")
    result: JSON = _rounded(head | {name: numbers for name, numbers in found.items() if numbers is not None})
    layout.work.mkdir(parents=True, exist_ok=True)
    write_json(layout.work / FILE, result)
    return result


def zero_shot(data: Data, options: Options) -> JSON | None:
    """Labels as prompts; None below two classes."""
    labels = data.labels
    if len(labels) < 2:
        return None
    tower = data.tower()
    weights = class_weights(labels, options.templates or read_templates(), tower.encode)
    index = {label: i for i, label in enumerate(labels)}
    splits: JSON = {}
    for split in data.judged(labelled=True):
        videos = data.videos[split]
        kept = [i for i, label in enumerate(videos.labels) if label is not None]
        targets = np.array([index[str(videos.labels[i])] for i in kept])
        splits[split] = {
            "samples": len(kept),
            "frame": accuracy(frame_ranks(frame_blocks(data.rows(split)), weights, labels, tower.scale)),
            "pooled": accuracy(pooled_ranks(videos.direction[kept], weights, targets)),
        }
    strip = _strip(data, weights, tower.scale)
    return {"classes": len(labels), "scale": tower.scale, "splits": splits, "strip": strip}


def linear_probe(data: Data, options: Options) -> JSON | None:
    """Learnt on train, judged on val and test; None without two classes in train or without another split."""
    train = data.videos.get("train")
    judged = [split for split in data.judged(labelled=True) if split != "train"]
    if train is None or not judged:
        return None
    vectors, labels = _labelled(train)
    if len(set(labels)) < 2:
        return None
    tests = [_labelled(data.videos[split]) for split in judged]
    found = probe_ranks(vectors, labels, tests, options.seed, options.device)
    splits = {split: {"samples": len(places), **accuracy(places)} for split, places in zip(judged, found, strict=True)}
    return {"classes": len(set(labels)), "train_samples": len(labels), "splits": splits}


def text_retrieval(data: Data, options: Options) -> JSON | None:
    """Captions to videos and back; None where every caption is a label, so that many videos share one."""
    splits: JSON = {}
    for split in data.judged():
        videos = data.videos[split]
        named = all(own == (label,) for own, label in zip(videos.captions, videos.labels, strict=True))
        if len(videos) < 2 or named:
            continue
        counts = [len(own) for own in videos.captions]
        texts = data.tower().encode(list(chain.from_iterable(videos.captions)))
        splits[split] = {
            "videos": len(videos),
            "captions": sum(counts),
            **retrieval(videos.direction, texts, counts),
        }
    return {"splits": splits} if splits else None


def leakage(data: Data, options: Options) -> JSON | None:
    """Near-duplicates of each split in the splits before it; None for a dataset of one split."""
    pairs = []
    order = list(data.videos)
    for query in order[1:]:
        for other in order[: order.index(query)]:
            mine, theirs = data.videos[query], data.videos[other]
            found = nearest(mine.direction, theirs.direction, options.device)
            pairs.append(
                {
                    "split": query,
                    "other": other,
                    "videos": len(mine),
                    "near_duplicates": int(np.count_nonzero(found.similarity >= options.near_duplicate)),
                    "median_similarity": float(np.median(found.similarity)),
                    "worst": [
                        {
                            "key": mine.keys[i],
                            "caption": mine.captions[i][0],
                            "other_key": theirs.keys[found.index[i]],
                            "other_caption": theirs.captions[found.index[i]][0],
                            "similarity": float(found.similarity[i]),
                        }
                        for i in worst(found, options.near_duplicate)
                    ],
                }
            )
    return {"near_duplicate": options.near_duplicate, "pairs": pairs} if pairs else None


def _strip(data: Data, weights: Matrix, scale: float) -> JSON:
    """The labelled video with the most frames, the first of equals, for the figure of one video over time."""
    split = data.judged(labelled=True)[-1]
    labelled = (row for row in data.rows(split) if len(row[1]) and row[3].get("label") is not None)
    _, vectors, _, meta = max(labelled, key=lambda row: min(len(row[1]), STRIP_FRAMES))
    own = data.labels.index(str(meta["label"]))
    chosen, shares = video_strip(vectors[:STRIP_FRAMES].astype(np.float32), weights, scale, own)
    return {
        "key": meta["key"],
        "split": split,
        "label": str(meta["label"]),
        "timestamps": meta["timestamps"][:STRIP_FRAMES],
        "labels": [data.labels[i] for i in chosen],
        "shares": shares.tolist(),
    }


def _data(layout: Layout, manifest: Manifest, shards: Sequence[ShardReport], options: Options) -> Data:
    def split_rows(split: Split) -> Iterator[Row]:
        found = chain.from_iterable(rows(layout.dataset / s.file) for s in shards if s.split == split)
        return one_per_video(found) if manifest["caption_mode"] == "each" else found

    encoder, source = manifest["encoder"], read_json(layout.source)
    videos: dict[Split, Videos] = {}
    with progress(sum(s.samples for s in shards), " samples", "read") as bar:
        for split in SPLITS:
            capacity = sum(s.samples for s in shards if s.split == split)
            if capacity:
                watched = _watched(split_rows(split), bar.update)
                videos[split] = read_videos(watched, capacity, encoder["dim"], manifest["caption_mode"])
    return Data(
        {split: found for split, found in videos.items() if len(found)},
        split_rows,
        cache(lambda: TextTower(encoder_files(encoder, options.model or source.get("model")), options.device)),
    )


def _watched(found: Iterator[Row], tick: Callable[[], object]) -> Iterator[Row]:
    for row in found:
        yield row
        tick()


def _labelled(videos: Videos) -> tuple[Matrix, list[str]]:
    kept = [i for i, label in enumerate(videos.labels) if label is not None]
    labels = [str(videos.labels[i]) for i in kept]
    return (videos.mean if len(kept) == len(videos) else videos.mean[kept]), labels


def _rounded(value: Any) -> Any:
    """Floats to six places: what lies below differs from one processor to another."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value

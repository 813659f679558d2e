"""All evaluations of one dataset, into `data/work/<hub_name>/evaluation.json`.

    {"dataset": "CLIP-Shapes", "dataset_sha256": "…", "model": "tiny-clip", "weights_sha256": "…",
     "unit": "frame", "thing": "video", "settings": {"tasks": […], "templates": […], "seed": 0, "near_duplicate": 0.98},
     "zero_shot": {"classes": 24, "splits": {"test": {"samples": 16, "frame": {"top1": 1.0, …}, "pooled": {…}}}},
     "linear_probe": {…}, "retrieval": {…}, "leakage": {…}, "skipped": {"moments": "no caption has …"}}

A task that does not apply to the dataset or its model has an entry in `skipped` instead, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from dataset_cards.card_inputs import dataset_sha256, read_shards
from dataset_cards.evaluation.features import Matrix, Videos
from dataset_cards.evaluation.leakage import THRESHOLD, nearest, worst
from dataset_cards.evaluation.linear_probe import probe_ranks
from dataset_cards.evaluation.metrics import accuracy
from dataset_cards.evaluation.moment_retrieval import evaluate_split
from dataset_cards.evaluation.retrieval import retrieval
from dataset_cards.evaluation.strips import caption_strip, label_strip
from dataset_cards.evaluation.tars import EvaluatedTar, PoolVideos, RankFrames, join_videos
from dataset_cards.evaluation.text import encoder_files
from dataset_cards.evaluation.zero_shot import (
    IMAGE_TEMPLATES,
    TEMPLATES,
    Logits,
    class_weights,
    pooled_ranks,
    read_templates,
)
from dataset_cards.statistics import Row
from preprocess.encoders import NoTextTowerError, TextTower, load_text_tower
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout, json_bytes, read_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.manifest import read as read_manifest
from preprocess.runtime.options import ONE_WORKER, RunOptions
from preprocess.runtime.tars import of_each_tar
from preprocess.samples import JSON, SPLITS, ShardReport, Split
from preprocess.storage import make_folder, write_if_changed

NEEDS = {
    "zero-shot": "the dataset has fewer than two labels",
    "linear-probe": "it needs a train split with at least two labels, and another split with labels",
    "retrieval": "the captions are the labels, or there are none",
    "moments": "no caption has a start and an end time",
    "leakage": "there is only one split",
}
"""The tasks, in the order of the card, and why each of them may not apply."""

TASKS = tuple(NEEDS)
FILE = "evaluation.json"
FORMAT = 2
"""Raised when the file has other fields than before, so that older results are computed again."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the user.

    Attributes:
        tasks: Names from `TASKS`.
        templates: The prompts of zero-shot classification; empty for the built-in ones.
        seed: Seed of the linear probe and of random moments.
        near_duplicate: Pairs of videos with at least this cosine similarity count as near-duplicates.
        model: Folder of the model, if the manifest's name does not resolve to it.
        device: A torch device, of this process: it encodes the texts, trains the probe and compares the splits.
        run: Where tars are read: worker processes (one local one is this process), or the actors of a cluster.
    """

    tasks: tuple[str, ...] = TASKS
    templates: tuple[str, ...] = ()
    seed: int = 0
    near_duplicate: float = THRESHOLD
    model: str | None = None
    device: str = "cpu"
    run: RunOptions = ONE_WORKER

    def prompts(self, thing: str) -> tuple[str, ...]:
        """The prompts for a dataset of this `TaskData.thing`."""
        return self.templates or read_templates(IMAGE_TEMPLATES if thing == "image" else TEMPLATES)

    def to_json(self) -> JSON:
        """The options that change the results."""
        return {
            "tasks": list(self.tasks),
            "templates": list(self.prompts("video")),
            "image_templates": list(self.prompts("image")),
            "seed": self.seed,
            "near_duplicate": self.near_duplicate,
        }


@dataclass(frozen=True, slots=True)
class TaskData:
    """Input of the tasks.

    Attributes:
        videos: Pooled videos of each split that is not empty.
        tars: Of each of these splits.
        tower: The text tower; loaded on the first call.
    """

    videos: Mapping[Split, Videos]
    tars: Mapping[Split, Sequence[EvaluatedTar]]
    tower: Callable[[], TextTower]

    def rows(self, split: Split) -> Iterator[Row]:
        """Reads the samples of a split again."""
        return chain.from_iterable(tar.rows() for tar in self.tars[split])

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of the dataset, sorted."""
        return tuple(sorted({label for v in self.videos.values() for label in v.labels if label is not None}))

    @property
    def thing(self) -> str:
        """What a sample was made from: an image, a video, or a file if there are both."""
        images, n = sum(sum(v.images) for v in self.videos.values()), sum(map(len, self.videos.values()))
        return "video" if not images else "image" if images == n else "file"

    def tested(self, labeled: bool = False) -> list[Split]:
        """The splits to evaluate on: val and test, or train if there is no other split.

        Args:
            labeled: Consider only splits in which some video has a label.
        """
        able = [s for s, v in self.videos.items() if not labeled or any(label is not None for label in v.labels)]
        return [s for s in able if s != "train"] or able


def evaluate(layout: Layout, options: Options, overwrite: bool = False) -> JSON:
    """Runs the tasks that apply and writes the file.

    Existing results for the same shards, model and settings are kept, unless `overwrite`.

    Returns:
        The content of the file.

    Raises:
        UserError: The dataset is incomplete, or its model does not exist.
    """
    manifest = read_manifest(layout.dataset / MANIFEST_FILE)
    shards = read_shards(layout.dataset, manifest)
    head = {
        "format": FORMAT,
        "dataset": layout.hub_name,
        "dataset_sha256": dataset_sha256(shards),
        "model": manifest["encoder"]["model"],
        "weights_sha256": manifest["encoder"]["weights_sha256"],
        "unit": manifest["encoder"].get("unit", "frame"),
        "settings": options.to_json(),
    }
    before = read_json(layout.work / FILE)
    if not overwrite and {key: before.get(key) for key in head} == head:
        return before
    data = _data(layout, manifest, shards, options)
    tasks: dict[str, Callable[[TaskData, Options], JSON | None]] = {
        "zero-shot": zero_shot,
        "linear-probe": linear_probe,
        "retrieval": text_retrieval,
        "moments": moments,
        "leakage": leakage,
    }
    found: JSON = {}
    skipped: dict[str, str] = {}
    for name in options.tasks:
        try:
            numbers, reason = tasks[name](data, options), NEEDS[name]
        except NoTextTowerError as error:
            numbers, reason = None, error.cause
        if numbers is None:
            skipped[name] = reason
        else:
            found[name.replace("-", "_")] = numbers
    result: JSON = _rounded(head | {"thing": data.thing} | found | {"skipped": skipped})
    make_folder(layout.work)
    write_if_changed(layout.work / FILE, json_bytes(result))
    return result


def zero_shot(data: TaskData, options: Options) -> JSON | None:
    """Zero-shot classification by the text tower; None if there are fewer than two labels."""
    labels = data.labels
    if len(labels) < 2:
        return None
    tower = data.tower()
    logits = Logits(tower.probabilities, tower.scale, tower.bias)
    weights = class_weights(labels, options.prompts(data.thing), tower.encode)
    index = {label: i for i, label in enumerate(labels)}
    tested = data.tested(labeled=True)
    last = tested[-1]
    tars = [tar for split in tested for tar in data.tars[split]]
    found = of_each_tar(tars, RankFrames(weights, labels, logits), options.run, "zero-shot")
    splits: JSON = {}
    for split in tested:
        videos = data.videos[split]
        kept = [i for i, label in enumerate(videos.labels) if label is not None]
        targets = np.array([index[str(videos.labels[i])] for i in kept])
        by_frame = [ranks for tar, ranks in zip(tars, found, strict=True) if tar.split == split]
        splits[split] = {
            "samples": len(kept),
            "frame": accuracy(np.concatenate(by_frame)),
            "pooled": accuracy(pooled_ranks(videos.direction[kept], weights, targets)),
        }
    return {
        "classes": len(labels),
        "probabilities": logits.kind,
        "scale": logits.scale,
        **({"bias": logits.bias} if logits.bias else {}),
        "splits": splits,
        "strip": label_strip(data.rows(last), last, labels, weights, logits),
    }


def linear_probe(data: TaskData, options: Options) -> JSON | None:
    """Logistic regression trained on train, tested on val and test; None without labels or another split."""
    train = data.videos.get("train")
    tested = [split for split in data.tested(labeled=True) if split != "train"]
    if train is None or not tested:
        return None
    vectors, labels = _labeled(train)
    if len(set(labels)) < 2:
        return None
    tests = [_labeled(data.videos[split]) for split in tested]
    found = probe_ranks(vectors, labels, tests, options.seed, options.device)
    splits = {split: {"samples": len(places), **accuracy(places)} for split, places in zip(tested, found, strict=True)}
    return {"classes": len(set(labels)), "train_samples": len(labels), "splits": splits}


def text_retrieval(data: TaskData, options: Options) -> JSON | None:
    """Text-to-video and video-to-text retrieval; None if every caption is a label, which many videos share."""
    splits: JSON = {}
    for split in data.tested():
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


def moments(data: TaskData, options: Options) -> JSON | None:
    """Moment retrieval by timed captions; None if no caption has a time."""
    splits: dict[Split, JSON] = {}
    for split in data.tested():
        found = evaluate_split(data.rows(split), lambda texts: data.tower().encode(texts), options.seed)
        if found is not None:
            splits[split] = found
    if not splits:
        return None
    last = list(splits)[-1]
    return {"splits": splits, "strip": caption_strip(data.rows(last), last, data.tower().encode)}


def leakage(data: TaskData, options: Options) -> JSON | None:
    """Near-duplicates of each split in the splits before it; None if there is only one split."""
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


def _data(layout: Layout, manifest: Manifest, shards: Sequence[ShardReport], options: Options) -> TaskData:
    encoder, mode, replaced = manifest["encoder"], manifest["caption_mode"], replaced_rows(manifest)
    tars = [EvaluatedTar(layout.dataset / s.file, s.split, s.samples, replaced, mode == "each") for s in shards]
    pooled = of_each_tar(tars, PoolVideos(encoder["dim"], mode), options.run, "read")
    videos: dict[Split, Videos] = {}
    told: dict[Split, list[EvaluatedTar]] = {}
    for split in SPLITS:
        own = [(tar, found) for tar, found in zip(tars, pooled, strict=True) if tar.split == split]
        if own:
            found, there = join_videos(*zip(*own, strict=True))
            if len(found):
                videos[split], told[split] = found, there
    source = read_json(layout.source)
    return TaskData(
        videos,
        told,
        cache(lambda: load_text_tower(encoder_files(encoder, options.model or source.get("model")), options.device)),
    )


def _labeled(videos: Videos) -> tuple[Matrix, list[str]]:
    kept = [i for i, label in enumerate(videos.labels) if label is not None]
    labels = [str(videos.labels[i]) for i in kept]
    return (videos.mean if len(kept) == len(videos) else videos.mean[kept]), labels


def _rounded(value: Any) -> Any:
    """Rounds floats to six decimal places: further digits depend on the processor."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value

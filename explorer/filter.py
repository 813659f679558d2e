"""Writes a part of a dataset as a dataset of its own: shards, ids, card and provenance; nothing is encoded again.

    python -m explorer filter data/CLIP-MSRVTT --query "a dog" --min-score 0.25 --name CLIP-Dogs
    812 of 10,000 samples in 2 shards in data/CLIP-Dogs

Vectors, texts and metadata keep their bytes. `manifest.json` says under `filtered_from` what was kept of which dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from builders.card_yaml import read_front_matter
from builders.hub import local_folder
from builders.shard_index import ShardIndex
from explorer.choose import diverse, drop_duplicates, random_subset
from explorer.index import Index
from explorer.samples import Query
from explorer.search import ExactShortlist, Searcher
from preprocess.errors import UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout, check_name, read_json, write_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest, ShardEntry, manifest_json, validate
from preprocess.formats.shards import SEED, Shard, TripleBytes, plan_shards, write_shard
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE, sizes_json, splits_csv
from preprocess.formats.triples import CAPTION_INDEX, npy_array, parse_json
from preprocess.samples import JSON, SPLITS, DatasetSpec, ShardReport, Split
from preprocess.storage import MappedFiles, atomic_path, publish, remove_temporary, write_atomic


@dataclass(frozen=True, slots=True)
class Filter:
    """What to keep. The parts apply in this order.

    Attributes:
        keys: These samples alone, by key or id; all where None.
        split: One split.
        label: One label.
        query: With `min_score`: samples with a row that scores at least this much.
        min_score: Smallest cosine of the best row with the query.
        drop_duplicates: Cosine from which two samples count as near-duplicates; the first one stays.
        sample: Number of samples to keep: chosen by a hash of the key, or with `diverse` the most different ones.
        diverse: See `sample`.
        seed: Of the random choice, and of the order in the shards.
    """

    keys: tuple[str, ...] | None = None
    split: str | None = None
    label: str | None = None
    query: Query | None = None
    min_score: float | None = None
    drop_duplicates: float | None = None
    sample: int | None = None
    diverse: bool = False
    seed: int = SEED

    def __post_init__(self) -> None:
        if (self.query is None) != (self.min_score is None):
            raise UserError("--query and --min-score belong together", "Give both: --query TEXT --min-score 0.25.")
        if self.diverse and self.sample is None:
            raise UserError("--diverse says how samples are chosen", "Add their number: --sample 1000 --diverse.")

    def to_json(self) -> JSON:
        """What was asked for, for the manifest; keys as their number and checksum."""
        found: JSON = {
            "split": self.split,
            "label": self.label,
            "query": self.query.name if self.query else None,
            "min_score": self.min_score,
            "drop_duplicates": self.drop_duplicates,
            "sample": self.sample,
            "diverse": self.diverse or None,
        }
        if self.keys is not None:
            found["keys"] = len(self.keys)
            found["keys_sha256"] = hashlib.sha256("\n".join(sorted(self.keys)).encode()).hexdigest()
        return {name: value for name, value in found.items() if value is not None}


def select(index: Index, wanted: Filter) -> NDArray[np.int64]:
    """The samples to keep, ascending.

    Raises:
        UserError: A key, split or label does not exist, or nothing is left.
    """
    keep = np.ones(len(index), bool)
    if wanted.keys is not None:
        keep[:] = False
        keep[[index.number(key) for key in wanted.keys]] = True
    searcher = Searcher(index)
    if (allowed := searcher.allowed(wanted.split, wanted.label)) is not None:
        keep &= allowed
    if wanted.query is not None and wanted.min_score is not None:
        scores = ExactShortlist(index).row_scores(wanted.query.vector)
        starts, lengths = index.first_rows[:-1], np.diff(index.first_rows)
        best = np.full(len(index), -np.inf)
        best[lengths > 0] = np.maximum.reduceat(scores, starts[lengths > 0])
        keep &= best >= wanted.min_score
    numbers = np.flatnonzero(keep)
    if wanted.drop_duplicates is not None:
        numbers = numbers[drop_duplicates(index.pooled[numbers], wanted.drop_duplicates)]
    if wanted.sample is not None and wanted.diverse:
        numbers = numbers[diverse(index.pooled[numbers], wanted.sample)]
    elif wanted.sample is not None:
        keys = index.samples["key"].take(numbers).to_pylist()
        numbers = numbers[random_subset(keys, wanted.sample, wanted.seed)]
    if not len(numbers):
        raise UserError("no sample passes the filter", "Use a lower --min-score or another --label.")
    return numbers


def write_filtered(index: Index, wanted: Filter, out: Path, name: str) -> Manifest:
    """Selects, then writes `out/name`: shards, tables, manifest and card; the folder appears when it is complete.

    Args:
        index: Of the dataset to take samples from; its tars are read again.
        wanted: What to keep.
        out: Output folder.
        name: Of the new dataset: folder and Hub repository.

    Returns:
        The new manifest.

    Raises:
        UserError: As `select`; or the name cannot be used, or is taken.
    """
    check_name(name)
    layout = Layout(out, name)
    if layout.dataset.exists():
        raise UserError(f"{layout.dataset} already exists", "Choose another --name, or remove it first.")
    numbers = select(index, wanted)
    source = local_folder(index.source, only=["ds_*.tar", MANIFEST_FILE, SPLITS_FILE, "README.md"])
    out.mkdir(parents=True, exist_ok=True)
    remove_temporary(out, name)
    with atomic_path(layout.dataset) as partial:
        written = Layout(partial.parent, name)
        manifest = _write(index, wanted, numbers, source, written)
        layout.work.mkdir(parents=True, exist_ok=True)
        for path in sorted(written.work.iterdir()):
            publish(path, layout.work / path.name)
    return manifest


def _write(index: Index, wanted: Filter, numbers: NDArray[np.int64], source: Path, layout: Layout) -> Manifest:
    """Writes shards, tables, manifest and card; returns the manifest."""
    layout.dataset.mkdir()
    layout.work.mkdir(parents=True)
    per_shard = index.manifest["order"]["per_shard"]
    tars = _tars(source)
    members = _members(index, numbers, tars)
    names: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for key, (split, _, _) in members.items():
        names[split].append(key)
    shards = plan_shards(names, per_shard=per_shard, seed=wanted.seed)
    reports = [write_shard(layout.dataset, shard, _parts(shard, members, tars)) for shard in shards]
    manifest = _manifest(index, wanted, numbers, reports, layout.hub_name)
    write_atomic(layout.dataset / SPLITS_FILE, splits_csv({r.file: r.split for r in reports}))
    write_atomic(layout.dataset / SIZES_FILE, sizes_json({r.file: r.samples for r in reports}))
    write_atomic(layout.dataset / MANIFEST_FILE, manifest_json(manifest))
    origin = read_json(Layout(source.resolve().parent, source.resolve().name).source)
    if origin:  # so that evaluation, recheck and the page find the model and the raw files again
        write_json(layout.source, origin)
    _write_card(source_spec(source, origin, index.manifest), layout)
    return manifest


Member = tuple[Split, str, int]
"""Split, tar, and place in the tar of one triple."""


Tars = Callable[[str], ShardIndex]
"""A tar of the source by its name; each is looked through once."""


def _tars(source: Path) -> Tars:
    files = MappedFiles()
    return cache(lambda name: ShardIndex(source / name, files=files))


def _members(index: Index, numbers: NDArray[np.int64], tars: Tars) -> dict[str, Member]:
    """The triples of the samples by a unique name: the key, and the caption's number with the mode `each`."""
    wanted = set(index.samples["key"].take(numbers).to_pylist())
    each = index.manifest["caption_mode"] == "each"
    if not each:
        rows = index.samples.select(["key", "id", "shard", "split"]).take(numbers).to_pylist()
        places = {name: {id_: i for i, id_ in enumerate(tars(name).ids)} for name in {row["shard"] for row in rows}}
        return {row["key"]: (row["split"], row["shard"], places[row["shard"]][row["id"]]) for row in rows}
    found: dict[str, Member] = {}
    replaced = replaced_rows(index.manifest)
    for shard in index.manifest["shards"]:
        tar = tars(shard["file"])
        for i in range(len(tar)):
            if tar.ids[i] in replaced:
                continue
            meta = parse_json(tar.triple(i).json, f"{tar.path}: {tar.ids[i]}.json")
            if meta["key"] in wanted:
                found[f"{meta['key']}:{meta[CAPTION_INDEX]:05d}"] = (shard["split"], shard["file"], i)
    return found


def _parts(shard: Shard, members: dict[str, Member], tars: Tars) -> Any:
    for name in shard.names:
        _, file, place = members[name]
        tar = tars(file)
        triple = tar.triple(place)
        npy, txt, meta, *more = map(bytes, triple.parts)
        yield TripleBytes(npy, txt, meta, len(npy_array(npy, f"{tar.path}: {triple.id}.npy")), tuple(more))


def _manifest(
    index: Index, wanted: Filter, numbers: NDArray[np.int64], reports: Sequence[ShardReport], name: str
) -> Manifest:
    before = index.manifest
    inputs = index.columns["split"][numbers].tolist()
    checksum = hashlib.sha256((index.dataset / MANIFEST_FILE).read_bytes()).hexdigest()
    value: JSON = {
        **{name: part for name, part in before.items() if name != "generations"},  # the tars are new
        "dataset": name,
        "order": {"shuffle": True, "seed": wanted.seed, "per_shard": before["order"]["per_shard"]},
        "splits": {
            split: {
                "inputs": inputs.count(split),
                "samples": sum(r.samples for r in reports if r.split == split),
                "frames": sum(r.frames for r in reports if r.split == split),
                "missing": 0,
                "rejected": {},
            }
            for split in SPLITS
            if split in inputs
        },
        "shards": [cast(ShardEntry, dataclasses.asdict(report)) for report in reports],
        "filtered_from": {
            "dataset": before["dataset"],
            "manifest_sha256": checksum,
            "samples": len(index),
            "kept": len(numbers),
            "by": wanted.to_json(),
            **({"before": before["filtered_from"]} if "filtered_from" in before else {}),
        },
    }
    return validate(value)


def source_spec(folder: Path, origin: JSON, manifest: Manifest) -> DatasetSpec:
    """License, languages and tasks of a dataset: of its recipe where it was built here, else of its card.

    Raises:
        UserError: Neither is known.
    """
    from preprocess.recipes import load, names

    if origin.get("dataset") in names():
        return load(origin["dataset"]).SPEC
    try:
        data = read_front_matter((folder / "README.md").read_text("utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"{folder} has no card that says its license ({error})", "Write it first: make card DATASET=…"
        ) from None
    homepage = data.get("license_link")
    return DatasetSpec(
        name="filtered",
        title=manifest["dataset"],
        license=str(data.get("license") or "unknown"),
        citation="",
        homepage=homepage if isinstance(homepage, str) and homepage.startswith("https://") else "",
        languages=tuple(map(str, _listed(data.get("language")))),
        task_categories=tuple(map(str, _listed(data.get("task_categories")))),
        raw_layout="",
        caption_mode=manifest["caption_mode"],
    )


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _write_card(spec: DatasetSpec, layout: Layout) -> None:
    from dataset_cards.card import write_card
    from dataset_cards.card_inputs import read_card_inputs

    write_card(read_card_inputs(spec, layout))


def read_keys(path: Path) -> tuple[str, ...]:
    """Keys from a file: one per line, or the output of `search --json`.

    Raises:
        UserError: The file cannot be read, or holds none.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})", "Give a text file with one key per line.") from None
    with suppress(ValueError, KeyError, TypeError):
        return tuple(dict.fromkeys(str(hit["key"]) for hit in json.loads(text)["hits"]))
    keys = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not keys:
        raise UserError(f"{path} holds no key", "Give a text file with one key per line.")
    return keys

"""`folder`: any folder of videos or images becomes a dataset.

    raw/train/juggling/a.mp4     split train, label "juggling", caption "juggling"
    raw/train/juggling/a.txt     captions instead: one per line that is not empty
    raw/train/juggling/a.json    metadata: {"camera": "left", "captions": ["a man juggles"], "label": "juggling"}

Without train, val and test folders the split follows from a hash of the path; without class folders the caption is the
file's own name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preprocess.errors import RawDataError
from preprocess.recipes._annotations import captions_of, expect, own_meta, read_json, read_text, text
from preprocess.recipes._files import RawFiles, raw_data_error, split_suffix
from preprocess.recipes._splits import hash_split, in_order, split_named
from preprocess.samples import DatasetSpec, RecipeOptions, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="folder",
    hub_name="CLIP-Folder",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW/
├── train/<class>/a.mp4     any videos and images; train, val, test and class folders are optional
├── train/<class>/a.txt     optional: captions of a.mp4, one per line
└── train/<class>/a.json    optional: metadata of a.mp4, one object
""",
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video or image below `raw`; the files themselves are the annotation."""
    files = RawFiles.list(raw, SPEC)
    media = files.media()
    if not media:
        raise raw_data_error(SPEC, f"{raw} holds no video and no image")
    splits = _split_folders(media)
    classes = _classes(media, splits)
    stems = Counter(split_suffix(path)[0] for path in media)
    present = frozenset(files.paths)
    sidecars = {path: _sidecar(raw, path, present) for path in media}
    columns = sorted({name for sidecar in sidecars.values() for name in sidecar.meta})

    def sample(path: str) -> Sample:
        stem, _ = split_suffix(path)
        sidecar = sidecars[path]
        label = sidecar.label or classes.get(path)
        own = {name: sidecar.meta.get(name) for name in columns}  # the same keys in every sample
        return Sample(
            key=safe_key(stem if stems[stem] == 1 else path),  # a.mov beside a.mp4: both keep their suffix
            split=splits.get(path.partition("/")[0]) or hash_split(stem, options),
            media=path,
            captions=sidecar.captions or (words(label or stem),),
            label=label,
            meta={"videoID": stem, **own},
        )

    yield from in_order(map(sample, media))


def words(name: str) -> str:
    """A file's or folder's name as a caption: "riding a bike" for `sports/riding_a_bike`."""
    last = name.rpartition("/")[2]
    return " ".join(last.replace("_", " ").split()) or last


@dataclass(frozen=True, slots=True)
class _Sidecar:
    """What stands beside a video in files of the same stem."""

    captions: tuple[str, ...] = ()
    label: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def _sidecar(raw: Path, path: str, present: Collection[str]) -> _Sidecar:
    stem, _ = split_suffix(path)
    captions: tuple[str, ...] = ()
    label = None
    meta: dict[str, Any] = {}
    if f"{stem}.json" in present:
        file = raw / f"{stem}.json"
        meta = dict(expect(read_json(file), dict, file, ""))
        captions = captions_of(meta, file, "")
        label = text(meta.pop("label"), file, "label") if meta.get("label") is not None else None
    if f"{stem}.txt" in present:
        lines = read_text(raw / f"{stem}.txt").splitlines()
        captions = tuple(line.strip() for line in lines if line.strip()) or captions
    return _Sidecar(captions, label, own_meta(meta))


def _split_folders(media: Collection[str]) -> dict[str, Split]:
    """The split of each top folder that is named after one; then nothing may lie outside them."""
    tops = sorted({path.partition("/")[0] for path in media if "/" in path})
    splits = {top: split for top in tops if (split := split_named(top))}
    stray = next((path for path in media if splits and path.partition("/")[0] not in splits), None)
    if stray is not None:
        raise RawDataError(
            f"{stray} is in no split, but there are the folders {', '.join(splits)}",
            "Move it into one of them, or rename them if they are classes.",
        )
    return splits


def _classes(media: Collection[str], splits: Mapping[str, Split]) -> dict[str, str]:
    """The class folder of each file that is in one. One folder alone tells nothing apart and is no class."""
    found: dict[str, str] = {}
    for path in media:
        folders = path.split("/")[:-1]
        if folders and folders[0] in splits:
            folders = folders[1:]
        if folders:
            found[path] = folders[0]
    return found if len(set(found.values())) > 1 else {}

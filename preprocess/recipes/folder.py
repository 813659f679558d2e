"""`folder`: any folder of videos or images becomes a dataset.

    raw/train/juggling/a.mp4     split train, label "juggling", caption "juggling"
    raw/train/juggling/a.txt     captions instead: one per line that is not empty
    raw/train/juggling/a.json    metadata: {"camera": "left", "captions": ["a man juggles"], "label": "juggling"}
    raw/train/metadata.csv       or metadata of many files: file_name,text,camera (also .jsonl, .parquet)

Without train, val and test folders the split follows from a hash of the path; without class folders the caption is the
file's own name. These are the conventions of `VideoFolder` and `ImageFolder` of `datasets`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from preprocess.errors import RawDataError
from preprocess.readers.annotations import words
from preprocess.readers.entries import RepeatedNames
from preprocess.readers.files import MEDIA_SUFFIXES, RawFiles, split_suffix
from preprocess.readers.media_metadata import read_media_metadata
from preprocess.readers.splits import hash_split, in_order, split_named
from preprocess.samples import DatasetSpec, RecipeOptions, Reject, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="folder",
    title="Folder",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW/
├── train/<class>/a.mp4     any videos and images; train, val, test and class folders are optional
├── train/<class>/a.txt     optional: captions of a.mp4, one per line
├── train/<class>/a.json    optional: metadata of a.mp4, one object
└── train/metadata.csv      optional: file_name,text,label,… of all files (also .jsonl, .parquet; in any folder)
""",
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
    """One sample per video or image below `raw`; the files themselves are the annotation."""
    files = RawFiles.list(raw, SPEC)
    if not files.media():
        raise files.lacks("videos", "images")
    metadata = read_media_metadata(raw, files.paths, files.media())
    media = sorted(metadata)
    splits = _split_folders(media)
    has_classes = len({_folder_in_split(path, splits) for path in media} - {None}) > 1
    repeated = RepeatedNames(split_suffix(path)[0] for path in media)
    columns = sorted({name for said in metadata.values() for name in said.meta})

    def sample(path: str) -> Sample:
        stem, _ = split_suffix(path)
        said = metadata[path]
        # A single folder is not a class, as all files would share it.
        label = said.label or (_folder_in_split(path, splits) if has_classes else None)
        own = {name: said.meta.get(name) for name in columns}  # the same keys in every sample
        return Sample(
            key=safe_key(path if stem in repeated else stem),  # a.mov beside a.mp4: both keep their suffix
            split=_split(path, said.split, splits) or hash_split(stem, options),
            media=path,
            captions=said.captions or (words(label or stem),),
            label=label,
            meta={"videoID": stem, **own},
        )

    yield from in_order(map(sample, media))
    for path in files.unnamed:
        stem, suffix = split_suffix(path)
        if suffix in MEDIA_SUFFIXES:
            split = split_named(path.partition("/")[0]) or hash_split(stem, options)
            yield Reject(safe_key(path), split, "list", "unreadable", f"the file name {path!r} is not UTF-8")


def _split(path: str, said: Split | None, splits: Mapping[str, Split]) -> Split | None:
    """The split of a file by its folder or its metadata, which must not disagree."""
    folder = splits.get(path.partition("/")[0])
    if folder and said and folder != said:
        raise RawDataError(f"{path} is in the folder of {folder}, its metadata say {said}", "Correct one of them.")
    return folder or said


def _split_folders(media: Collection[str]) -> dict[str, Split]:
    """The split of each top folder that is named after one; then every file must be in such a folder."""
    tops = sorted({path.partition("/")[0] for path in media if "/" in path})
    splits = {top: split for top in tops if (split := split_named(top))}
    stray = next((path for path in media if splits and path.partition("/")[0] not in splits), None)
    if stray is not None:
        raise RawDataError(
            f"{stray} is in no split, but there are the folders {', '.join(splits)}",
            "Move it into one of them, or rename them if they are classes.",
        )
    return splits


def _folder_in_split(path: str, splits: Mapping[str, Split]) -> str | None:
    """The topmost folder of a file, below that of its split; None without one."""
    folders = path.split("/")[:-1]
    if folders and folders[0] in splits:
        folders = folders[1:]
    return folders[0] if folders else None

"""Splits, by name or by hash where the raw data has none; and the order of samples."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator

from preprocess.errors import RawDataError, UnknownNameError
from preprocess.sample_table import AS_OBJECTS
from preprocess.samples import SPLITS, DatasetSpec, RecipeOptions, Sample, Split

_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}


def split_named(text: str) -> Split | None:
    """`val` for "Validation", "valid", "validate" or "val"; None for any other word."""
    return _NAMES.get(text.strip().lower())


def split_in_name(path: str) -> Split | None:
    """The split that a word of a path names, folders first.

    Examples:
        >>> split_in_name("shards/imagenet-validation-0001.tar")
        'val'
    """
    return next((split for word in re.split(r"[^A-Za-z]+", path) if (split := split_named(word))), None)


def hash_split(name: str, options: RecipeOptions) -> Split:
    """The split of `name`, from its hash and the seed alone, so that adding videos does not move existing ones.

    Examples:
        >>> hash_split("a video", RecipeOptions(split=(0.0, 0.0, 1.0)))
        'test'
    """
    digest = hashlib.sha256(f"{options.seed}:{name}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    train, val, _ = options.split
    if place < train:
        return "train"
    return "val" if place < train + val else "test"


def protocol(spec: DatasetSpec, options: RecipeOptions) -> str:
    """The requested published split protocol, or the first one.

    Raises:
        UnknownNameError: The dataset has no protocol of that name.
    """
    if options.split_protocol is None:
        return spec.split_protocols[0]
    if options.split_protocol not in spec.split_protocols:
        raise UnknownNameError(f"split protocol of {spec.name}", options.split_protocol, spec.split_protocols)
    return options.split_protocol


def in_order(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yields samples by split (train, val, test) and key; more than `AS_OBJECTS` as they come, and none is held.

    Whoever takes the samples of a recipe sorts them (`preprocess.pipeline.plan.collected`), many in a file.

    Raises:
        RawDataError: Two samples have the same key, which of many is found when they are sorted.
    """
    stream = iter(samples)
    few = list(itertools.islice(stream, AS_OBJECTS + 1))
    if len(few) > AS_OBJECTS:
        every = itertools.chain(few, stream)
        del few  # or these would be held until all are taken
        yield from every
        return
    media_of: dict[str, str] = {}
    for sample in sorted(few, key=lambda s: (SPLITS.index(s.split), s.key)):
        if sample.key in media_of:
            cause = f"two samples have the key {sample.key!r}: {media_of[sample.key]} and {sample.media}"
            raise RawDataError(cause, "Rename or remove one of them.")
        media_of[sample.key] = sample.media
        yield sample


def split_and_class(path: str) -> tuple[Split, str | None] | None:
    """`("train", "dunking basketball")` for `k700/train/dunking basketball/a.mp4`; None outside the split folders."""
    folders = path.split("/")[:-1]
    for depth, folder in enumerate(folders):
        split = split_named(folder)
        if split is not None:
            return split, folders[depth + 1] if depth + 1 < len(folders) else None
    return None

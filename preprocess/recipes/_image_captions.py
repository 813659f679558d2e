"""Captions of images as JSON files have them: COCO's own shape, or a list as BLIP published it. One entry of the list:

    {"image": "val2014/COCO_val2014_000000391895.jpg", "caption": ["A man with a red helmet.", "…", "…", "…", "…"]}

In a train file each caption has an entry of its own, so that an image comes up five times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import below, captions_of, claim, expect, field, read_json, text
from preprocess.recipes._files import RawFiles, raw_data_error
from preprocess.recipes._splits import in_order
from preprocess.samples import Sample, Split, safe_key


def captioned_images(files: RawFiles, names: Mapping[Split, tuple[str, ...]], folder: str) -> Iterator[Sample]:
    """One sample per image, in order; the key is the image's name.

    Args:
        files: The raw folder.
        names: What the annotation file of each split may be called. A split without one is left out.
        folder: Where an image would be that is not there: `folder/` and the path of the annotation.

    Raises:
        RawDataError: No split has its file.
        AnnotationError: A file is not what it should be, or an image is in two splits.
    """
    found = [(split, path) for split, tried in names.items() if (path := files.find_annotation(*tried))]
    if not found:
        wanted = ", ".join(tried[0] for tried in names.values())
        raise raw_data_error(files.spec, f"{files.raw} holds none of {wanted}")
    yield from in_order(_samples(files, found, folder))


def _samples(files: RawFiles, found: list[tuple[Split, Path]], folder: str) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split, path in found:
        for image, captions in read_captions(path).items():
            name = image.rpartition("/")[2]
            stem = name.rpartition(".")[0] or name
            claim(taken, stem, path, image)
            yield Sample(
                key=safe_key(stem),
                split=split,
                media=files.named(name) or f"{folder}/{image}",
                captions=tuple(captions),
                meta={"videoID": stem},
            )


def read_captions(path: Path) -> dict[str, list[str]]:
    """Path of the image → its captions, both in the order of the file.

    Raises:
        AnnotationError: Neither of the two shapes, an image without a caption, a path that leads out.
    """
    document = read_json(path)
    found = _official(document, path) if isinstance(document, dict) else _listed(document, path)
    bare = next((image for image, captions in found.items() if not captions), None)
    if bare is not None:
        raise AnnotationError(path, bare, "the image has no caption", "at least one")
    return found


def _official(document: dict[str, Any], path: Path) -> dict[str, list[str]]:
    names: dict[int, str] = {}
    for index, row in enumerate(field(document, "images", list, path, "")):
        where = f"images[{index}]"
        id_ = field(expect(row, dict, path, where), "id", int, path, where)
        if id_ in names:
            raise AnnotationError(path, where, f"the image id {id_} is given twice", "every id once")
        names[id_] = below(field(row, "file_name", str, path, where), path, where)
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for index, row in enumerate(field(document, "annotations", list, path, "")):
        where = f"annotations[{index}]"
        id_ = field(expect(row, dict, path, where), "image_id", int, path, where)
        if id_ not in names:
            raise AnnotationError(path, where, f"no image has the id {id_}", "an id of images")
        found[names[id_]].append(text(field(row, "caption", str, path, where), path, where))
    return found


def _listed(document: object, path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for index, item in enumerate(expect(document, list, path, "")):
        where = f"entry {index}"
        row = dict(expect(item, dict, path, where))
        image = below(field(row, "image", str, path, where), path, where)
        found.setdefault(image, []).extend(captions_of(row, path, where))
    return found

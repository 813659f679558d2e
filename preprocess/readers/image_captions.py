"""Captions of images in the shapes in which COCO and Flickr are published. Each shape is read as:

    {"train": {"train2014/COCO_train2014_000000000009.jpg": ["A bowl of food.", …]}, "val": {…}}

`read_captions` reads the file of one split: COCO's own shape, the lists that BLIP published, and bare lists of captions
by image number. `read_karpathy` reads Karpathy's JSON, which holds all splits; `read_caption_table` reads Kaggle's
tables, which hold none.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import as_list, below, claim, read_json, read_text
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import hash_split, in_order
from preprocess.samples import SPLITS, RecipeOptions, Sample, Split, safe_key
from preprocess.validation import PathBelow, Text, annotation

Captions = dict[str, list[str]]
"""Path of an image to its captions, both in the order of the file."""

ImageOfId = Callable[[int], str]
"""From the number of an image to its path."""

_log = logging.getLogger(__name__)


# --- to samples -------------------------------------------------------------------------------------------------------


def split_files(
    files: RawFiles, names: Mapping[Split, tuple[str, ...]], image_of_id: Mapping[str, ImageOfId] | None = None
) -> dict[Split, tuple[Path, Captions]]:
    """The captions of each split that has a file of its own.

    Args:
        files: The raw folder.
        names: Possible names of the annotation file of each split.
        image_of_id: By the name of the file, for bare lists of captions.

    Raises:
        AnnotationError: A file is not what it should be.
    """
    found = {split: path for split, tried in names.items() if (path := files.find_annotation(*tried))}
    named = image_of_id or {}
    return {split: (path, read_captions(path, named.get(path.name))) for split, path in found.items()}


def captioned_images(files: RawFiles, captions: Mapping[Split, tuple[Path, Captions]], folder: str) -> Iterator[Sample]:
    """One sample per image, in order; the key is the image's name.

    Args:
        files: The raw folder.
        captions: Of each split, with the file that they are from.
        folder: Where an image would be that is missing: `folder/` and the path of the annotation.

    Raises:
        AnnotationError: An image is in two splits.
    """
    taken: dict[str, str] = {}

    def samples() -> Iterator[Sample]:
        for split, (path, images) in captions.items():
            for image, texts in images.items():
                name = image.rpartition("/")[2]
                stem = name.rpartition(".")[0] or name
                claim(taken, stem, path, image)
                yield Sample(
                    key=safe_key(stem),
                    split=split,
                    media=files.named(name) or f"{folder}/{image}",
                    captions=tuple(texts),
                    meta={"videoID": stem},
                )

    yield from in_order(samples())


def flickr_images(files: RawFiles, name: str, folder: str, options: RecipeOptions) -> Iterator[Sample]:
    """The samples of a Flickr dataset: from `<name>_<split>.json`, Karpathy's `dataset_<name>.json`, or Kaggle's table.

    Args:
        files: The raw folder.
        name: Of the dataset, e.g. `flickr30k`.
        folder: As in `captioned_images`.
        options: Shares and seed of the split by hash, for the table, which has none.

    Raises:
        RawDataError: None of these files is present.
        AnnotationError: One is not what it should be.
    """
    captions = split_files(files, {split: (f"{name}_{split}.json", f"{name}_{split}.json.json") for split in SPLITS})
    if not captions and (path := files.find_annotation(f"dataset_{name}.json")):
        captions = {split: (path, images) for split, images in read_karpathy(path).items()}
    if not captions and (path := files.find_annotation("captions.txt", "results.csv")):
        _log.warning("%s names no splits: images are split by a hash of their name (--split, --seed)", path)
        images = read_caption_table(path)
        by_split = {split: [i for i in images if hash_split(i, options) == split] for split in SPLITS}
        captions = {split: (path, {image: images[image] for image in of}) for split, of in by_split.items()}
    if not captions:
        raise files.lacks(*(f"{name}_{split}.json" for split in SPLITS), f"dataset_{name}.json", "captions.txt")
    yield from captioned_images(files, captions, folder)


# --- the shapes -------------------------------------------------------------------------------------------------------


class _Image(TypedDict):
    id: int
    file_name: PathBelow


class _Annotation(TypedDict):
    image_id: int
    caption: Text


class _Official(TypedDict):
    """COCO's own shape."""

    images: list[_Image]
    annotations: list[_Annotation]


class _Listed(TypedDict):
    """An entry of a list: several captions, or one caption per entry."""

    image: PathBelow
    caption: NotRequired[str | list[str] | None]
    captions: NotRequired[str | list[str] | None]


class _Sentence(TypedDict):
    raw: str


class _Karpathy(TypedDict):
    filename: PathBelow
    filepath: NotRequired[PathBelow]
    split: Literal["train", "restval", "val", "test"]
    sentences: list[_Sentence]


class _KarpathyFile(TypedDict):
    images: list[_Karpathy]


def read_captions(path: Path, image_of_id: ImageOfId | None = None) -> Captions:
    """The captions of one split.

    Args:
        path: COCO's own shape (`images`, `annotations`), a list of `{image, caption}` with one caption or several, or a
            list of `{image_id, caption}`.
        image_of_id: Gives the path of an image by its number, for the last of the three.

    Raises:
        AnnotationError: The file has none of these shapes, an image has no caption, or a path leads out of the folder.
    """
    document = read_json(path)
    if isinstance(document, dict):
        found = _official(annotation(document, _Official, path), path)
    elif image_of_id and isinstance(document, list) and document and _is_bare(document[0]):
        found = {}
        for row in annotation(document, list[_Annotation], path):
            found.setdefault(image_of_id(row["image_id"]), []).append(row["caption"])
    else:
        found = {}
        for entry in annotation(document, list[_Listed], path):
            found.setdefault(entry["image"], []).extend(
                caption
                for given in (entry.get("caption"), entry.get("captions"))
                for caption in as_list(given)
                if caption.strip()
            )
    return _with_captions(found, path)


def read_karpathy(path: Path) -> dict[Split, Captions]:
    """The captions of Karpathy's JSON, by split; his `restval` belongs to train.

    Raises:
        AnnotationError: The file has another shape, lists an image twice, or has an image without a caption.
    """
    found: dict[Split, Captions] = {split: {} for split in SPLITS}
    taken: dict[str, str] = {}
    for index, image in enumerate(annotation(read_json(path), _KarpathyFile, path)["images"]):
        name = f"{image['filepath']}/{image['filename']}" if "filepath" in image else image["filename"]
        claim(taken, name, path, f"images[{index}]")
        split: Split = "train" if image["split"] == "restval" else image["split"]
        found[split][name] = [sentence["raw"] for sentence in image["sentences"] if sentence["raw"].strip()]
    return {split: _with_captions(images, path) for split, images in found.items() if images}


def read_caption_table(path: Path) -> Captions:
    """The captions of Kaggle's tables: `image,caption`, or `image_name,comment_number,comment` with `,` or `|`.

    A comment may hold the delimiter without quotes, and one row of `results.csv` as published lacks its last `|`.

    Raises:
        AnnotationError: The file has another header, or a row without an image or a comment.
    """
    lines = read_text(path).splitlines()
    header = lines[0] if lines else ""
    delimiter = "|" if "|" in header else ","
    columns = [cell.strip() for cell in header.split(delimiter)]
    if columns not in (["image", "caption"], ["image_name", "comment_number", "comment"]):
        raise AnnotationError(path, "line 1", f"the header is {header[:80]!r}", "image,caption or image_name,…,comment")
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    found: Captions = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = next(csv.reader([line], delimiter=delimiter, quoting=quoting))
        if len(columns) == 3 and len(cells) == 2:
            cells = [cells[0], *cells[1].strip().partition(" ")[::2]]
        image, comment = cells[0].strip(), delimiter.join(cells[len(columns) - 1 :]).strip()
        if len(cells) < len(columns) or not image:
            raise AnnotationError(path, f"line {number}", f"the row is {line[:80]!r}", f"the columns {header}")
        captions = found.setdefault(below(image, path, f"line {number}"), [])
        if comment:
            captions.append(comment)
    return _with_captions(found, path)


def _is_bare(entry: object) -> bool:
    return isinstance(entry, dict) and "image_id" in entry and "image" not in entry


def _official(document: _Official, path: Path) -> Captions:
    names: dict[int, str] = {}
    for index, image in enumerate(document["images"]):
        if image["id"] in names:
            raise AnnotationError(path, f"images[{index}]", f"the image id {image['id']} is given twice", "unique ids")
        names[image["id"]] = image["file_name"]
    found: Captions = {name: [] for name in names.values()}
    for index, row in enumerate(document["annotations"]):
        if row["image_id"] not in names:
            where = f"annotations[{index}]"
            raise AnnotationError(path, where, f"no image has the id {row['image_id']}", "an id of images")
        found[names[row["image_id"]]].append(row["caption"])
    return found


def _with_captions(found: Captions, path: Path) -> Captions:
    """The same captions, none of them empty."""
    bare = next((image for image, captions in found.items() if not captions), None)
    if bare is not None:
        raise AnnotationError(path, bare, "the image has no caption", "at least one caption")
    return found

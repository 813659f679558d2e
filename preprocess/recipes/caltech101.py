"""`caltech101`: Caltech 101, pictures of objects, in the split of CoOp. From split_zhou_Caltech101.json:

{"train": [["Faces/image_0274.jpg", 0, "face"], …], "val": […], "test": […]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.readers.annotations import claim, read_json
from preprocess.readers.files import RawFiles, split_suffix
from preprocess.readers.splits import in_order
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample, safe_key
from preprocess.validation import FromList, PathBelow, Text, annotation

SPEC = DatasetSpec(
    name="caltech101",
    title="Caltech101",
    license="cc-by-4.0",
    citation=r"""
@misc{li2022caltech101,
  title = {{Caltech 101}},
  author = {Li, Fei-Fei and Andreeto, Marco and Ranzato, Marc'Aurelio and Perona, Pietro},
  publisher = {CaltechDATA},
  doi = {10.22002/D1.20086},
  year = {2022}
}
@article{zhou2022coop,
  title = {Learning to Prompt for Vision-Language Models},
  author = {Zhou, Kaiyang and Yang, Jingkang and Loy, Chen Change and Liu, Ziwei},
  journal = {International Journal of Computer Vision},
  year = {2022}
}
""".strip(),
    homepage="https://data.caltech.edu/records/mzrjq-6wc02",
    languages=("en",),
    annotations_creators=("expert-generated",),
    task_categories=("image-classification", "zero-shot-image-classification", "image-feature-extraction"),
    raw_layout="""
RAW/
└── caltech-101/
    ├── 101_ObjectCategories/<class>/image_0001.jpg
    └── split_zhou_Caltech101.json
""",
    remotes=(
        RemoteFile(
            "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
            "caltech-101/101_ObjectCategories/",
            kind="archive",
            gives=("101_ObjectCategories/*.jpg",),
            md5="3138e1922a9193bfa496528edbbc45d0",
        ),
        RemoteFile(
            "https://drive.google.com/file/d/1hyarUivQE36mY6jSomru6Fjd-JzwcCzN/view",
            "caltech-101/split_zhou_Caltech101.json",
            kind="page",
            how="open in a browser and download",
        ),
    ),
)

_IMAGES = "101_ObjectCategories"


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image of the published split, captioned by its class."""
    files = RawFiles.list(raw, SPEC, IMAGE_SUFFIXES)
    table = files.annotation("split_zhou_Caltech101.json")
    yield from in_order(_samples(table, _base(files)))


Row = Annotated[tuple[PathBelow, int, Text], FromList()]
"""Path below the folder of the images, number of the class, name of the class."""


class Splits(TypedDict):
    """The published split."""

    train: list[Row]
    val: list[Row]
    test: list[Row]


def _samples(table: Path, base: str) -> Iterator[Sample]:
    splits = annotation(read_json(table), Splits, table)
    taken: dict[str, str] = {}
    for split in SPLITS:
        for index, (path, class_id, name) in enumerate(splits[split]):
            stem, _ = split_suffix(path)
            claim(taken, stem, table, f"{split}[{index}]")
            yield Sample(
                key=safe_key(stem),
                split=split,
                media=f"{base}/{path}",
                captions=(name,),
                label=name,
                meta={"videoID": stem, "class_id": class_id},
            )


def _base(files: RawFiles) -> str:
    """Where the class folders are, whether RAW is the folder above `caltech-101` or that one itself."""
    for path in files.paths:
        folders = path.split("/")[:-1]
        if _IMAGES in folders:
            return "/".join(folders[: folders.index(_IMAGES) + 1])
    return f"caltech-101/{_IMAGES}"

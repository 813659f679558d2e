"""`caltech101`: Caltech 101, pictures of objects, in the split of CoOp. From split_zhou_Caltech101.json:

{"train": [["Faces/image_0274.jpg", 0, "face"], …], "val": […], "test": […]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import below, claim, expect, field, read_json, text
from preprocess.recipes._files import RawFiles, split_suffix
from preprocess.recipes._splits import in_order
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample, safe_key

SPEC = DatasetSpec(
    name="caltech101",
    hub_name="CLIP-Caltech101",
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
    task_categories=("image-classification", "zero-shot-image-classification", "image-feature-extraction"),
    raw_layout="""
RAW/
└── caltech-101/
    ├── 101_ObjectCategories/<class>/image_0001.jpg
    └── split_zhou_Caltech101.json
""",
    remotes=(
        RemoteFile("https://data.caltech.edu/records/mzrjq-6wc02", "caltech-101/101_ObjectCategories/"),
        RemoteFile(
            "https://drive.google.com/file/d/1hyarUivQE36mY6jSomru6Fjd-JzwcCzN/view",
            "caltech-101/split_zhou_Caltech101.json",
        ),
    ),
)

_IMAGES = "101_ObjectCategories"


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image of the published split, captioned by its class."""
    files = RawFiles.list(raw, SPEC, IMAGE_SUFFIXES)
    table = files.annotation("split_zhou_Caltech101.json")
    yield from in_order(_samples(table, _base(files)))


def _samples(table: Path, base: str) -> Iterator[Sample]:
    document = expect(read_json(table), dict, table, "")
    taken: dict[str, str] = {}
    for split in SPLITS:
        for index, row in enumerate(field(document, split, list, table, "")):
            where = f"{split}[{index}]"
            if len(expect(row, list, table, where)) != 3:
                raise AnnotationError(table, where, f"{len(row)} values", "path, label and class name")
            path = below(expect(row[0], str, table, where), table, where)
            name = text(row[2], table, where)
            stem, _ = split_suffix(path)
            claim(taken, stem, table, where)
            yield Sample(
                key=safe_key(stem),
                split=split,
                media=f"{base}/{path}",
                captions=(name,),
                label=name,
                meta={"videoID": stem, "class_id": expect(row[1], int, table, where)},
            )


def _base(files: RawFiles) -> str:
    """Where the class folders are, whether RAW is the folder above `caltech-101` or that one itself."""
    for path in files.paths:
        folders = path.split("/")[:-1]
        if _IMAGES in folders:
            return "/".join(folders[: folders.index(_IMAGES) + 1])
    return f"caltech-101/{_IMAGES}"

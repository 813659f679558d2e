"""`mscoco2014`: MS COCO 2014, photographs with five captions each, in Karpathy's splits. From coco_karpathy_val.json:

    [{"image": "val2014/COCO_val2014_000000184613.jpg", "caption": ["A child holding a flowered umbrella.", …]}, …]

captions_train.json has the same shape, COCO's own (`{"images": […], "annotations": […]}`), or is a bare list of
`{"image_id": 318556, "id": 48, "caption": "…"}`, whose image is `train2014/COCO_train2014_000000318556.jpg`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.readers.files import RawFiles
from preprocess.readers.image_captions import ImageOfId, captioned_images, split_files
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split

_KARPATHY = "https://storage.googleapis.com/sfr-vision-language-research/datasets"

_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("captions_train.json", "coco_karpathy_train.json"),
    "val": ("coco_karpathy_val.json", "captions_val.json"),
    "test": ("coco_karpathy_test.json",),
}

SPEC = DatasetSpec(
    name="mscoco2014",
    title="MSCOCO2014",
    license="cc-by-4.0",
    citation=r"""
@inproceedings{lin2014coco,
  title = {{Microsoft COCO}: Common Objects in Context},
  author = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and
            Ramanan, Deva and Doll{\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle = {Proceedings of the European Conference on Computer Vision (ECCV)},
  pages = {740--755},
  year = {2014}
}
@article{chen2015coco,
  title = {{Microsoft COCO} Captions: Data Collection and Evaluation Server},
  author = {Chen, Xinlei and Fang, Hao and Lin, Tsung-Yi and Vedantam, Ramakrishna and Gupta, Saurabh and
            Doll{\'a}r, Piotr and Zitnick, C. Lawrence},
  journal = {arXiv preprint arXiv:1504.00325},
  year = {2015}
}
@inproceedings{karpathy2015deep,
  title = {Deep Visual-Semantic Alignments for Generating Image Descriptions},
  author = {Karpathy, Andrej and Fei-Fei, Li},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {3128--3137},
  year = {2015}
}
""".strip(),
    homepage="https://cocodataset.org",
    languages=("en",),
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("image-feature-extraction", "image-to-text", "text-to-image"),
    raw_layout="""
RAW/
└── mscoco2014/
    ├── train2014/COCO_train2014_000000000009.jpg
    ├── val2014/COCO_val2014_000000000042.jpg
    ├── captions_train.json          or coco_karpathy_train.json
    ├── coco_karpathy_val.json       or captions_val.json, of all val2014
    └── coco_karpathy_test.json
""",
    remotes=(
        *(
            RemoteFile(
                f"http://images.cocodataset.org/zips/{split}2014.zip",
                f"mscoco2014/{split}2014/",
                kind="archive",
                into="mscoco2014",
                gives=(f"COCO_{split}2014_*.jpg",),
                terms="images: Flickr's terms of use",
            )
            for split in ("train", "val")
        ),
        *(
            RemoteFile(
                f"{_KARPATHY}/coco_karpathy_{split}.json",
                f"mscoco2014/coco_karpathy_{split}.json",
                gives=("|".join(_NAMES[split]),),
            )
            for split in SPLITS
        ),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, with its captions."""
    files = RawFiles.list(raw, SPEC, IMAGE_SUFFIXES)
    captions = split_files(files, _NAMES, {f"captions_{split}.json": _image_of(split) for split in SPLITS})
    if not captions:
        raise files.lacks(*(name for names in _NAMES.values() for name in names))
    yield from captioned_images(files, captions, "mscoco2014")


def _image_of(split: str) -> ImageOfId:
    """`train2014/COCO_train2014_000000000009.jpg` for 9."""
    return lambda number: f"{split}2014/COCO_{split}2014_{number:012d}.jpg"

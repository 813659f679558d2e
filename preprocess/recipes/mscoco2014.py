"""`mscoco2014`: MS COCO 2014, photographs with five captions each, in Karpathy's splits. From coco_karpathy_val.json:

    [{"image": "val2014/COCO_val2014_000000184613.jpg", "caption": ["A child holding a flowered umbrella.", …]}, …]

captions_train.json has the same shape, or COCO's own: `{"images": […], "annotations": […]}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.recipes._files import RawFiles
from preprocess.recipes._image_captions import captioned_images
from preprocess.samples import IMAGE_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample

_KARPATHY = "https://storage.googleapis.com/sfr-vision-language-research/datasets"

SPEC = DatasetSpec(
    name="mscoco2014",
    hub_name="CLIP-MSCOCO2014",
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
    task_categories=("image-feature-extraction", "image-to-text", "text-to-image"),
    raw_layout="""
RAW/
└── mscoco2014/
    ├── train2014/COCO_train2014_000000000009.jpg
    ├── val2014/COCO_val2014_000000000042.jpg
    ├── captions_train.json          or coco_karpathy_train.json
    ├── coco_karpathy_val.json
    └── coco_karpathy_test.json
""",
    remotes=(
        RemoteFile("http://images.cocodataset.org/zips/train2014.zip", "mscoco2014/train2014/"),
        RemoteFile("http://images.cocodataset.org/zips/val2014.zip", "mscoco2014/val2014/"),
        RemoteFile(f"{_KARPATHY}/coco_karpathy_train.json", "mscoco2014/coco_karpathy_train.json"),
        RemoteFile(f"{_KARPATHY}/coco_karpathy_val.json", "mscoco2014/coco_karpathy_val.json"),
        RemoteFile(f"{_KARPATHY}/coco_karpathy_test.json", "mscoco2014/coco_karpathy_test.json"),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, with its captions."""
    names = ("captions_train.json", "coco_karpathy_train.json")
    yield from captioned_images(
        RawFiles.list(raw, SPEC, IMAGE_SUFFIXES),
        {"train": names, "val": ("coco_karpathy_val.json",), "test": ("coco_karpathy_test.json",)},
        "mscoco2014",
    )

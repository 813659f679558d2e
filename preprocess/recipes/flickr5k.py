"""`flickr5k`: Flickr5k, a smaller set of photographs in the manner of Flickr30k. From flickr5k_test.json:

[{"image": "flickr5k-images/1007129816.jpg", "caption": ["The man with pierced ears is wearing glasses.", …]}, …]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.recipes._files import RawFiles
from preprocess.recipes._image_captions import captioned_images
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample

SPEC = DatasetSpec(
    name="flickr5k",
    hub_name="CLIP-Flickr5k",
    license="unknown",
    citation="""
@misc{flickr5k,
  title = {Flickr5k},
  author = {{wangjilong}},
  howpublished = {Kaggle},
  url = {https://www.kaggle.com/datasets/wangjilong/self-data}
}
""".strip(),
    homepage="https://www.kaggle.com/datasets/wangjilong/self-data",
    languages=("en",),
    task_categories=("image-feature-extraction", "image-to-text", "text-to-image"),
    raw_layout="""
RAW/
└── flickr5k/
    ├── flickr5k-images/*.jpg
    └── flickr5k_{train,val,test}.json    .json.json does too
""",
    remotes=(
        RemoteFile("https://www.kaggle.com/datasets/wangjilong/self-data", "flickr5k/flickr5k-images/"),
        RemoteFile("https://www.kaggle.com/datasets/wangjilong/dataset-json", "flickr5k/flickr5k_*.json"),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, with its captions."""
    names = {split: (f"flickr5k_{split}.json", f"flickr5k_{split}.json.json") for split in SPLITS}
    yield from captioned_images(RawFiles.list(raw, SPEC, IMAGE_SUFFIXES), names, "flickr5k")

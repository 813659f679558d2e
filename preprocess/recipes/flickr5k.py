"""`flickr5k`: Flickr5k, a smaller set of photographs in the manner of Flickr30k. From flickr5k_test.json:

[{"image": "flickr5k-images/1007129816.jpg", "caption": ["The man with pierced ears is wearing glasses.", …]}, …]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.readers.files import RawFiles
from preprocess.readers.image_captions import flickr_images
from preprocess.samples import IMAGE_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample

SPEC = DatasetSpec(
    name="flickr5k",
    title="Flickr5k",
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
    └── flickr5k_{train,val,test}.json    also .json.json
""",
    remotes=(
        RemoteFile(
            "https://www.kaggle.com/datasets/wangjilong/self-data",
            "flickr5k/flickr5k-images/",
            kind="page",
            how="sign in and download",
        ),
        RemoteFile(
            "https://www.kaggle.com/datasets/wangjilong/dataset-json",
            "flickr5k/flickr5k_*.json",
            kind="page",
            how="sign in and download",
        ),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, with its captions."""
    yield from flickr_images(RawFiles.list(raw, SPEC, IMAGE_SUFFIXES), SPEC.name, "flickr5k", options)

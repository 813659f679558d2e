"""`flickr30k`: Flickr30k, photographs of everyday scenes with five captions each. From flickr30k_test.json:

[{"image": "flickr30k-images/1007129816.jpg", "caption": ["The man with pierced ears is wearing glasses.", …]}, …]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.readers.files import RawFiles
from preprocess.readers.image_captions import flickr_images
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample

_LISTS = "https://storage.googleapis.com/sfr-vision-language-research/datasets"

SPEC = DatasetSpec(
    name="flickr30k",
    title="Flickr30k",
    license="other",
    citation="""
@article{young2014flickr30k,
  title = {From Image Descriptions to Visual Denotations: New Similarity Metrics for Semantic Inference over Event
           Descriptions},
  author = {Young, Peter and Lai, Alice and Hodosh, Micah and Hockenmaier, Julia},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {2},
  pages = {67--78},
  year = {2014}
}
""".strip(),
    homepage="https://shannon.cs.illinois.edu/DenotationGraph/",
    languages=("en",),
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("image-feature-extraction", "image-to-text", "text-to-image"),
    raw_layout="""
RAW/
└── flickr/
    ├── flickr30k-images/1000092795.jpg    any folder, e.g. flickr30k_images/ or images/
    └── flickr30k_{train,val,test}.json    also .json.json; or Karpathy's dataset_flickr30k.json, with his splits;
                                           or Kaggle's captions.txt or results.csv, split by hash (--split, --seed)
""",
    remotes=(
        RemoteFile(
            "https://forms.illinois.edu/sec/229675",
            "flickr/flickr30k-images/",
            kind="page",
            how="request the images with this form",
            terms="images: Flickr's terms of use; research and education, no commercial use",
        ),
        *(
            RemoteFile(
                f"{_LISTS}/flickr30k_{split}.json",
                f"flickr/flickr30k_{split}.json",
                gives=(
                    f"flickr30k_{split}.json|flickr30k_{split}.json.json|dataset_flickr30k.json|captions.txt|results.csv",
                ),
            )
            for split in SPLITS
        ),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, with its captions."""
    yield from flickr_images(RawFiles.list(raw, SPEC, IMAGE_SUFFIXES), SPEC.name, "flickr", options)

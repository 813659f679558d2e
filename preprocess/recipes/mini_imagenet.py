"""`mini_imagenet`: mini-ImageNet, classes of ImageNet cut down for few-shot learning. A line of classnames.txt:

    n01532829 house finch

and an image of that class: `mini-imagenet/train/n01532829/n0153282900000005.jpg`. The splits share no class.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import claim, read_text
from preprocess.recipes._files import RawFiles, raw_data_error, split_suffix
from preprocess.recipes._splits import in_order, split_and_class
from preprocess.samples import IMAGE_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, safe_key

SPEC = DatasetSpec(
    name="mini_imagenet",
    hub_name="CLIP-mini-ImageNet",
    license="other",
    citation=r"""
@inproceedings{vinyals2016matching,
  title = {Matching Networks for One Shot Learning},
  author = {Vinyals, Oriol and Blundell, Charles and Lillicrap, Timothy and Kavukcuoglu, Koray and Wierstra, Daan},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {29},
  year = {2016}
}
@article{russakovsky2015imagenet,
  title = {{ImageNet} Large Scale Visual Recognition Challenge},
  author = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and
            Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and
            Fei-Fei, Li},
  journal = {International Journal of Computer Vision},
  volume = {115},
  number = {3},
  pages = {211--252},
  year = {2015}
}
""".strip(),
    homepage="https://image-net.org",
    languages=("en",),
    task_categories=("image-classification", "zero-shot-image-classification", "image-feature-extraction"),
    raw_layout="""
RAW/
└── mini-imagenet/
    ├── {train,val,test}/<wnid>/*.jpg    e.g. train/n01532829/n0153282900000005.jpg
    └── classnames.txt                   n01532829 house finch
""",
    remotes=(
        RemoteFile("https://yaoyaoliu.web.illinois.edu/projects/mtl/download/", "mini-imagenet/{train,val,test}/"),
        RemoteFile(
            "https://drive.google.com/file/d/1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF/view", "mini-imagenet/classnames.txt"
        ),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image in a class folder of a split, captioned by the name of its class."""
    files = RawFiles.list(raw, SPEC, IMAGE_SUFFIXES)
    table = files.annotation("classnames.txt")
    names = _classnames(table)
    placed = [(path, place) for path in files.media(IMAGE_SUFFIXES) if (place := split_and_class(path))]
    if not placed:
        raise raw_data_error(SPEC, f"{raw} holds no image in train/<wnid>/, val/<wnid>/ or test/<wnid>/")

    def images() -> Iterator[Sample]:
        for path, (split, wnid) in placed:
            if wnid is None:
                raise raw_data_error(SPEC, f"{path} is in no class folder")
            if wnid not in names:
                raise AnnotationError(table, wnid, "the folder's class has no name", "a line for every class")
            stem = split_suffix(path)[0].rpartition("/")[2]
            image = stem if stem.startswith(wnid) else f"{wnid}_{stem}"
            yield Sample(
                key=safe_key(image),
                split=split,
                media=path,
                captions=(names[wnid],),
                label=names[wnid],
                meta={"videoID": image, "wnid": wnid},
            )

    yield from in_order(images())


def _classnames(table: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for number, line in enumerate(read_text(table).splitlines(), start=1):
        if line.strip():
            wnid, _, name = line.strip().partition(" ")
            if not name.strip():
                raise AnnotationError(table, f"line {number}", f"{line!r} has no name", "n01440764 tench")
            claim(taken, wnid, table, f"line {number}")
            names[wnid] = name.strip()
    return names

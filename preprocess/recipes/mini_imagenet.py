"""`mini_imagenet`: mini-ImageNet, classes of ImageNet cut down for few-shot learning. A line of classnames.txt:

    n01532829 house finch

and an image of that class: `mini-imagenet/train/n01532829/n0153282900000005.jpg`. The splits share no class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import below, claim, read_csv, read_text, text
from preprocess.readers.files import RawFiles, raw_data_error, split_suffix
from preprocess.readers.splits import in_order, split_and_class
from preprocess.samples import IMAGE_SUFFIXES, SPLITS, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="mini_imagenet",
    title="mini-ImageNet",
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
    annotations_creators=("crowdsourced",),
    task_categories=("image-classification", "zero-shot-image-classification", "image-feature-extraction"),
    raw_layout="""
RAW/
└── mini-imagenet/
    ├── {train,val,test}/<wnid>/*.jpg    e.g. train/n01532829/n0153282900000005.jpg
    └── classnames.txt                   n01532829 house finch

or the split of Ravi and Larochelle:
RAW/
├── images/n0153282900000005.jpg         all images
├── {train,val,test}.csv                 filename,label
└── classnames.txt                       optional: without it, classes are called by their WordNet ids
""",
    remotes=(
        RemoteFile(
            "https://yaoyaoliu.web.illinois.edu/projects/mtl/download/",
            "mini-imagenet/{train,val,test}/",
            kind="page",
            how="open in a browser and download the three splits",
            terms="ImageNet's terms of access: research and education, no commercial use",
        ),
        RemoteFile(
            "https://drive.google.com/file/d/1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF/view",
            "mini-imagenet/classnames.txt",
            kind="page",
            how="open in a browser and download",
        ),
    ),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per image, captioned by the name of its class."""
    files = RawFiles.list(raw, SPEC, IMAGE_SUFFIXES)
    tables = {split: table for split in SPLITS if (table := files.find_annotation(f"{split}.csv"))}
    yield from in_order(_of_tables(tables, files) if tables else _of_folders(files))


def _of_folders(files: RawFiles) -> Iterator[Sample]:
    """The images in the class folders of a split."""
    table = files.annotation("classnames.txt")
    names = _classnames(table)
    placed = [(path, place) for path in files.media(IMAGE_SUFFIXES) if (place := split_and_class(path))]
    if not placed:
        raise files.lacks("train/<wnid>/*.jpg", "val/<wnid>/*.jpg", "test/<wnid>/*.jpg", "train.csv")
    for path, (split, wnid) in placed:
        if wnid is None:
            raise raw_data_error(SPEC, f"{path} is not in a class folder")
        if wnid not in names:
            raise AnnotationError(table, wnid, "the class of this folder has no name", "a line for every class")
        yield _sample(path, path, split, wnid, names[wnid])


def _of_tables(tables: Mapping[Split, Path], files: RawFiles) -> Iterator[Sample]:
    """The rows of Ravi and Larochelle's CSVs; without classnames.txt, a class is called by its WordNet id."""
    listed = files.find_annotation("classnames.txt")
    names = {} if listed is None else _classnames(listed)
    taken: dict[str, str] = {}
    for split, table in tables.items():
        for line, row in read_csv(table, ("filename", "label")):
            where = f"line {line}"
            image = below(row["filename"], table, f"{where}: filename")
            claim(taken, image, table, where)
            wnid = text(row["label"], table, f"{where}: label").strip()
            media = files.named(image.rpartition("/")[2]) or f"mini-imagenet/images/{image}"
            yield _sample(image, media, split, wnid, names.get(wnid, wnid))


def _sample(image: str, media: str, split: Split, wnid: str, name: str) -> Sample:
    stem = split_suffix(image)[0].rpartition("/")[2]
    id_ = stem if stem.startswith(wnid) else f"{wnid}_{stem}"
    return Sample(safe_key(id_), split, media, (name,), name, meta={"videoID": id_, "wnid": wnid})


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

"""The front matter of a dataset's README.md: what makes `load_dataset("org/CLIP-MSRVTT")` work with no code of ours.

    ---
    language: [en]
    license: other
    size_categories: 1K<n<10K
    pretty_name: CLIP-MSRVTT
    configs:
    - config_name: default
      data_files:
      - {split: train, path: [ds_00000.tar]}
      - {split: validation, path: [ds_00001.tar]}
    dataset_info:
      features:
      - {name: npy, dtype: {array2_d: {shape: [null, 512], dtype: float16}}}
      - {name: txt, dtype: string}
      - {name: json, dtype: json}
      - {name: __key__, dtype: string}
      splits:
      - {name: train, num_bytes: 104867840, num_examples: 6513}
      …
    ---

The features are pinned because what is inferred from the first five samples loses keys, numbers and shapes in silence.
It is written with the libraries' own writers and read back by `check_front_matter` with their own readers, offline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from builders.hub_ids import LICENSES, TASK_CATEGORIES
from preprocess.samples import SPLITS, DatasetSpec, ShardReport, Split

if TYPE_CHECKING:
    from datasets import Features
    from datasets.splits import SplitDict
    from huggingface_hub import DatasetCardData

HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""Names of our splits on the Hub: `load_dataset(…, split="validation")` is what people type."""

DTYPES = ("float16", "float32")

TAGS = ("webdataset", "video", "clip", "embeddings", "video-embeddings")


def embedding_features(dim: int, dtype: str) -> Features:
    """The pinned features of a dataset of triples.

    Args:
        dim: Length of one vector.
        dtype: `float16` or `float32`, as stored in the `.npy`.

    Returns:
        `npy` is `(n_frames, dim)` and keeps its width where a video has no frame; `json` keeps nulls, late keys and
        1.5 after 1; leaving out `__url__` removes that column.
    """
    from datasets import Array2D, Features, Json, Value

    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    return Features(
        {
            "npy": Array2D(shape=(None, dim), dtype=dtype),
            "txt": Value("string"),
            "json": Json(),
            "__key__": Value("string"),
        }
    )


def preview_features() -> Features:
    """The features of the `preview` config: one contact sheet and one caption a video."""
    from datasets import Features, Image, Value

    return Features({"jpg": Image(), "txt": Value("string"), "__key__": Value("string")})


def size_category(samples: int) -> str:
    """The Hub's size category.

    Examples:
        >>> size_category(999), size_category(1000), size_category(536_499)
        ('n<1K', '1K<n<10K', '100K<n<1M')
    """
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if samples < 1000:
        return "n<1K"
    step = len(str(samples)) - 4
    return f"{bounds[step]}<n<{bounds[step + 1]}" if step + 1 < len(bounds) else "n>1T"


def card_data(
    spec: DatasetSpec,
    shards: Sequence[ShardReport],
    *,
    dim: int,
    dtype: str,
    preview: Sequence[ShardReport] = (),
    pretty_name: str | None = None,
    tags: Sequence[str] = TAGS,
) -> DatasetCardData:
    """Everything above the prose of a card, as the libraries' own record.

    Args:
        spec: Licence, languages and tasks come from here.
        shards: The dataset's tars, as in the manifest, in order.
        dim: Length of one vector.
        dtype: `float16` or `float32`.
        preview: The tars of the `preview` config (`file` below the dataset's folder), if it was made.
        pretty_name: Heading of the page; the hub name where None.
        tags: Free tags.

    Returns:
        Card data; `front_matter` makes text of it. Sizes are bytes of the tars: Arrow holds no more than they do.
    """
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        language=list(spec.languages) or None,
        license=spec.license,
        size_categories=size_category(sum(s.samples for s in shards)),
        task_categories=list(spec.task_categories),
        pretty_name=pretty_name or spec.hub_name,
        tags=list(tags),
    )
    if spec.license == "other":  # the Hub asks for a name and an address where the licence is none that it knows
        data["license_name"] = f"{spec.name}-terms".replace("_", "-")
        if spec.homepage:
            data["license_link"] = spec.homepage
    configs = {"default": (shards, embedding_features(dim, dtype))}
    if preview:
        configs["preview"] = (preview, preview_features())
    MetadataConfigs({name: {"data_files": data_files(of)} for name, (of, _) in configs.items()}).to_dataset_card_data(
        data
    )
    DatasetInfosDict(
        {
            name: DatasetInfo(
                features=features,
                splits=split_infos(of),
                download_size=sum(s.bytes for s in of),
                dataset_size=sum(s.bytes for s in of),
            )
            for name, (of, features) in configs.items()
        }
    ).to_dataset_card_data(data)
    return data


def front_matter(data: DatasetCardData) -> str:
    """The YAML block with its two fences and a final newline; the body of the README.md follows it."""
    return f"---\n{data.to_yaml()}\n---\n"


def data_files(shards: Iterable[ShardReport]) -> list[dict[str, Any]]:
    """The `data_files` of one config: each split that has tars, and the tars by name."""
    paths: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for shard in shards:
        paths[shard.split].append(shard.file)
    return [{"split": HUB_SPLITS[split], "path": files} for split, files in paths.items() if files]


def split_infos(shards: Sequence[ShardReport]) -> SplitDict:
    """Number of samples and of bytes of each split that has tars."""
    from datasets.splits import SplitDict, SplitInfo

    infos = SplitDict()
    for split in SPLITS:
        of_split = [s for s in shards if s.split == split]
        if of_split:
            infos.add(
                SplitInfo(
                    HUB_SPLITS[split],
                    num_bytes=sum(s.bytes for s in of_split),
                    num_examples=sum(s.samples for s in of_split),
                )
            )
    return infos


def read_front_matter(readme: str) -> DatasetCardData:
    """The front matter of a README.md.

    Raises:
        ValueError: There is none, or it is no YAML that the libraries read (duplicate keys included).
    """
    from huggingface_hub import DatasetCardData

    lines = readme.split("\n")
    if lines[0].rstrip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        raise ValueError("does not begin with a block of YAML between two lines of ---")
    end = next(i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "---")
    try:
        loaded = yaml.load("\n".join(lines[1:end]), Loader=_NoDuplicates)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"its YAML does not parse: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ValueError("its YAML is no mapping of names")
    return DatasetCardData(**loaded)


class _NoDuplicates(yaml.SafeLoader):
    """Refuses a key that stands twice, as the Hub does; plain YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice, {node.start_mark}")
        return super().construct_mapping(node, deep=deep)


def check_front_matter(data: DatasetCardData) -> list[str]:
    """What the Hub or `load_dataset` would not accept, one line each; empty when all is well. Asks no server."""
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs

    problems = [
        f"{field} {value!r} is not an id that the Hub knows"
        for field, known in _known_ids().items()
        for value in _as_list(data.get(field))
        if value not in known
    ]
    problems += [f"{field} is missing" for field in ("license", "configs", "dataset_info") if not data.get(field)]
    readers: tuple[tuple[str, Any], ...] = (("configs", MetadataConfigs), ("dataset_info", DatasetInfosDict))
    for field, reader in readers:
        try:
            again = type(data)()
            reader.from_dataset_card_data(data).to_dataset_card_data(again)
            if data.get(field) and _plain(again.get(field)) != _plain(data.get(field)):
                problems.append(f"{field} does not read back as it is written")
        except Exception as error:  # whatever the libraries raise would end load_dataset just so
            problems.append(f"{field} is not what `datasets` reads: {type(error).__name__}: {error}")
    return problems


def _known_ids() -> dict[str, frozenset[str]]:
    """Field of the front matter to the ids it may hold."""
    import json
    from importlib.resources import files

    resources = files("datasets.utils.resources")
    listed = {
        field: frozenset(json.loads(resources.joinpath(name).read_text(encoding="utf-8")))
        for field, name in {"language": "languages.json", "size_categories": "size_categories.json"}.items()
    }
    return {"license": LICENSES, "task_categories": TASK_CATEGORIES, **listed}


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _plain(value: object) -> object:
    """Tuples as lists, so that what was read compares with what was written."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value

"""The front matter of a dataset's README.md, which makes `load_dataset("org/CLIP-MSRVTT")` work without our code.

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
      - {name: json, struct: [{name: key, dtype: string}, …, {name: timestamps, list: float64}, …]}
      - {name: __key__, dtype: string}
      - {name: __url__, dtype: string}
      splits:
      - {name: train, num_bytes: 104867840, num_examples: 6513}
      …
    ---

The features are pinned because features inferred from the first five samples silently lose keys, numbers and shapes.
Those of `json` follow from all samples (`builders.features`). They are written with the libraries' own writers, and
`check_front_matter` reads them back with their readers, offline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from builders.features import embedding_features, preview_features
from builders.hub_ids import LICENSES, TASK_CATEGORIES
from builders.json_types import JsonType
from preprocess.samples import SPLITS, DatasetSpec, ShardReport, Split

if TYPE_CHECKING:
    from datasets.splits import SplitDict
    from huggingface_hub import DatasetCardData

HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""Names of our splits on the Hub, where `load_dataset(…, split="validation")` is the convention."""

TAGS = ("webdataset", "video", "clip", "embeddings", "video-embeddings")


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
    types: Mapping[str, JsonType],
    preview: Sequence[ShardReport] = (),
    pretty_name: str | None = None,
    tags: Sequence[str] = TAGS,
) -> DatasetCardData:
    """Everything above the prose of a card, as the libraries' own record.

    Args:
        spec: Gives license, languages, tasks and creators.
        shards: The dataset's tars, as in the manifest, in order.
        dim: Length of one vector.
        dtype: `float16` or `float32`.
        types: Of the keys of the `.json`, over all samples of the tars.
        preview: The tars of the `preview` config (`file` below the dataset's folder), if there are any.
        pretty_name: Heading of the page; the hub name if None.
        tags: Free tags.

    Returns:
        Card data; `front_matter` serializes it. Sizes are bytes of the tars, an upper bound of those in Arrow.
    """
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        language=list(spec.languages) or None,
        license=spec.license,
        annotations_creators=list(spec.annotations_creators) or None,
        language_creators=list(spec.language_creators) or None,
        multilinguality=multilinguality(spec.languages),
        size_categories=size_category(sum(s.samples for s in shards)),
        task_categories=list(spec.task_categories),
        pretty_name=pretty_name or spec.title,
        tags=list(tags),
    )
    if spec.license == "other":  # the Hub asks for a name and an address of a license that it has no id for
        data["license_name"] = f"{spec.name}-terms".replace("_", "-")
        if spec.homepage:
            data["license_link"] = spec.homepage
    configs = {"default": (shards, embedding_features(dim, dtype, types))}
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


def multilinguality(languages: Sequence[str]) -> str | None:
    """The Hub's id for captions in these languages; None if the languages are unknown.

    Examples:
        >>> multilinguality(["en"]), multilinguality(["de", "en"]), multilinguality([])
        ('monolingual', 'multilingual', None)
    """
    if not languages:
        return None
    return "monolingual" if len(languages) == 1 else "multilingual"


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
        ValueError: There is none, or the libraries cannot read its YAML (duplicate keys included).
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
    except RecursionError:
        raise ValueError("its YAML is nested too deeply") from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ValueError("its YAML is not a mapping of names")
    return DatasetCardData(**loaded)


class _NoDuplicates(yaml.SafeLoader):
    """Refuses duplicate keys, as the Hub does (plain YAML silently takes the last), and every alias.

    A few lines of aliases to aliases can expand to gigabytes.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"duplicate key {key!r}, {node.start_mark}")
        return super().construct_mapping(node, deep=deep)


def check_front_matter(data: DatasetCardData) -> list[str]:
    """What the Hub or `load_dataset` would not accept, one line each; empty if there is no problem. Works offline.

    `DatasetCard.validate` of huggingface_hub asks the Hub, which also checks the card when it is uploaded; but a card
    is written offline, and a wrong id is best reported then.
    """
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs

    problems = [
        f"{field} {value!r:.100} is not an id that the Hub knows"
        for field, known in _known_ids().items()
        for value in _as_list(data.get(field))
        if not isinstance(value, str) or value not in known
    ]
    problems += [f"{field} is missing" for field in ("license", "configs", "dataset_info") if not data.get(field)]
    readers: tuple[tuple[str, Any], ...] = (("configs", MetadataConfigs), ("dataset_info", DatasetInfosDict))
    for field, reader in readers:
        try:
            again = type(data)()
            reader.from_dataset_card_data(data).to_dataset_card_data(again)
            if data.get(field) and _plain(again.get(field)) != _plain(data.get(field)):
                problems.append(f"{field} does not read back as it is written")
        except Exception as error:  # whatever they raise, load_dataset would raise too
            problems.append(f"{field} is not what `datasets` reads: {type(error).__name__}: {error}")
    return problems


def _known_ids() -> dict[str, frozenset[str]]:
    """Field of the front matter to the ids that it may hold."""
    import json
    from importlib.resources import files

    resources = files("datasets.utils.resources")
    listed = {
        field: frozenset(json.loads(resources.joinpath(name).read_text(encoding="utf-8")))
        for field, name in {
            "language": "languages.json",
            "size_categories": "size_categories.json",
            "multilinguality": "multilingualities.json",
        }.items()
    }
    creators = json.loads(resources.joinpath("creators.json").read_text(encoding="utf-8"))
    listed |= {f"{kind}_creators": frozenset(creators[kind]) for kind in ("annotations", "language")}
    return {"license": LICENSES, "task_categories": TASK_CATEGORIES, **listed}


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _plain(value: object) -> object:
    """Tuples as lists, so that what was read can be compared with what was written."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value

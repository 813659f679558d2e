"""The outputs of one dataset: one per encoder, below the same output folder, with the same samples, ids and order.

data/CLIP-MSRVTT      data/work/CLIP-MSRVTT/source.json       {"dataset": "msrvtt", "raw": "/raw/msrvtt", …}
data/SigLIP2-MSRVTT   data/work/SigLIP2-MSRVTT/source.json    {"dataset": "msrvtt", "raw": "/raw/msrvtt", …}

They share the raw data: two raw folders are two datasets of the recipe `folder`, and decide nothing for each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import SettingsError
from preprocess.formats.layout import WORK_FOLDER, Layout, read_json
from preprocess.formats.manifest import Order
from preprocess.formats.processed import Processed
from preprocess.formats.shards import PER_SHARD, SEED
from preprocess.pipeline.base import packed_manifest, packed_order
from preprocess.pipeline.encode import EncodeOutput
from preprocess.pipeline.index import Source, only_run, raw_location, resolve_source
from preprocess.pipeline.settings import EncodeOptions, resolve_encoding
from preprocess.pipeline.slices import slice_layouts
from preprocess.recipes import Recipe
from preprocess.samples import SPLITS


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options that decide the samples. None means: as in an existing output of the dataset, else the default.

    Attributes:
        raw: Raw folder or its URL, or the table file.
        split: Shares of train, val and test, where the raw data has no split.
        seed: Seed of that split.
        split_protocol: Published split to use.
        columns: Names of the columns of a table; see `RecipeOptions`.
        config: Configuration of a dataset on the Hub.
    """

    raw: str | None = None
    split: tuple[float, float, float] | None = None
    seed: int | None = None
    split_protocol: str | None = None
    columns: Mapping[str, str] | None = None
    config: str | None = None


def existing_outputs(dataset: str, out: Path) -> list[Layout]:
    """The outputs of a recipe below `out`, sorted by name."""
    work = out / WORK_FOLDER
    names = sorted(path.name for path in work.iterdir()) if work.is_dir() else []
    layouts = [Layout(out, name) for name in names]
    return [layout for layout in layouts if _dataset_of(layout) == dataset]


def _dataset_of(layout: Layout) -> object:
    """The dataset of an output, or of its slices; None where there is no output."""
    sources = (read_json(one.source) for one in (layout, *slice_layouts(layout)))
    return next((source["dataset"] for source in sources if "dataset" in source), None)


def resolve_sources(
    recipe: Recipe, layouts: Sequence[Layout], wanted: SourceOptions, *, overwrite: bool = False
) -> Source:
    """Where the samples of all outputs of a build come from; it only reads.

    Raises:
        RawDataError: There is no raw data.
        SettingsError: An output was made from other samples.
    """
    like = _like(recipe, layouts, None if wanted.raw is None else str(raw_location(recipe, wanted.raw)))
    defaults = read_json(like.source) if like else {}
    found: Source | None = None
    for layout in sorted(layouts, key=lambda layout: not layout.source.is_file()):  # an existing one decides first
        source = resolve_source(
            recipe,
            layout,
            wanted.raw,
            wanted.split,
            wanted.seed,
            wanted.split_protocol,
            wanted.columns,
            wanted.config,
            overwrite=overwrite,
            like=defaults,
        )
        if found is not None and source != found:
            raise SettingsError(
                f"{layout.work} was made from other samples than the other outputs of this build",
                "Build them one by one, or overwrite them: ARGS=--overwrite.",
            )
        found, defaults = source, source.to_json()
    assert found is not None, "a build has an output"
    return found


def resolve_outputs(
    recipe: Recipe,
    models: Sequence[tuple[Layout, str | None]],
    wanted: EncodeOptions,
    raw: Path | None = None,
    *,
    overwrite: bool = False,
) -> list[EncodeOutput]:
    """What encodes each output of a build; it only reads.

    Args:
        recipe: Of the dataset.
        models: Each output, and the model that the user named for it.
        wanted: The other options; they hold for all.
        raw: The raw data, as `resolve_sources` found it; None for that of the existing outputs.
        overwrite: The existing outputs will be removed, so they decide nothing.

    Raises:
        SettingsError: An output was made with other settings, or the outputs have different samplings.
        UserError: A model is unavailable.
    """
    layouts = [layout for layout, _ in models]
    like = _like(recipe, layouts, None if raw is None else str(raw))
    outputs = []
    for layout, model in models:
        options = dataclasses.replace(wanted, model=model)
        encoding = resolve_encoding(recipe.SPEC, layout, options, overwrite, like)
        outputs.append(EncodeOutput(layout, encoding, like))
    samplings = [output.encoding.record["sampling"] for output in outputs]
    if any(sampling != samplings[0] for sampling in samplings):
        raise SettingsError(
            "the outputs of this build sample different frames, which one decode cannot serve",
            "Build them one by one: MODEL= or NAME= with a single name.",
        )
    return outputs


def packing_order(layout: Layout, dataset: str, per_shard: int | None, seed: int | None, shuffle: bool | None) -> Order:
    """How to order and cut an output: as the user says, else as it was packed, else as another output, else default."""
    others = _others(layout, dataset)
    default: Order = {"shuffle": True, "seed": SEED, "per_shard": PER_SHARD}
    before = next((order for one in (layout, *others) if (order := packed_order(one))), default)
    return {
        "shuffle": before["shuffle"] if shuffle is None else shuffle,
        "seed": before["seed"] if seed is None else seed,
        "per_shard": before["per_shard"] if per_shard is None else per_shard,
    }


def appended_output(layout: Layout, dataset: str) -> Layout | None:
    """Another output of the dataset that has generations: the first by name."""
    others = _others(layout, dataset)
    return next((other for other in others if "generations" in (packed_manifest(other) or {})), None)


def differing_samples(layout: Layout, dataset: str) -> list[tuple[Layout, int]]:
    """The other outputs that do not have the samples of this one, and how many samples are in one of the two alone.

    Their ids differ from the first such sample on.
    """
    own = _keys(layout)
    others = _others(layout, dataset)
    counts = [(other, len(own ^ _keys(other))) for other in others if other.encoding.is_file()]
    return [(other, count) for other, count in counts if count]


@contextlib.contextmanager
def only_runs(layouts: Sequence[Layout], overwrite: bool = False) -> Iterator[None]:
    """As `preprocess.pipeline.index.only_run`, for all outputs of a build."""
    with contextlib.ExitStack() as runs:
        for layout in layouts:
            runs.enter_context(only_run(layout, overwrite))
        yield


def _keys(layout: Layout) -> set[str]:
    triples = Processed(layout.processed)
    return set().union(*(triples.keys(split) for split in SPLITS))


def _others(layout: Layout, dataset: str) -> list[Layout]:
    """The other outputs with the raw data of this one."""
    raw = read_json(layout.source).get("raw")
    return [
        one for one in existing_outputs(dataset, layout.out) if one.hub_name != layout.hub_name and _has_raw(one, raw)
    ]


def _like(recipe: Recipe, layouts: Sequence[Layout], raw: str | None) -> Layout | None:
    """An output of the dataset that was encoded earlier and is not part of this build.

    Args:
        recipe: Of the dataset.
        layouts: The outputs of this build.
        raw: `raw` of `source.json`; None for that of an existing output of this build, or else of any.
    """
    raw = raw or next((str(found) for layout in layouts if (found := read_json(layout.source).get("raw"))), None)
    here = {layout.hub_name for layout in layouts}
    others = [one for one in existing_outputs(recipe.SPEC.name, layouts[0].out) if one.hub_name not in here]
    return next((one for one in others if _has_raw(one, raw) and one.encoding.is_file()), None)


def _has_raw(layout: Layout, raw: str | None) -> bool:
    return raw is None or read_json(layout.source).get("raw") == raw

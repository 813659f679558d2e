"""From a recipe to `samples.jsonl`: the list of all samples, created in each run, and the triples it makes stale."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocess.addresses import public_address
from preprocess.batched import batched
from preprocess.errors import Reason, SettingsError, UnknownNameError
from preprocess.formats.layout import Layout, json_bytes, read_json
from preprocess.formats.processed import Processed
from preprocess.pipeline.encode_output import each_sample
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.plan import changed, collected
from preprocess.recipes import Recipe, entries, load, raw_data_error
from preprocess.references import file_of
from preprocess.run_files import exclusive
from preprocess.sample_numbers import ABSENT, BLOCK, SampleNumbers
from preprocess.sample_table import lines_of
from preprocess.samples import JSON, RecipeOptions, Reject, Sample, is_url
from preprocess.storage import (
    LOCK_FILE,
    base_folder,
    cache_folder,
    clear_folder,
    has_lines,
    is_pattern,
    is_remote,
    location,
    reaching,
    remove_temporary,
    write_if_changed,
    write_lines_if_changed,
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where samples come from: a dataset, its raw data, and how the recipe was told to read it.

    Attributes:
        dataset: Name of the recipe.
        raw: Absolute path, or location, of the raw folder or table.
        options: What the recipe was given.
    """

    dataset: str
    raw: Path
    options: RecipeOptions

    @property
    def folder(self) -> Path:
        """What media paths are relative to: the raw folder, or the folder of the table or of the files named."""
        return base_folder(self.raw)

    def to_json(self) -> JSON:
        """The content of `source.json`."""
        options = dataclasses.asdict(self.options)
        return {"dataset": self.dataset, "raw": str(self.raw), **options, "split": list(self.options.split)}


def resolve_source(
    recipe: Recipe,
    layout: Layout,
    raw: str | None,
    split: tuple[float, float, float] | None = None,
    seed: int | None = None,
    split_protocol: str | None = None,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    *,
    overwrite: bool = False,
    moved: bool = False,
    like: JSON | None = None,
) -> Source:
    """Where the samples come from; what is None is as in the last run here, else as in `like`, else the default.

    It only reads, so that a mistake leaves nothing behind.

    Args:
        overwrite: The existing output will be deleted, so it restricts nothing.
        moved: The raw data may be elsewhere now: for commands that compare with the output and add nothing to it.
        like: `source.json` of another output of this dataset, whose samples this one is to have.

    Raises:
        RawDataError: There is no raw data.
        SettingsError: The output was made from other raw data, whose keys could be the same.
    """
    spec, before = recipe.SPEC, read_json(layout.source)
    defaults = before or like or {}
    if split_protocol is not None and split_protocol not in spec.split_protocols:
        raise UnknownNameError(f"split protocol of {spec.name}", split_protocol, spec.split_protocols)
    if raw is not None:
        path = raw_location(recipe, raw)
    elif "raw" in defaults:
        path = location(defaults["raw"])
    elif hasattr(recipe, "prepare"):
        # What a recipe makes itself is made with local files.
        path = cache_folder("raw", str(layout.work)) if is_remote(layout.out) else (layout.work / "raw").resolve()
    else:
        raise raw_data_error(spec, f"dataset {spec.name!r} needs raw data")
    if not hasattr(recipe, "prepare") and not _exists(path):
        raise raw_data_error(spec, f"there is no raw data at {public_address(str(path))!r}")
    options = RecipeOptions(
        split=split or tuple(defaults.get("split", RecipeOptions().split)),
        seed=defaults.get("seed", RecipeOptions().seed) if seed is None else seed,
        split_protocol=split_protocol or defaults.get("split_protocol"),
        columns=columns or defaults.get("columns", {}),
        config=config or defaults.get("config"),
    )
    source = Source(spec.name, path, options)
    binding = () if overwrite or not before else ("dataset",) if moved else ("dataset", "raw")
    for field in binding:
        if (here := source.to_json()[field]) != before[field]:
            raise SettingsError(
                f"{layout.work} was made with {field} {before[field]!r}, not {here!r}",
                f"Give this one a NAME= of its own, overwrite it with ARGS=--overwrite, or, if the same raw data only "
                f"moved, remove {layout.source.name} there.",
            )
    return source


def raw_location(recipe: Recipe, raw: str) -> Path:
    """The absolute path, or the location, of what the user calls the raw data."""
    path = location(recipe.address(raw) if hasattr(recipe, "address") else raw)
    return path if is_remote(path) else path.expanduser().resolve()


def _exists(path: Path) -> bool:
    """Whether there is raw data; a store that cannot be reached says why. Of patterns, the recipe knows."""
    with reaching(path):
        return is_pattern(path) or path.exists()


def read_source(recipe: Recipe, source: Source) -> Sequence[Sample]:
    """The samples of a dataset, by split and key; raw files that the recipe can make itself are made.

    Raises:
        RawDataError: There is no raw data, or it is not laid out as the recipe expects.
    """
    return list_source(recipe, source)[0]


def list_source(recipe: Recipe, source: Source) -> tuple[Sequence[Sample], Sequence[Reject]]:
    """The samples of a dataset by split and key, and the entries of its annotations that cannot become samples."""
    if hasattr(recipe, "prepare"):
        recipe.prepare(source.raw)
    rejects: list[Reject] = []

    def samples() -> Iterator[Sample]:
        for entry in entries(recipe, source.raw, source.options):
            if isinstance(entry, Sample):
                yield entry
            else:
                rejects.append(entry)

    return collected(samples()), rejects


def write_samples(samples: Sequence[Sample], source: Source, layout: Layout, rejects: Sequence[Reject] = ()) -> None:
    """Writes `source.json`, `samples.jsonl`, and the rejects of the recipe.

    A sample that changed since the last run, or is gone, loses its triple; all others keep theirs.

    Args:
        samples, rejects: As `list_source` gives them.
        source: Where they come from.
        layout: Of the output.
    """
    write_if_changed(layout.source, json_bytes({**read_json(layout.source), **source.to_json()}))
    if not has_lines(layout.samples, _lines(samples)):  # comparing lines makes no samples
        before = each_sample(layout.samples) if layout.samples.is_file() else ()
        Processed(layout.processed).remove((stale.split, stale.key) for stale in changed(before, samples))
        write_list(layout.samples, samples)
    Ledger(layout.rejects).relist(rejects)


def write_list(file: Path, samples: Sequence[Sample]) -> None:
    """Writes `samples.jsonl`, unless it says just this."""
    write_lines_if_changed(file, lambda: _lines(samples))


def _lines(samples: Sequence[Sample]) -> Iterator[bytes]:
    return (f"{line}\n".encode() for line in lines_of(samples))


def list_samples(
    dataset: str,
    raw: str,
    split: tuple[float, float, float] | None = None,
    seed: int | None = None,
    split_protocol: str | None = None,
) -> tuple[Sequence[Sample], Path]:
    """The samples of a dataset, and the folder that their media paths are relative to, without writing anything.

    Raises:
        RawDataError: There is no raw data, or it is not laid out as the recipe expects.
    """
    recipe = load(dataset)
    # No output folder is involved, so nothing is remembered from an earlier run.
    source = resolve_source(recipe, Layout(Path(os.devnull), recipe.SPEC.title), raw, split, seed, split_protocol)
    found = entries(recipe, source.raw, source.options)
    return collected(entry for entry in found if isinstance(entry, Sample)), source.folder


def still_rejected(
    ledger: Ledger, numbers: SampleNumbers, raw: str, retry: Collection[Reason] = ()
) -> NDArray[np.bool_]:
    """For each sample whether it was rejected and stays so: a file that was missing and is there now is tried again.

    Args:
        ledger: The rejects.
        numbers: Of the samples.
        raw: The raw folder.
        retry: Reasons that are tried again.
    """
    root = location(raw)

    def is_there(number: int) -> bool:
        media = numbers.samples[number].media
        return not is_url(media) and (root / file_of(media)).is_file()

    def stays(reject: Reject, number: int) -> bool:
        if reject.stage != "list" and reject.reason in retry:
            return False
        return reject.reason != "missing" or not is_there(number)

    found = np.zeros(len(numbers), np.bool_)
    for rejects in batched(ledger, BLOCK):
        known = numbers.of([reject.key for reject in rejects])
        for reject, number in zip(rejects, known.tolist(), strict=True):
            found[number] |= number != ABSENT and stays(reject, number)
    return found


@contextlib.contextmanager
def only_run(layout: Layout, overwrite: bool = False) -> Iterator[None]:
    """Keeps a second run out of the same output folder; with `overwrite`, empties the work folder first.

    Temporary files of killed runs are removed.

    A run that ends before it wrote anything leaves no folder behind, but those that slices share.

    Raises:
        UserError: Another run is at work.
    """
    with exclusive(layout.work, str(layout)):
        if overwrite:
            clear_folder(layout.work)
        for folder in (layout.work, layout.processed):
            remove_temporary(folder)
        try:
            yield
        finally:
            if not is_remote(layout.work) and [path.name for path in layout.work.iterdir()] == [LOCK_FILE]:
                (layout.work / LOCK_FILE).unlink()
                # Another slice may be about to write into the folders that they share.
                for folder in (layout.work,) if layout.slice else (layout.work, layout.work.parent, layout.out):
                    with contextlib.suppress(OSError):  # not empty
                        folder.rmdir()

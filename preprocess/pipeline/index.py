"""From a recipe to `samples.jsonl`: the list of all samples, made anew in each run, and what that makes stale."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import SettingsError, UnknownNameError, UserError
from preprocess.formats.atomic import atomic_file, write_if_changed
from preprocess.formats.layout import Layout, json_bytes, read_json
from preprocess.formats.triples import remove_triple
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.plan import changed, in_order
from preprocess.pipeline.work import read_samples
from preprocess.recipes import Recipe, load, raw_data_error
from preprocess.samples import JSON, RecipeOptions, Sample, canonical_json, is_url

_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Source:
    """Where samples come from: a dataset, its raw data, and how the recipe was told to read it.

    Attributes:
        dataset: Name of the recipe.
        raw: Absolute path of the raw folder or table.
        options: What the recipe was given.
    """

    dataset: str
    raw: Path
    options: RecipeOptions

    @property
    def folder(self) -> Path:
        """What media paths are relative to: the raw folder, or the folder of the table."""
        return self.raw if self.raw.is_dir() else self.raw.parent

    def to_json(self) -> JSON:
        """The content of `source.json`."""
        options = dataclasses.asdict(self.options)
        return {"dataset": self.dataset, "raw": str(self.raw), **options, "split": list(self.options.split)}


def settle_source(
    recipe: Recipe,
    layout: Layout,
    raw: str | None,
    split: tuple[float, float, float] | None = None,
    seed: int | None = None,
    split_protocol: str | None = None,
    *,
    afresh: bool = False,
    moved: bool = False,
) -> Source:
    """Where the samples come from; what is None is as it was in the last run into this output, else the default.

    It only reads, so that a mistake leaves nothing behind.

    Args:
        afresh: The output that is there will be thrown away, so it forbids nothing.
        moved: The raw data may lie elsewhere now: for commands that compare with the output and add nothing to it.

    Raises:
        RawDataError: There is no raw data.
        SettingsError: The output was made from other raw data, whose keys could be the same.
    """
    spec, before = recipe.SPEC, read_json(layout.source)
    if split_protocol is not None and split_protocol not in spec.split_protocols:
        raise UnknownNameError(f"split protocol of {spec.name}", split_protocol, spec.split_protocols)
    if raw is not None:
        path = Path(raw).expanduser().resolve()
    elif "raw" in before:
        path = Path(before["raw"])
    elif hasattr(recipe, "prepare"):
        path = (layout.work / "raw").resolve()
    else:
        raise raw_data_error(spec, f"dataset {spec.name!r} needs raw data")
    if not hasattr(recipe, "prepare") and not path.exists():
        raise raw_data_error(spec, f"there is no raw data at {str(path)!r}")
    options = RecipeOptions(
        split=split or tuple(before.get("split", RecipeOptions().split)),
        seed=before.get("seed", RecipeOptions().seed) if seed is None else seed,
        split_protocol=split_protocol or before.get("split_protocol"),
    )
    source = Source(spec.name, path, options)
    binding = () if afresh or not before else ("dataset",) if moved else ("dataset", "raw")
    for field in binding:
        if (here := source.to_json()[field]) != before[field]:
            raise SettingsError(
                f"{layout.work} was made with {field} {before[field]!r}, not {here!r}",
                f"Give this one a NAME= of its own, start afresh with ARGS=--overwrite, or, if the same raw data only "
                f"moved, remove {layout.source.name} there.",
            )
    return source


def read_source(recipe: Recipe, source: Source) -> list[Sample]:
    """The samples of a dataset, by split and key; raw files that the recipe can make itself are made.

    Raises:
        RawDataError: There is no raw data, or it is not laid out as the recipe expects.
    """
    if hasattr(recipe, "prepare"):
        recipe.prepare(source.raw)
    return in_order(list(recipe.samples(source.raw, source.options)))


def index_samples(recipe: Recipe, source: Source, layout: Layout) -> list[Sample]:
    """Lists the samples of a dataset, by split and key, and writes `samples.jsonl`.

    A sample that changed since the last run, or is gone, loses its triple; all others keep theirs.

    Raises:
        RawDataError: There is no raw data, or it is not laid out as the recipe expects.
    """
    samples = read_source(recipe, source)
    write_if_changed(layout.source, json_bytes({**read_json(layout.source), **source.to_json()}))
    if not _is_the_list(layout.samples, samples):
        before = read_samples(layout.samples) if layout.samples.is_file() else []
        for stale in changed(before, samples):
            remove_triple(layout.processed, stale.split, stale.key)
        with atomic_file(layout.samples) as file:
            file.writelines(map(_line, samples))
    return samples


def _is_the_list(file: Path, samples: Sequence[Sample]) -> bool:
    """Whether `samples.jsonl` says just this: half a million lines are compared in seconds, and read in a minute."""
    if not file.is_file():
        return False
    with file.open("rb") as lines:
        return all(line == wanted for line, wanted in itertools.zip_longest(lines, map(_line, samples)))


def _line(sample: Sample) -> bytes:
    return canonical_json(sample.to_json()).encode() + b"\n"


def list_samples(
    dataset: str,
    raw: str,
    split: tuple[float, float, float] | None = None,
    seed: int | None = None,
    split_protocol: str | None = None,
) -> tuple[list[Sample], Path]:
    """The samples of a dataset, and the folder that their media paths are relative to, without writing anything.

    Raises:
        RawDataError: There is no raw data, or it is not laid out as the recipe expects.
    """
    recipe = load(dataset)
    # No output folder is involved, so nothing is remembered from an earlier run.
    source = settle_source(recipe, Layout(Path(os.devnull), recipe.SPEC.hub_name), raw, split, seed, split_protocol)
    return in_order(list(recipe.samples(source.raw, source.options))), source.folder


def still_rejected(ledger: Ledger, raw: str) -> Callable[[Sample], bool]:
    """Whether a sample that was rejected stays so: a file that was missing and is there now is tried again."""

    def rejected(sample: Sample) -> bool:
        if sample.key not in ledger:
            return False
        there = not is_url(sample.media) and Path(raw, sample.media).is_file()
        return ledger[sample.key].reason != "missing" or not there

    return rejected


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Keeps a second run out of a folder, which is made where it is missing.

    Args:
        name: What another run is said to be working on.

    Raises:
        UserError: Another run is at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is working on {name}", "Wait for it, or let this one write elsewhere."
            ) from error
        yield


@contextlib.contextmanager
def only_run(layout: Layout, afresh: bool = False) -> Iterator[None]:
    """Keeps a second run out of the same output folder; with `afresh`, empties the work folder first.

    A run that ends before it wrote anything leaves no folder behind.

    Raises:
        UserError: Another run is at work.
    """
    with exclusive(layout.work, layout.hub_name):
        for path in sorted(layout.work.iterdir()) if afresh else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        try:
            yield
        finally:
            if [path.name for path in layout.work.iterdir()] == [_LOCK]:
                (layout.work / _LOCK).unlink()
                for folder in (layout.work, layout.work.parent, layout.out):
                    with contextlib.suppress(OSError):  # not empty
                        folder.rmdir()

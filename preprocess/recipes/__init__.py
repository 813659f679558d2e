"""One module per dataset, auto-discovered: constants (`SPEC`) and one generator (`samples`).

A recipe reads annotations and lists files; it does not decode, encode or write. What it yields:

    Sample(key="video7020", split="test", media="MSRVTT/videos/all/video7020.mp4",
           captions=("a woman creating a fondant baby and flower",), meta={"videoID": "video7020", ...})

Modules whose name begins with `_` are helpers. To add a dataset, add `preprocess/recipes/<name>.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from preprocess.errors import RawDataError, UnknownNameError, UserError
from preprocess.readers.files import expected_tree, raw_data_error
from preprocess.samples import DatasetSpec, RecipeOptions, Reject, Sample

__all__ = ["Recipe", "entries", "expected_tree", "load", "names", "raw_data_error"]


class Recipe(Protocol):
    """What a recipe module defines.

    Optional are `prepare(raw: Path) -> None`, which makes the raw files, and `address(raw: str) -> str`, which turns
    what the user calls the raw data (`org/name` on the Hub) into a path or URL.
    """

    @property
    def SPEC(self) -> DatasetSpec:
        """Metadata of the dataset, known before any file is read."""
        ...

    def samples(self, raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
        """Yields every sample of the dataset, train first, each split sorted by key.

        An entry that cannot become a sample (a clip that is listed twice, say) is a Reject of the stage `list`, under a
        key that no sample has.

        Args:
            raw: The folder (for `table`: the file) that holds what `SPEC.raw_layout` shows.
            options: The user's choices.

        Raises:
            RawDataError: What the recipe needs is not below `raw`.
            AnnotationError: An annotation file has an error.
        """
        ...


def names() -> tuple[str, ...]:
    """Names of all datasets, sorted. Imports no recipe."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> Recipe:
    """The recipe of a dataset.

    Raises:
        UnknownNameError: No dataset has that name; the nearest name is suggested.
        UserError: The module is not a recipe.
    """
    if name not in names():
        raise UnknownNameError("dataset", name, names(), f"A dataset of your own: make new DATASET={_suggest(name)}")
    module = importlib.import_module(f"{__name__}.{name}")
    spec = getattr(module, "SPEC", None)
    remedy = "See preprocess/recipes/folder.py for an example."
    if not isinstance(spec, DatasetSpec) or not callable(getattr(module, "samples", None)):
        raise UserError(f"{module.__file__} must define SPEC and samples(raw, options)", remedy)
    if spec.name != name:
        raise UserError(f"{module.__file__}: SPEC.name is {spec.name!r}, but the module is {name!r}", remedy)
    return cast(Recipe, module)


def entries(recipe: Recipe, raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
    """What a recipe yields for a raw folder. Every error about the raw data carries the tree that is expected.

    Raises:
        RawDataError: Files are missing, or one of them is not what it should be (`AnnotationError`).
    """
    try:
        yield from recipe.samples(raw, options)
    except RawDataError as error:
        error.layout = error.layout or expected_tree(recipe.SPEC)
        raise


def _suggest(name: str) -> str:
    """`name` if it can be part of a command that is copied from an error message."""
    return name if name.isidentifier() else "name"

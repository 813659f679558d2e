"""One module per dataset, found by being here: constants (`SPEC`) and one generator (`samples`).

A recipe reads annotations and lists files; it decodes, encodes and writes nothing. What it yields:

    Sample(key="video7020", split="test", media="MSRVTT/videos/all/video7020.mp4",
           captions=("a woman creating a fondant baby and flower",), meta={"videoID": "video7020", ...})

Modules whose name begins with `_` are helpers. Writing `preprocess/recipes/<name>.py` is all it takes to add a dataset.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from preprocess.errors import UnknownNameError, UserError
from preprocess.recipes._files import expected_tree, raw_data_error
from preprocess.samples import DatasetSpec, RecipeOptions, Sample

__all__ = ["Recipe", "expected_tree", "load", "names", "raw_data_error"]


class Recipe(Protocol):
    """What a recipe module has. `prepare(raw: Path) -> None` is optional: it makes the raw files itself."""

    @property
    def SPEC(self) -> DatasetSpec:
        """What is known of the dataset before any file is read."""
        ...

    def samples(self, raw: Path, options: RecipeOptions) -> Iterator[Sample]:
        """Yields every sample of the dataset, train first, each split sorted by key.

        Args:
            raw: The folder (for `table`: the file) that holds what `SPEC.raw_layout` shows.
            options: What a person may choose.

        Raises:
            RawDataError: What the recipe needs is not below `raw`.
            AnnotationError: An annotation file is not what it should be.
        """
        ...


def names() -> tuple[str, ...]:
    """The datasets that exist, sorted. Imports none of them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> Recipe:
    """The recipe of a dataset.

    Raises:
        UnknownNameError: There is none of that name; the nearest one is suggested.
        UserError: The module is there, but is no recipe.
    """
    if name not in names():
        raise UnknownNameError("dataset", name, names(), f"A dataset of your own: make new DATASET={_suggest(name)}")
    module = importlib.import_module(f"{__name__}.{name}")
    spec = getattr(module, "SPEC", None)
    remedy = "See preprocess/recipes/folder.py for one that is whole."
    if not isinstance(spec, DatasetSpec) or not callable(getattr(module, "samples", None)):
        raise UserError(f"{module.__file__} must define SPEC and samples(raw, options)", remedy)
    if spec.name != name:
        raise UserError(f"{module.__file__}: SPEC.name is {spec.name!r}, but the module is {name!r}", remedy)
    return cast(Recipe, module)


def _suggest(name: str) -> str:
    """`name` as it may stand in a command that is copied from an error message."""
    return name if name.isidentifier() else "name"

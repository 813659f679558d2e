from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from preprocess import recipes
from preprocess.errors import UnknownNameError, UserError


def test_names_are_sorted_and_without_helpers() -> None:
    names = recipes.names()
    assert {"folder", "table"} <= set(names)
    assert list(names) == sorted(names)
    assert not [name for name in names if name.startswith("_")]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'folder'"):
        recipes.load("foldr")


@pytest.mark.parametrize("name", ["_files", "../folder", "folder.SPEC", ""])
def test_only_names_are_loaded(name: str) -> None:
    with pytest.raises(UnknownNameError):
        recipes.load(name)


def test_listing_and_loading_import_nothing_heavy(root: Path) -> None:
    code = """
import sys
from preprocess import recipes
for name in recipes.names():
    if name != "demo":
        recipes.load(name)
heavy = {"torch", "transformers", "datasets", "pyarrow", "av", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("", "must define SPEC"),
        ("from preprocess.recipes.folder import SPEC, samples", "SPEC.name is 'folder'"),
    ],
)
def test_a_module_that_is_no_recipe(body: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text(body)
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "preprocess.recipes.broken", raising=False)
    with pytest.raises(UserError, match=cause):
        recipes.load("broken")
    sys.modules.pop("preprocess.recipes.broken", None)

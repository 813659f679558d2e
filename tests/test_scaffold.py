from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from preprocess.errors import UserError
from preprocess.scaffold import scaffold


def test_the_conformance_suite_passes_on_a_new_recipe(root: Path, tmp_path: Path) -> None:
    for folder in ("preprocess", "tests/recipes", "dataset_cards"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copyfile(root / file, tmp_path / file)
    written = scaffold("my_videos", tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "preprocess/recipes/my_videos.py",
        "dataset_cards/my_videos.md",
        "tests/recipes/fixtures/my_videos.py",
    ]

    def conformance() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/recipes/test_conformance.py"]
        return subprocess.run([*command, "-k", "my_videos"], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = conformance()
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 9
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *map(str, written[::2])], cwd=tmp_path, capture_output=True, check=False
    )
    assert lint.returncode == 0, lint.stdout
    written[2].unlink()
    assert "the recipe my_videos has no fixture" in conformance().stdout


@pytest.mark.parametrize("name", ["", "My_Videos", "2cats", "_files", "a-b", "../x", "class", "x" * 51, "a.b"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a dataset"):
        scaffold(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    recipe, prose, fixture = scaffold("cats", tmp_path)
    texts = [path.read_bytes() for path in (recipe, prose, fixture)]
    prose.unlink()
    fixture.unlink()
    assert [path.read_bytes() for path in scaffold("cats", tmp_path)] == texts
    with pytest.raises(UserError, match="already exists"):
        scaffold("cats", tmp_path)


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    prose = tmp_path / "dataset_cards" / "cats.md"
    prose.parent.mkdir()
    prose.write_text("mine")
    with pytest.raises(UserError, match=r"dataset_cards/cats\.md already exists"):
        scaffold("cats", tmp_path)
    assert prose.read_text() == "mine"
    assert not (tmp_path / "preprocess").exists()

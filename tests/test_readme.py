"""README.md and CONTRIBUTING.md are up to date: the tree, the links, the Python."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from builders.__main__ import app as builders
from preprocess.__main__ import app
from preprocess.media.sampling import Sampling
from preprocess.recipes import load, names
from tests.builders.conftest import write_dataset
from tests.media_files import write_video
from tests.module_tree import why_not, with_tree


@pytest.mark.skipif(why_not() is not None, reason=f"the tracked files are unknown: {why_not()}")
def test_the_tree_is_that_of_the_repository(root: Path) -> None:
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert page == with_tree(page), "run `python -m tests.module_tree`"


def test_links_lead_somewhere(root: Path) -> None:
    docs = sorted((root / "docs").glob("*.md"))
    for page in (root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md", *docs):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_python_block_compiles(root: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_table_of_downloads_is_what_the_recipes_declare(root: Path) -> None:
    rows = ["| dataset | downloaded | to be obtained by the user |", "|---|---|---|"]
    for name in names():
        remotes = load(name).SPEC.remotes
        cells = (
            ", ".join(f"`{remote.path}`" for remote in remotes if (remote.kind == "page") is by_hand)
            for by_hand in (False, True)
        )
        if remotes:
            rows.append(" ".join(f"| `{name}` | {' | '.join(cells)} |".split()))
    page = (root / "README.md").read_text(encoding="utf-8")
    assert page.partition("<!-- downloads -->\n")[2].partition("<!-- /downloads -->")[0].splitlines() == rows


def test_the_commands_of_the_exports_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\.venv/bin/python -m builders ((?:parquet|features) .*)$", text, re.MULTILINE)
    write_dataset(tmp_path / "data" / "CLIP-Shapes")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert CliRunner().invoke(builders, line.split()).exit_code == 0, line
    assert len(list(Path("rows/CLIP-Shapes").glob("*.parquet"))) == 4
    assert len(list(Path("features/CLIP-Shapes/clip_features").iterdir())) == 13


def test_the_examples_of_other_sources_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands as `make` runs them, up to the samples that they would build, on data of the kind that they name."""
    text = (root / "README.md").read_text(encoding="utf-8").partition("<!-- sources -->")[2]
    commands = text.partition("<!-- /sources -->")[0].strip().strip("`").strip().splitlines()
    raw = {name: importlib.import_module(f"tests.recipes.fixtures.{name}") for name in ("webdataset", "hub", "lerobot")}
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(13):
        shutil.copyfile(raw["webdataset"].make(tmp_path / f"{number}") / "train-000.tar", shards / f"{number:05d}.tar")
    here = {"s3://bucket/": f"{shards}/", "org/name": str(raw["hub"].make(tmp_path / "hub"))}
    here["hf://datasets/org/robot"] = str(raw["lerobot"].make(tmp_path / "robot"))
    here["--config small"] = "--config default"
    monkeypatch.chdir(tmp_path)
    counts = []
    for number, command in enumerate(commands):
        for there, local in here.items():
            command = command.replace(there, local)
        said = dict(word.split("=", 1) for word in shlex.split(command, comments=True)[2:])
        options = shlex.split(said.get("ARGS", ""))
        sampling = options[options.index("--sampling") + 1] if "--sampling" in options else "fps=1"
        assert Sampling.parse(sampling)
        options = [option for option in options if option not in ("--sampling", sampling)]
        arguments = [said["DATASET"], "--raw", said["RAW"], "--out", "out", "--name", f"CLIP-{number}", *options]
        done = CliRunner().invoke(app, ["samples", *arguments])
        assert done.exit_code == 0, done.output
        counts.append(int(done.stdout.split()[0]))
    assert counts == [39, 39, 4, 6]


def test_the_example_of_embed_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(from preprocess import embed\n.*?)```", text, re.DOTALL)
    write_video(tmp_path / "video.mp4", 25, fps=10)
    Image.new("RGB", (64, 48), (200, 0, 0)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    printed: list[tuple[object, ...]] = []
    names: dict[str, Any] = {"print": lambda *values: printed.append(values)}
    exec(compile(block, "README.md", "exec"), names)
    assert printed == [("video.mp4", (8, 512), 2.5), ("photo.jpg", (1, 512), 0.0)]

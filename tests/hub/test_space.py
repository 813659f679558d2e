"""A Space on the Hub of the tests: its files, its card, and that it runs with nothing but them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from explorer.space import OTHER_PINS, application, pins, requirements, write_space
from preprocess.errors import UserError
from tests.hub.test_end_to_end import Client, hub

__all__ = ["hub"]


def test_a_space_is_pushed_for_a_pushed_dataset(hub: Client, make_dataset: Any) -> None:
    folder = make_dataset()
    command = ("-m", "explorer", "space", str(folder), "--org", "org")
    first = hub.run(*command)
    assert first.returncode == 2
    assert "the Hub has no dataset org/CLIP-Shapes" in first.stderr
    assert hub.push(folder).returncode == 0
    done = hub.run(*command)
    assert (done.returncode, done.stdout) == (0, f"{hub.url}/spaces/org/CLIP-Shapes-explorer  private\n"), done.stderr
    files = hub.python(
        "import json; from huggingface_hub import HfApi;"
        "print(json.dumps(HfApi().list_repo_files('org/CLIP-Shapes-explorer', repo_type='space')))"
    )
    assert {"README.md", "app.py", "requirements.txt", "explorer/page/page.js"} <= set(files)
    assert "preprocess/demo/tiny_clip/model.safetensors" in files
    assert not [file for file in files if "__pycache__" in file or file.startswith(("tests/", "data/"))]
    assert hub.run(*command).returncode == 0, "again"
    refused = hub.run(*command, token="hf_reader")
    assert refused.returncode == 2
    assert "hf_reader" not in refused.stderr
    assert "no token" in hub.run(*command, token=None).stderr


def test_the_files_of_a_space(make_dataset: Any, tmp_path: Path) -> None:
    space = tmp_path / "space"
    write_space(str(make_dataset()), "org", space)
    front = yaml.safe_load((space / "README.md").read_text().split("---")[1])
    assert (front["sdk"], front["app_file"], front["suggested_hardware"]) == ("gradio", "app.py", "cpu-basic")
    assert front["datasets"] == ["org/CLIP-Shapes"]
    assert front["sdk_version"] == pins()["gradio"]
    assert len(front["short_description"]) <= 60
    assert (space / "app.py").read_text() == application("org/CLIP-Shapes")
    assert "hf://datasets/org/CLIP-Shapes" in (space / "app.py").read_text()
    lines = (space / "requirements.txt").read_text().splitlines()
    assert len(lines) == len(pins())
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][\w.]*", line) for line in lines)
    assert not list(tmp_path.glob(".space.*")), "it was written beside its place"
    with pytest.raises(UserError, match="is not empty"):
        write_space(str(make_dataset("CLIP-Other")), "org", space)
    for org in ("a/b", "", "../x"):
        with pytest.raises(UserError, match="user or organization"):
            write_space(str(make_dataset(f"CLIP-{len(org)}")), org, tmp_path / "nowhere")


def test_a_space_runs_with_its_own_files_alone(make_dataset: Any, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: make dev")
    folder, space = make_dataset(), tmp_path / "space"
    write_space(str(folder), "org", space)
    code = f"""
from pathlib import Path
import explorer
from explorer.index import open_index
from explorer.models import QueryModel
from explorer.page.server import build_app
from explorer.search import Searcher
assert explorer.__file__.startswith({str(space)!r}), explorer.__file__
index = open_index({str(folder)!r}, Path({str(tmp_path / "cache")!r}))
app = build_app(Searcher(index), QueryModel(index.manifest["encoder"]), None, local=False)
from starlette.testclient import TestClient
page = TestClient(app)
assert page.get("/").status_code == 200
assert page.get("/static/page.css").status_code == 200
assert page.get("/map.json").status_code == 200
assert "More like this" in page.get("/like/0").text
"""
    environment = {**os.environ, "PYTHONPATH": str(space)}
    done = subprocess.run([sys.executable, "-c", code], cwd=space, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_space_installs_what_the_project_declares(root: Path) -> None:
    """Every package that its code may import; with Gradio, which the Hub installs with its dependencies."""
    asked = {name: line for line in requirements().splitlines() for name in [line.partition("==")[0]]}
    declared = {}
    for line in (root / "requirements.txt").read_text().splitlines():
        name, equals, version = re.sub(r"\[.*?\]|\s*[;#].*", "", line).partition("==")
        if equals:
            declared[name] = f"{name}=={OTHER_PINS.get(name, version)}"
    assert "httpx2" in declared
    assert {name: line for name, line in asked.items() if name not in {"gradio", "faiss-cpu"}} == declared
    for name, file in (("gradio", "requirements-gradio.txt"), ("faiss-cpu", "requirements-explore.txt")):
        assert asked[name] in (root / file).read_text().splitlines()


def test_a_dataset_on_the_hub_is_searched_and_filtered_without_a_copy(
    hub: Client, make_dataset: Any, tmp_path: Path
) -> None:
    folder = make_dataset()
    assert hub.push(folder).returncode == 0
    address, cache = "hf://datasets/org/CLIP-Shapes", str(tmp_path / "cache")
    first = json.loads((folder / "manifest.json").read_bytes())["shards"][0]["file"]
    with tarfile.open(folder / first) as tar:
        meta = next(member for member in tar if member.name.endswith(".json"))
        key = json.load(tar.extractfile(meta))["key"]
    command = ("--like", f"{key}@0", "-k", "5", "--json", "--cache", cache)
    near = hub.run("-m", "explorer", "search", str(folder), *command[:-2], "--cache", str(tmp_path / "near"))
    far = hub.run("-m", "explorer", "search", address, *command)
    assert far.returncode == 0, far.stderr
    assert "index of" in far.stderr
    assert json.loads(far.stdout)["hits"] == json.loads(near.stdout)["hits"]
    assert json.loads(far.stdout)["hits"][0]["key"] == key
    assert [request for request in hub.requests() if request["path"].endswith(".tar")]
    again = hub.run("-m", "explorer", "search", address, *command)
    assert again.stdout == far.stdout
    assert "index of" not in again.stderr
    assert not [request for request in hub.requests() if request["path"].endswith(".tar")], "the index is enough"
    done = hub.run("-m", "explorer", "filter", address, "--sample", "2", "--name", "CLIP-Two", "--cache", cache)
    assert done.returncode == 0, done.stderr
    assert hub.run("-m", "builders", "verify", "data/CLIP-Two").returncode == 0

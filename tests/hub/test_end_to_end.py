"""From a folder to a repository and back, on a Hub at 127.0.0.1: push, tag, load, snapshot, refuse, resume.

Each step is a process of its own with a fresh HF_HOME, as a user's would be: `datasets` falls back to cached copies
without a word, and the address of the Hub is read when the libraries are imported.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_cards.card import write_card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.prose import Prose
from tests.cards.small import SPEC, pack, samples

SERVER = Path(__file__).resolve().parent / "hub_server.py"
OK = "13 samples, 36 frames in 4 tars: OK\n"


class Client:
    """A user's machine, and a Hub of its own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.log = root, folder, folder / "requests.jsonl"
        self.server = subprocess.Popen([sys.executable, SERVER, self.log], stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        self.url = self.server.stdout.readline().strip()
        self.homes = 0

    def environment(self, token: str | None = "hf_writer") -> dict[str, str]:
        """Of a machine that has never heard of this Hub."""
        self.homes += 1
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        ours = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.folder / f"home{self.homes}"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(self.root),
        }
        return kept | ours | ({"HF_TOKEN": token} if token else {})

    def run(self, *arguments: str, token: str | None = "hf_writer") -> subprocess.CompletedProcess[str]:
        """A Python process: arguments as on the command line, `-c code` or `-m module`."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(token),
            capture_output=True,
            text=True,
            timeout=280,
        )

    def python(self, code: str, token: str | None = "hf_writer") -> Any:
        """Runs code and gives what it prints last, as JSON."""
        done = self.run("-c", code, token=token)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def push(self, dataset: Path, *options: str, token: str | None = "hf_writer") -> subprocess.CompletedProcess[str]:
        return self.run(*push_command(dataset), *options, token=token)

    def control(self, **how: Any) -> None:
        """Tells the Hub how to treat uploads from now on."""
        request = urllib.request.Request(f"{self.url}/control", json.dumps(how).encode())
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def requests(self) -> list[dict[str, Any]]:
        """What has been asked since the last time."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.log.write_text("")
        return entries

    def uploads(self) -> int:
        """How many tars have arrived whole since the last time."""
        return sum(entry["method"] == "PUT" for entry in self.requests())


def push_command(dataset: Path) -> list[str]:
    return ["-m", "builders", "push", str(dataset), "--org", "org"]


@pytest.fixture
def hub(root: Path, tmp_path: Path) -> Iterator[Client]:
    client = Client(root, tmp_path)
    yield client
    client.server.terminate()
    client.server.wait()


ROWS = """
import json
from datasets import load_dataset

def rows(dataset):
    return {
        split: [[row["__key__"], row["txt"], row["json"], [[float(x) for x in v] for v in row["npy"]]] for row in part]
        for split, part in dataset.items()
    }
"""


def test_from_a_folder_to_the_hub_and_back(hub: Client, make_dataset: Any):
    folder = make_dataset()
    first = hub.push(folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-2:] == [
        f"{hub.url}/datasets/org/CLIP-Shapes  v1  private",
        'load_dataset("org/CLIP-Shapes", revision="v1")',
    ]
    assert hub.uploads() == 4, "four tars"

    again = hub.push(folder)
    assert again.returncode == 0, again.stderr
    assert "  v1  " in again.stdout, "the same content is the same version"
    assert not [e for e in hub.requests() if e["method"] == "PUT" or "/commit/" in e["path"]], "nothing is sent twice"

    code = f"""
folder, repo = {str(folder)!r}, "org/CLIP-Shapes"
print(json.dumps([
    rows(load_dataset(folder, cache_dir="a")),
    rows(load_dataset(repo, cache_dir="b")),
    rows(load_dataset(repo, cache_dir="c", revision="v1")),
    rows(load_dataset(repo, cache_dir="d", streaming=True)),
]))"""
    local, *theirs = hub.python(ROWS + code)
    assert {split: len(rows) for split, rows in local.items()} == {"train": 8, "validation": 3, "test": 2}
    assert theirs == [local] * 3

    code = f"""
import json
from pathlib import Path
from huggingface_hub import snapshot_download
from builders.torch_reader import EmbeddingReader
path = Path(snapshot_download("org/CLIP-Shapes", repo_type="dataset"))
print(json.dumps([
    {{file.name: file.read_bytes().hex() for file in path.iterdir() if file.name != ".gitattributes"}},
    [batch["text"] for batch in EmbeddingReader("hf://datasets/org/CLIP-Shapes", "val")],
    [batch["text"] for batch in EmbeddingReader({str(folder)!r}, "val")],
]))"""
    snapshot, read_there, read_here = hub.python(code)
    assert snapshot == {path.name: path.read_bytes().hex() for path in folder.iterdir()}
    assert read_there == read_here

    verified = hub.run("-m", "builders", "verify", "hf://datasets/org/CLIP-Shapes@v1")
    assert (verified.returncode, verified.stdout) == (0, OK)
    compared = hub.run("-m", "builders", "diff", "hf://datasets/org/CLIP-Shapes@v1", str(folder))
    assert (compared.returncode, compared.stdout) == (0, "rows  0 added, 0 removed, 0 changed, 13 the same\n")


def test_who_may_not_is_told_in_one_line(hub: Client, make_dataset: Any):
    folder = make_dataset()
    dry = hub.push(folder, "--dry-run", token=None)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.splitlines()[-1].startswith("9 files to org/CLIP-Shapes")
    assert "ds_00003.tar" in dry.stdout
    before = (folder / "README.md").read_bytes()
    for org in ("../org", "a/b", "\x1b[2J", ""):
        wrong = hub.run("-m", "builders", "push", str(folder), "--org", org)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert "cannot be a user or organization" in wrong.stderr
        assert "\x1b" not in wrong.stderr
    assert (folder / "README.md").read_bytes() == before
    nobody = hub.push(folder, token=None)
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1)
    assert nobody.stderr.startswith("error: no token for the Hub")
    assert "hf auth login" in nobody.stderr
    assert hub.requests() == [], "neither asks the Hub anything"

    stranger = hub.push(folder, token="hf_stranger")
    assert stranger.returncode == 2
    assert "a token with write access to 'org'" in stranger.stderr
    assert "hf_stranger" not in stranger.stderr + stranger.stdout

    assert hub.push(folder).returncode == 0
    hidden = hub.run("-c", "from datasets import load_dataset; load_dataset('org/CLIP-Shapes')", token=None)
    assert hidden.returncode != 0
    assert "doesn't exist on the Hub or cannot be accessed" in hidden.stderr
    refused = hub.run("-m", "builders", "verify", "hf://datasets/org/CLIP-Shapes", token=None)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_second_version_takes_away_what_is_gone_and_the_first_keeps_it(hub: Client, make_dataset: Any):
    folder = make_dataset()
    assert hub.push(folder, "--public").returncode == 0
    shutil.rmtree(folder)
    make_dataset(counts={"train": 3})
    second = hub.push(folder, "--tag", "small")
    assert second.returncode == 0, second.stderr
    assert "  small  public" in second.stdout
    code = """
from huggingface_hub import list_repo_files
repo = "org/CLIP-Shapes"
print(json.dumps([
    [file for file in list_repo_files(repo, repo_type="dataset") if file.endswith(".tar")],
    *({split: len(part) for split, part in load_dataset(repo, revision=tag).items()} for tag in ("main", "v1")),
]))"""
    files, new, old = hub.python(ROWS + code, token=None)
    assert files == ["ds_00000.tar"]
    assert (new, old) == ({"train": 3}, {"train": 8, "validation": 3, "test": 2})
    clash = hub.push(make_dataset("other/CLIP-Shapes", counts={"train": 4}), "--tag", "small")
    assert clash.returncode == 2
    assert "has a version 'small' with other content" in clash.stderr


def test_the_tag_of_a_version(hub: Client, make_dataset: Any):
    """The same content keeps its newest number; new content gets the number after the largest."""
    folder = make_dataset(counts={"train": 2})
    for tags, expected in ((["v1"], "v1"), (["v7", "final"], "v7")):
        for tag in tags:
            assert hub.push(folder, "--tag", tag).returncode == 0
        again = hub.push(folder)
        assert f"/org/CLIP-Shapes  {expected}  " in again.stdout, again.stderr
    shutil.rmtree(folder)
    changed = hub.push(make_dataset(counts={"train": 3}))
    assert "/org/CLIP-Shapes  v8  " in changed.stdout, changed.stderr


def test_an_upload_that_is_cut_goes_on_where_it_stopped(hub: Client, make_dataset: Any):
    folder = make_dataset()
    hub.control(hold_after=2)
    cut = subprocess.Popen([sys.executable, *push_command(folder)], cwd=hub.folder, env=hub.environment())
    while hub.log.read_text().count('"PUT"') < 2:
        assert cut.poll() is None
        time.sleep(0.05)
    cut.kill()
    cut.wait()
    assert hub.uploads() == 2
    hub.control()
    again = hub.push(folder)
    assert again.returncode == 0, again.stderr
    assert hub.uploads() == 2, "of four tars, the two that had arrived are not sent again"
    assert hub.python(ROWS + "print(len(load_dataset('org/CLIP-Shapes', split='train')))") == 8


def test_an_upload_that_is_refused_is_one_line(hub: Client, make_dataset: Any):
    hub.control(refuse=True)
    done = hub.push(make_dataset())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: the Hub refuses org/CLIP-Shapes (403: ")


def test_a_dataset_with_a_defect_is_not_sent(hub: Client, make_dataset: Any):
    folder = make_dataset()
    (folder / "CLIP-Shapes.py").write_text("")
    done = hub.push(folder)
    assert done.returncode == 1
    assert "root_script" in done.stdout
    assert done.stdout.splitlines()[-1] == "Nothing was sent."
    assert hub.requests() == []


def test_requests_over_the_limit_are_repeated(hub: Client, make_dataset: Any):
    folder = make_dataset()
    hub.control(limited=3)
    done = hub.push(folder)
    assert done.returncode == 0, done.stderr
    assert "the Hub limits the rate of requests" in done.stderr
    assert sum(entry["path"] == "/api/repos/create" for entry in hub.requests()) >= 4
    hub.control(limited=2)
    verified = hub.run("-m", "builders", "verify", "hf://datasets/org/CLIP-Shapes")
    assert (verified.returncode, verified.stdout) == (0, OK)


def test_a_limit_that_does_not_end_is_one_line(hub: Client, make_dataset: Any):
    hub.control(limited=10_000)
    done = hub.push(make_dataset())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the Hub refuses org/CLIP-Shapes (429: ")
    assert "Wait some minutes" in done.stderr


PORTAL = "<html><body>Log in to the network <script>x</script></body></html>"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((500, ""), "the Hub refuses org/CLIP-Shapes (500: "),
        ((200, PORTAL), "the answer for org/CLIP-Shapes is not from the Hub"),
        ((404, PORTAL), "the Hub refuses org/CLIP-Shapes (404: "),
    ],
)
def test_answers_that_are_not_json_are_one_line(hub: Client, make_dataset: Any, answer: tuple[int, str], cause: str):
    folder = make_dataset()
    hub.control(answer=answer)
    done = hub.push(folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {cause}")
    read = hub.run("-m", "builders", "verify", "hf://datasets/org/CLIP-Shapes")
    assert read.returncode == 2
    assert read.stderr.splitlines()[-1].startswith("error: the ")
    assert "Traceback" not in done.stderr + read.stderr
    assert "<html" not in done.stderr + read.stderr


def test_the_card_says_where_strangers_load_from(hub: Client):
    layout = pack(hub.folder / "data", samples())
    write_card(read_card_inputs(SPEC, layout, prose=Prose()))
    readme = layout.dataset / "README.md"
    assert 'load_dataset("data/CLIP-Test")' in readme.read_text()
    first = hub.push(layout.dataset, "--public")
    assert first.returncode == 0, first.stderr
    here = readme.read_text()
    assert here == write_card(read_card_inputs(SPEC, layout, "org", Prose())).read_text(), "as written with --org"
    assert "data/CLIP-Test" not in here
    verified = hub.run("-m", "builders", "verify", "hf://datasets/org/CLIP-Test", token=None)
    assert (verified.returncode, verified.stdout.splitlines()[-1].endswith("tars: OK")) == (0, True), verified.stdout
    code = re.findall(r"```python\n(.*?)```", here, re.DOTALL)[0]
    assert hub.python(f"{code}\nimport json\nprint(json.dumps(sample['npy'].shape[1]))", token=None) == 8


def test_a_link_out_of_the_folder_is_not_sent(hub: Client, make_dataset: Any):
    folder = make_dataset()
    (hub.folder / "secret").write_text("of this machine")
    (folder / "assets").mkdir()
    (folder / "assets" / "map.png").symlink_to(hub.folder / "secret")
    done = hub.push(folder)
    assert done.returncode == 1
    assert "symlink" in done.stdout
    assert hub.requests() == []


def test_no_hub_is_one_line(hub: Client, make_dataset: Any):
    folder = make_dataset()
    hub.server.terminate()
    hub.server.wait()
    done = hub.push(folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the Hub cannot be reached")


RESOLVE = "import sys; from preprocess.encoders.models import resolve; from preprocess.console import fail\n"
RESOLVE += "from preprocess.errors import UserError\n"
RESOLVE += "from preprocess.long_video.components import find_component\n"
RESOLVE += "for find in (resolve, lambda name: find_component(name, 'vae')):\n"
RESOLVE += "    try:\n        find('org/model')\n    except UserError as error:\n        print(error)\n"


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"limited": 2}, "Error 404)"),  # what this Hub says of models, once it is asked again
        ({"answer": (500, "")}, "Error 500)"),
        ({"answer": (200, PORTAL)}, "Error)"),
    ],
)
def test_a_model_is_waited_for_or_refused_in_one_line(hub: Client, how: dict[str, Any], cause: str):
    hub.control(**how)
    done = hub.run("-c", RESOLVE)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(line.startswith("model 'org/model' is not on this disk and the Hub could not be") for line in lines)
    assert all(cause in line for line in lines), lines
    assert ("the Hub limits the rate of requests" in done.stderr) == ("limited" in how)
    assert "Traceback" not in done.stderr
    assert "<html" not in done.stderr + done.stdout

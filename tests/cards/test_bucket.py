"""Card, evaluation and verification of a dataset in an S3 bucket: what they are of a local one, file by file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.embeddings import EmbeddingsBuilder
from builders.verify import verify
from dataset_cards.card import write_card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.evaluation.run import Options, evaluate
from preprocess.formats.layout import Layout
from preprocess.runtime.options import RunOptions
from preprocess.storage import files_below, keep_copies, location
from tests.cards.small import SPEC, pack, samples
from tests.object_store import copy_folder
from tests.store_proxy import Proxy


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    with Proxy.before(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        yield proxy


@pytest.fixture
def both(out: Path, s3: str, proxy: Proxy) -> tuple[Layout, Layout]:
    """The same dataset on this machine and in a bucket."""
    here = pack(out, samples(), hub_name="CLIP-Shapes")
    there = Layout(location(f"{s3}/{uuid.uuid4().hex}"), "CLIP-Shapes")
    copy_folder(out, there.out)
    proxy.counts.clear()
    return here, there


def test_evaluation_card_and_verification(both: tuple[Layout, Layout], proxy: Proxy) -> None:
    found = []
    for layout in both:
        with keep_copies():
            evaluated = evaluate(layout, Options(tasks=("linear-probe", "leakage")))
            write_card(read_card_inputs(SPEC, layout))
        found.append((evaluated, verify(layout.dataset), verify(layout.dataset, run=RunOptions(workers=2))))
    assert found[0] == found[1]
    assert not found[0][1].findings
    tars = [path for what, path in proxy.log if what == "get" and path.endswith(".tar")]
    here, there = both
    made = {str(path.relative_to(here.out)): path.read_bytes() for path in here.out.rglob("*") if path.is_file()}
    assert "CLIP-Shapes/assets/map.png" in made
    assert {name: (there.out / name).read_bytes() for name in files_below(there.out)} == made
    shards = sum(name.endswith(".tar") for name in made)
    assert len(tars) == shards + 2 * (shards + 1), "evaluation and card: each tar once; verify: and its first triple"

    for name in ("stray.txt", "other/x.bin", "assets/stray.png"):
        for layout in both:
            (layout.dataset / name).parent.mkdir(exist_ok=True)
            (layout.dataset / name).write_bytes(b"x")
    for layout in both:
        damaged = layout.dataset / "ds_00001.tar"
        damaged.write_bytes(damaged.read_bytes()[:-7000])
    problems = [verify(layout.dataset).findings for layout in both]
    assert problems[0] == problems[1]
    assert {"stray_file", "tar_end", "manifest_sha256"} <= {finding.code for finding in problems[0]}


def test_the_builder_opens_an_address(both: tuple[Layout, Layout], tmp_path: Path) -> None:
    tables = []
    for layout in both:
        write_card(read_card_inputs(SPEC, layout))
        builder = EmbeddingsBuilder.from_folder(str(layout.dataset), cache_dir=str(tmp_path / "cache"))
        stream = list(builder.as_streaming_dataset("train").with_format("arrow").iter(64))
        builder.download_and_prepare()
        rows = builder.as_dataset("train").with_format("arrow")[:]
        tables.append([table.drop_columns("__url__") for table in (*stream, rows)])
    assert tables[0] == tables[1]


def test_the_code_of_the_page_on_buckets_runs(
    both: tuple[Layout, Layout], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("builders.remote.DEFAULT_CACHE", tmp_path / "tars")
    write_card(read_card_inputs(SPEC, both[1]))
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs" / "bucket.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    found = []
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block.replace("s3://bucket/data/CLIP-Folder", str(both[1].dataset)), names)
        found.append(names)
    rows = [{split: names["dataset"][split]["__key__"] for split in names["dataset"]} for names in found]
    assert isinstance(found[0]["stream"], datasets.IterableDataset)
    assert next(iter(found[0]["reader"]))["key"] == rows[0]["train"]
    assert list(rows[0].values()) == list(rows[1].values())


def test_a_copy_that_is_under_way_is_removed_by_the_next_command(
    both: tuple[Layout, Layout], proxy: Proxy, root: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    line = [sys.executable, "-m", "builders", "verify", str(both[1].dataset), "--workers", "1"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(line, cwd=root, env=environment) as process:

        def on_request(what: str, path: str) -> None:
            if what == "get" and path.endswith("ds_00001.tar"):
                process.kill()

        proxy.on_request = on_request
        assert process.wait(120) == -signal.SIGKILL
        proxy.on_request = None
    assert list(temporary.rglob("download-*"))
    subprocess.run(line, cwd=root, env=environment, capture_output=True, check=False)
    assert not list(temporary.glob("ved-tmp-*"))

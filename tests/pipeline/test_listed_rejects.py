"""Entries of the annotations that cannot become samples: from the recipe to the ledger, the manifest and `verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dataset_cards.__main__
import preprocess.__main__
from builders.verify import verify
from preprocess.formats.layout import Layout
from preprocess.pipeline.ledger import Ledger
from preprocess.samples import Reject
from tests.media_files import write_video
from tests.pipeline.conftest import on_disk

pytestmark = on_disk  # the card is written into a local folder

TABLE = "label,youtube_id,time_start,time_end,split\nabseiling,abcdefghijk,0,10,train\n"
AGAIN = "bowling,abcdefghijk,0,10,train\n"


def build(raw: Path, out: Path, model: Path, *options: str) -> None:
    to = ["kinetics700", "--out", str(out)]
    exact = ["--model", str(model), "--workers", "1", *options]
    for app, line in (
        (preprocess.__main__.app, ["build", *to, "--raw", str(raw), *exact]),
        (dataset_cards.__main__.app, ["card", *to]),
    ):
        done = CliRunner().invoke(app, line, catch_exceptions=False)
        assert done.exit_code == 0, done.output


def rejected(folder: Path) -> tuple[int, dict[str, int]]:
    counts = json.loads((folder / "manifest.json").read_bytes())["splits"]["train"]
    return counts["inputs"], counts["rejected"]


def test_a_clip_listed_twice_is_counted_until_it_is_listed_once(small_clip: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "data"
    write_video(raw / "train/abcdefghijk_000000_000010.mp4", 12)
    (raw / "train.csv").write_text(TABLE + AGAIN)
    build(raw, out, small_clip)
    layout = Layout(out, "CLIP-Kinetics700")
    assert rejected(layout.dataset) == (2, {"duplicate": 1})
    (reject,) = Ledger(layout.rejects).listed()
    assert (reject.stage, reject.reason, reject.key) == ("list", "duplicate", "abcdefghijk_000000_000010_train_3")
    assert "train.csv, line 3 (bowling)" in reject.message
    assert "train.csv, line 2 (abseiling)" in reject.message
    assert verify(layout.dataset).findings == ()
    build(raw, out, small_clip, "--max-reject-rate", "0")  # not a failure to decode; not forgotten
    assert rejected(layout.dataset) == (2, {"duplicate": 1})
    (raw / "train.csv").write_text(TABLE)
    build(raw, out, small_clip)
    assert rejected(layout.dataset) == (1, {})
    assert verify(layout.dataset).findings == ()


def test_the_ledger_keeps_them_apart(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    ledger = Ledger(path)
    ledger.relist([])
    assert not path.exists()
    listed = [Reject(key, "train", "list", "duplicate", "") for key in ("b", "a")]
    ledger.relist(listed)
    ledger.add(Reject("c", "train", "decode", "timeout", ""))
    ledger.keep(())
    assert [r.key for r in Ledger(path).listed()] == ["a", "b"]
    ledger.add(Reject("d", "val", "decode", "timeout", ""))
    ledger.relist(listed[:1])
    assert "a" not in Ledger(path)
    assert Ledger(path)["d"].reason == "timeout"
    ledger.keep(("d",))
    assert [line[:12] for line in path.read_text().splitlines()] == ['{"key": "b",', '{"key": "d",']


def test_a_window_ends_where_the_file_ends(small_clip: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "data"
    write_video(raw / "videos/short.mp4", 12)
    write_video(raw / "videos/long.mp4", 320)
    moments = [{"video": f"{name}.mp4", "description": "x", "times": [[0, 0]]} for name in ("short", "long")]
    (raw / "val_data.json").write_text(json.dumps(moments))
    line = ["encode", "didemo", "--raw", str(raw), "--out", str(out), "--model", str(small_clip), "--workers", "1"]
    done = CliRunner().invoke(preprocess.__main__.app, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    files = (Layout(out, "CLIP-DiDeMo").processed / "val").glob("*.json")
    metas = {meta["videoID"]: meta for meta in (json.loads(path.read_bytes()) for path in files)}
    assert {video: (meta["start_time"], meta["end_time"]) for video, meta in metas.items()} == {
        "short.mp4": (None, pytest.approx(1.2)),
        "long.mp4": (None, 30.0),
    }

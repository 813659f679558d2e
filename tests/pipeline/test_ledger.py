"""The ledger of rejects survives kills and is the same for the same rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preprocess.pipeline.ledger import Ledger
from preprocess.samples import Reject
from tests.pipeline.conftest import on_disk


def reject(key: str, reason: Any = "unreadable") -> Reject:
    return Reject(key, "train", "decode", reason, f"cannot open {key}: “Über”\nline")


@on_disk
def test_lines_are_on_disk_at_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    ledger = Ledger(path)
    for key in ("b", "a"):
        ledger.add(reject(key))
        assert len(path.read_bytes().splitlines()) == len(ledger)
    again = Ledger(path)
    assert again["a"] == reject("a")
    assert "b" in again
    assert "c" not in again


def test_half_a_line_of_a_killed_run_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with Ledger(path) as ledger:
        ledger.add(reject("a"))
    path.write_bytes(path.read_bytes() + b'{"key": "b", "spl')
    ledger = Ledger(path)
    assert len(ledger) == 1
    with ledger:
        ledger.add(reject("c"))
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == ["a", "c"]


def test_keep_sorts_and_drops(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    ledger = Ledger(path)
    for key in ("c", "a", "b"):
        ledger.add(reject(key, "missing" if key == "c" else "timeout"))
    ledger.keep(["c", "b", "never seen"])
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == ["b", "c"]
    assert ledger.by_reason() == {"timeout": 1, "missing": 1}


def test_reasons_are_a_closed_set() -> None:
    with pytest.raises(ValueError, match="bad luck"):
        reject("a", "bad luck")

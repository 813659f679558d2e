"""What the tests of the runner and of executors work on."""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.samples import Split


@dataclass(frozen=True)
class Item:
    key: str
    split: Split = "val"

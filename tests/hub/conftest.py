"""The small dataset of the builders' tests, to be pushed."""

from __future__ import annotations

from tests.builders.conftest import make_dataset

__all__ = ["make_dataset"]

"""Fixtures of the tests of the cards."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder that holds datasets, as a user has it below the repository."""
    return tmp_path / "data"

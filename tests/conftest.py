"""Fixtures that several folders of tests share. Media and models are made in the test, never downloaded."""

from __future__ import annotations

import os
from pathlib import Path

# Two test processes on two cores: one torch thread each. And nothing may reach a hub by accident.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, where the commands run."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos and annotations beside the checkout; tests that need them skip where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data beside the checkout (../shared/data) is not there")
    return folder

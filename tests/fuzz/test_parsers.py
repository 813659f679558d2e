"""Parsers raise our own errors and nothing else: on the corpus, and on what hypothesis makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocess.errors import EmbeddingDatasetError
from tests.fuzz.corpus import corpus
from tests.fuzz.documents import mutate_document
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, data: bytes) -> str:
    """Calls a target; returns the text of its error, one line that can be printed, or nothing."""
    text = ""
    try:
        TARGETS[name](data)
    except EmbeddingDatasetError as error:
        text = str(error)
    text.encode()
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    for kind, data in corpus(name).items():
        error = run(name, data)
        assert not (kind.startswith("valid") and error), f"{kind}: {error}"


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Anything at all, and the corpus with damages."""
    damaged = st.builds(
        lambda data, seed: mutate_document(data, Random(seed)),
        st.sampled_from([data for data in corpus(name).values() if len(data) < 20_000]),
        st.integers(0, 2**32),
    )
    return damaged | st.binary(max_size=2000)


def fuzz(name: str, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(inputs(name))
    def any_input(data: bytes) -> None:
        run(name, data)

    any_input()


@pytest.mark.parametrize("name", TARGETS)
def test_any_input(name: str) -> None:
    fuzz(name, 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_inputs(name: str) -> None:
    fuzz(name, 5000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_atheris(name: str, tmp_path: Path) -> None:
    """A hundredth of what `make fuzz` does for each target, whose own runs take an hour."""
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--runs", "1000", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "Done 1000 runs" in done.stdout

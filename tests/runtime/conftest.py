"""Workers of these tests start in milliseconds: the server they are forked from has imported what the tests import."""

from __future__ import annotations

import pytest

from preprocess.runtime.local import start_fork_server


@pytest.fixture(scope="session", autouse=True)
def workers_start_fast() -> None:
    start_fork_server(("pytest", "hypothesis", "preprocess.runtime.runner", "tests.fakes.executor"))

"""The tests of the pipeline run unchanged on other storage and on another executor.

They use a local folder and this project's executor, then a bucket of an S3 server, then an executor that is not ours.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preprocess.runtime.executors import register_executor
from preprocess.storage import location
from tests.fakes.executor import FreshProcessExecutor
from tests.pipeline.packing import out, work

_RUNS_WORKERS = ("test_encode", "test_pack", "test_pack_faults", "test_recheck", "test_several_encoders")
_OTHER_EXECUTOR = "fresh processes"

__all__ = ["on_disk", "out", "work"]

on_disk = pytest.mark.parametrize("storage", ["local"], indirect=True)
"""For tests of what only local files have, or of programs that read only those."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in _RUNS_WORKERS:
        metafunc.parametrize("executor_in_use", ["local", _OTHER_EXECUTOR], indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Storage and executor are exchanged one at a time."""

    def both(item: pytest.Item) -> bool:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        return params.get("storage") == "s3" and params.get("executor_in_use") == _OTHER_EXECUTOR

    items[:] = [item for item in items if not both(item)]


@pytest.fixture(scope="module", autouse=True)
def executor_in_use(request: pytest.FixtureRequest) -> Iterator[None]:
    """Replaces the executor `local`; commands that are run as processes keep it."""
    if getattr(request, "param", "local") == "local":
        yield
        return
    before = register_executor("local", FreshProcessExecutor.from_options)
    assert before is not None
    yield
    register_executor("local", before)


@pytest.fixture(scope="module", params=["local", "s3"])
def storage(request: pytest.FixtureRequest) -> str:
    """Where raw data and output lie: `local` or `s3`."""
    return str(request.param)


@pytest.fixture(scope="module")
def new_folder(
    storage: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Gives empty folders of that storage."""
    if storage == "local":
        return lambda: tmp_path_factory.mktemp("local")
    bucket = request.getfixturevalue("s3")
    return lambda: location(f"{bucket}/{uuid.uuid4().hex}")


@pytest.fixture
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty local folder, whatever the storage."""
    return tmp_path_factory.mktemp("folder")


@pytest.fixture
def tmp_path(new_folder: Callable[[], Path]) -> Path:
    """An empty folder of the storage under test, in place of pytest's local one."""
    return new_folder()

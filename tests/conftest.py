"""Fixtures that several folders of tests share. Media and models are made in the test, never downloaded."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Two test processes on two cores: one torch thread each. And nothing may reach a hub by accident.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# A job in the background, as of `make test &`, ignores SIGINT, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import Phase, settings

# A busy machine is not a failure: how long one example takes is not a property under test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# For `tests.mutants`: that an example fails is enough, the smallest one takes half a minute.
settings.register_profile("unshrunk", deadline=None, phases=(Phase.explicit, Phase.generate))

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = "ved/skipped"  # in pytest's cache: ids of the tests that the last run skipped


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--skipped",
        action="store_true",
        help="run only the tests that the last run skipped, such as one under `.ci/fresh`",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("skipped"):
        wanted = set(config.cache.get(SKIPPED, []))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if hasattr(config, "cache"):  # not with `-p no:cacheprovider`
        config.cache.set(SKIPPED, sorted(report.nodeid for report in terminalreporter.stats.get("skipped", ())))


@pytest.fixture(scope="session", autouse=True)
def imports_of_workers(request: pytest.FixtureRequest) -> None:
    """The first call that starts workers decides what those of all tests find imported; without this, not torch."""
    if len({item.path for item in request.session.items}) > 10:
        from preprocess.pipeline.preload import PRELOAD
        from preprocess.runtime.local import start_fork_server

        start_fork_server((*PRELOAD, "transformers.models.clip.modeling_clip", "builders.shard_check"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, where the commands run."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos and annotations beside the checkout; tests that need them skip where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data beside the checkout (../shared/data) does not exist")
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket of an S3 server on this machine."""
    from tests.object_store import s3_server

    with s3_server() as address:
        yield address


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """The address of a bucket of a server of Google Cloud Storage on this machine."""
    from tests.object_store import gcs_server

    with gcs_server() as address:
        yield address


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    """The address of a container of Azurite, a server of Azure Blob Storage, on this machine."""
    from tests.object_store import AZURITE, azure_server

    if shutil.which(AZURITE) is None:
        pytest.skip(f"the {AZURITE} program is not installed: npm install -g azurite")
    with azure_server() as address:
        yield address


@pytest.fixture(scope="session")
def tiny_clip(root: Path) -> Path:
    """The folder of the embedded model."""
    return root / "preprocess" / "demo" / "tiny_clip"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One torch thread, so that a small model takes as long on any number of cores, and gives the same numbers."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real CLIP model of random weights (two layers, 32 x 32 pixels, 16 dimensions)."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("models") / "small-clip"
    torch.manual_seed(0)
    tower = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 16,
    }
    config = CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        text_config={**tower, "vocab_size": 100, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2},
        projection_dim=16,
    )
    CLIPModel(config).eval().save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(folder)
    return folder

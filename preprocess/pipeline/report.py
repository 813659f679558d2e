"""The summary of a build: the manifest's table, the duration of each step, the Python that loads the dataset."""

from __future__ import annotations

from pathlib import Path

from preprocess.console import human_seconds, plain_number, table
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import MANIFEST_FILE
from preprocess.formats.manifest_table import describe, reasons
from preprocess.storage import is_remote


def build_table(layout: Layout) -> str:
    """The summary of one dataset.

    Raises:
        UserError: The dataset has not been packed.
    """
    manifest = manifests.read(layout.dataset / MANIFEST_FILE)
    steps = read_json(layout.report).items()
    facts = [
        ("sampling", f"{manifest['sampling']['kind']} = {plain_number(manifest['sampling']['value'])}"),
        *[("rejected", f"{count:,} {reason}") for reason, count in reasons(manifest).items()],
        ("time", ", ".join(f"{step} {human_seconds(numbers.get('seconds', 0.0))}" for step, numbers in steps)),
        ("dataset", layout.dataset),
        ("work", layout.work),
    ]
    return "\n".join([describe(manifest), "", table(facts), "", _loading(layout.dataset)])


def _loading(dataset: Path) -> str:
    if not is_remote(dataset):
        return f'from datasets import load_dataset\ndataset = load_dataset("{dataset}").with_format("numpy")'
    return (  # `load_dataset` opens folders and repositories of the Hub, no folders of stores
        f'from builders import EmbeddingsBuilder\nbuilder = EmbeddingsBuilder.from_folder("{dataset}")\n'
        'builder.download_and_prepare()\ndataset = builder.as_dataset().with_format("numpy")'
    )

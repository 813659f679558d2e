"""A dataset that is pushed, appended to and pushed again: only what is new is sent, and the two versions compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocess.formats.layout import Layout
from tests.hub.test_end_to_end import Client, hub
from tests.pipeline.appending import CARD_ENCODING, describe, second
from tests.pipeline.packing import make_work, run

__all__ = ["hub"]

READ = """
import json
from builders.torch_reader import EmbeddingReader

def keys(source):
    return [key for batch in EmbeddingReader(source, "train").loader() for key in batch["key"]]

print(json.dumps([keys("hf://datasets/org/CLIP-Demo@v2"), keys({folder!r})]))
"""


def fetched(hub: Client) -> set[str]:
    """Tars that were asked for since the last time."""
    return {path for entry in hub.requests() if (path := entry["path"].rpartition("/")[2]).endswith(".tar")}


@pytest.mark.slow
def test_an_append_is_pushed_read_and_compared(hub: Client, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", "CLIP-Demo")
    make_work(layout.work)
    layout.encoding.write_text(json.dumps(CARD_ENCODING))
    for number, version in enumerate(("v1", "v2")):
        if number:
            second(layout.work)
        run(layout.work, layout.dataset, append=bool(number))
        describe(layout)
        assert (dry := hub.push(layout.dataset, "--dry-run")).returncode == 0, dry.stdout + dry.stderr
        pushed = hub.push(layout.dataset)
        assert pushed.returncode == 0, pushed.stderr
        assert f"  {version}  " in pushed.stdout
        assert hub.uploads() == (3 if number else 6), "the old tars are there already"

    there, here = hub.python(READ.format(folder=str(layout.dataset)))
    assert there == here
    assert len(there) == len(set(there))

    address = "hf://datasets/org/CLIP-Demo"
    hub.requests()
    same = hub.run("-m", "builders", "diff", f"{address}@v2", str(layout.dataset))
    assert (same.returncode, same.stdout) == (0, "rows  0 added, 0 removed, 0 changed, 53 the same\n"), same.stderr
    assert fetched(hub) == set(), "the manifests list the same tars"

    other = hub.run("-m", "builders", "diff", f"{address}@v1", f"{address}@v2", "--json", "diff.json")
    assert other.returncode == 1, other.stderr
    value = json.loads((tmp_path / "diff.json").read_text())
    assert value["counts"] == {"added": 6, "removed": 0, "changed": 3, "same": 44}
    manifest = json.loads((layout.dataset / "manifest.json").read_text())
    added = manifest["generations"][1]
    assert {tuple(one["ids"]) for one in value["changed"]} == set(added["replaced"].items())
    starts = [sum(shard["samples"] for shard in manifest["shards"][:i]) for i in range(len(manifest["shards"]) + 1)]
    holding = {
        shard["file"]
        for i, shard in enumerate(manifest["shards"])
        if any(starts[i] <= int(id_[4:]) < starts[i + 1] for id_ in added["replaced"])
    }
    assert fetched(hub) == {*added["shards"], *holding}, "only the tars that can differ"

"""The code of "How to Load": each block runs as it stands, in the folder that holds `data/` or with the Hub's copy.

from datasets import load_dataset

dataset = load_dataset("data/CLIP-Shapes")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preprocess.samples import ShardReport

HUB_URL = "https://huggingface.co/datasets"


@dataclass(frozen=True, slots=True)
class Snippets:
    """Blocks of Python."""

    plain: str
    streaming: str
    preview: str
    webdataset: str
    torch: str


def snippets(hub_name: str, repository: str, shards: Sequence[ShardReport], hub_splits: Sequence[str]) -> Snippets:
    """The blocks for one dataset.

    Args:
        hub_name: Folder below `data/`.
        repository: `org/name`, or empty for the local folder.
        shards: All shards, in order.
        hub_splits: Splits that exist, by their names on the Hub, in order.
    """
    where = repository or f"data/{hub_name}"
    base = f"{HUB_URL}/{repository}/resolve/main" if repository else where
    source = f"hf://datasets/{repository}" if repository else where
    first = [shard.file for shard in shards if shard.split == shards[0].split]
    return Snippets(
        plain=f"""\
from datasets import load_dataset

dataset = load_dataset("{where}")  # splits: {", ".join(hub_splits)}
sample = dataset["{hub_splits[0]}"].with_format("numpy")[0]
sample["npy"].shape, sample["txt"], sample["json"]["key"]
""",
        streaming=f"""\
from datasets import load_dataset

stream = load_dataset("{where}", split="{hub_splits[0]}", streaming=True)
sample = next(iter(stream))
""",
        preview=f"""\
from datasets import load_dataset

sheets = load_dataset("{where}", "preview")
sheet = next(iter(next(iter(sheets.values()))))
sheet["jpg"], sheet["txt"], sheet["__key__"]
""",
        webdataset=f"""\
import webdataset as wds

tars = "{base}/{braces(first)}"
dataset = wds.WebDataset(tars, shardshuffle=False).decode().to_tuple("npy", "txt", "json")
embeddings, text, meta = next(iter(dataset))
""",
        torch=f"""\
from builders.torch_reader import EmbeddingReader

reader = EmbeddingReader("{source}", "{hub_splits[0]}", batch_size=64, length=16, shuffle=True)
batch = next(iter(reader.loader()))
batch["embeddings"], batch["mask"], batch["text"], batch["meta"]  # the mask is False where a video is shorter
""",
    )


def braces(files: Sequence[str]) -> str:
    """The names as one pattern that `webdataset` expands.

    Examples:
        >>> braces(["ds_00000.tar", "ds_00001.tar"])
        'ds_{00000..00001}.tar'
        >>> braces(["ds_00007.tar"])
        'ds_00007.tar'
    """
    if len(files) == 1:
        return files[0]
    parts = [re.fullmatch(r"(.*?)(\d+)(\.tar)", name) for name in (files[0], files[-1])]
    low, high = parts
    if low and high and low[1] == high[1] and int(high[2]) - int(low[2]) == len(files) - 1:
        return f"{low[1]}{{{low[2]}..{high[2]}}}{low[3]}"
    return "{" + ",".join(files) + "}"
